"""What the strategies draw is valid, reaches every kind, shrinks to the smallest, and prints what makes it again."""

import numpy as np
import pytest
import tensorflow as tf
from draws import drawn, smallest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.testing import strategies
from engine.testing.strategies import Convolution


def correlation(x, kernel, geometry):
    """The definition, window by window."""
    spatial = range(1, x.ndim - 1)
    reach = [(k - 1) * d + 1 for k, d in zip(geometry.kernel_size, geometry.dilations, strict=True)]
    y = np.zeros(geometry.output_shape)
    if geometry.padding == "same":
        corners = zip(y.shape[1:-1], geometry.strides, reach, geometry.size, strict=True)
        total = [max((out - 1) * s + r - side, 0) for out, s, r, side in corners]
        x = np.pad(x, [(0, 0), *((t // 2, t - t // 2) for t in total), (0, 0)])
    for i in np.ndindex(y.shape[1:-1]):
        corners = zip(i, geometry.strides, reach, geometry.dilations, strict=True)
        window = x[(slice(None), *(slice(n * s, n * s + r, d) for n, s, r, d in corners))]
        for group in range(geometry.groups):
            inputs, outputs = (
                slice(group * n // geometry.groups, (group + 1) * n // geometry.groups)
                for n in (geometry.in_channels, geometry.filters)
            )
            axes = [*spatial, x.ndim - 1]
            product = np.tensordot(window[..., inputs], kernel[..., outputs], (axes, range(len(axes))))
            y[(slice(None), *i, outputs)] = product
    return y


# Tensors


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_every_kind_of_value_is_drawn_and_is_what_it_says(dtype):
    smallest = {"float64": 2.0**-1022, "bfloat16": 2.0**-126, "float16": 2.0**-14}[dtype]
    largest = float(tf.as_dtype(dtype).max)

    def sizes(kind):
        values = [x.numpy().astype(np.float64) for x in drawn(strategies.tensors([4], dtype, 2.0, [kind]), 20)]
        return np.abs(np.concatenate(values))

    assert (sizes("zeros") == 0).all()
    assert (np.isin(sizes("ties"), [0, 1, 2])).all()
    assert ((sizes("tiny") >= smallest) & (sizes("tiny") <= 16 * smallest)).all()
    assert ((sizes("huge") >= largest / 512) & (sizes("huge") <= largest)).all()
    assert ((sizes("denormal") > 0) & (sizes("denormal") < smallest)).all()
    ordinary = sizes("ordinary")
    assert (ordinary <= 2).all()
    assert len(np.unique(ordinary)) > 20


def test_tensors_have_the_shape_and_dtype_that_are_asked_for():
    for x in drawn(strategies.tensors(st.just((2, 3)), st.sampled_from(["int32", "uint8", "bool", "float64"]), 5)):
        assert x.shape == (2, 3)
        assert x.dtype.name in ("int32", "uint8", "bool", "float64")
    assert {x.shape.rank for x in drawn(strategies.tensors())} == {0, 1, 2, 3, 4}
    assert all(x.shape == (0, 3) for x in drawn(strategies.tensors((0, 3)), 5))
    numbers = strategies.tensors([2], elements=st.sampled_from([3.0, 4.0]))
    assert set(np.concatenate([x.numpy() for x in drawn(numbers)])) == {3.0, 4.0}


def test_large_tensors_are_drawn_with_many_values():
    x = smallest(strategies.tensors([100, 100], elements=["ordinary"]), lambda x: len(np.unique(x.numpy())) > 5000)
    assert x.shape == (100, 100)


def test_tensors_shrink_to_the_smallest_shape():
    found = smallest(strategies.tensors(), lambda x: x.shape.rank >= 2 and bool(tf.reduce_any(x != 0)))
    assert found.numpy().tolist() == [[1.0]]


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match=r"zeros, ties.*found \['nan'\]"):
        smallest(strategies.tensors(elements=["nan"]))


# Shapes


@given(strategies.shapes(1, 3, 5, min_side=0))
def test_shapes_keep_to_their_bounds(shape):
    assert 1 <= len(shape) <= 3
    assert all(0 <= side <= 5 for side in shape)


@given(strategies.broadcastable_shapes(3))
def test_broadcastable_shapes_broadcast(drawn_shapes):
    assert len(drawn_shapes) == 3
    assert np.broadcast_shapes(*drawn_shapes) == tuple(sum(map(tf.zeros, drawn_shapes), tf.zeros([])).shape)


def test_broadcastable_shapes_differ_in_rank_and_in_sides():
    found = drawn(strategies.broadcastable_shapes(2))
    assert any(len(a) != len(b) for a, b in found)
    assert any(len(a) == len(b) and a != b for a, b in found)


# Convolutions


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_tensorflow_computes_every_convolution_by_the_definition(rank):
    @settings(max_examples=40)
    @given(strategies.convolutions(rank), st.sampled_from(["float32", "float64"]))
    def check(geometry, dtype):
        rng = np.random.default_rng(0)
        x, kernel = (rng.normal(size=shape).astype(dtype) for shape in (geometry.input_shape, geometry.kernel_shape))
        padding = geometry.padding.upper()
        y = tf.nn.convolution(x, kernel, strides=geometry.strides, padding=padding, dilations=geometry.dilations)
        assert tuple(y.shape) == geometry.output_shape
        assert 0 not in geometry.output_shape
        # At most 4·27 products of size 1 are summed in float32.
        np.testing.assert_allclose(y, correlation(x, kernel, geometry), rtol=0, atol=1e-4)
        assert eval(repr(geometry), {"Convolution": Convolution}) == geometry

    check()


def test_convolutions_reach_what_they_may_and_no_more():
    found = drawn(strategies.convolutions(2), 200)
    for wanted in (
        lambda g: max(g.strides) == 3,
        lambda g: max(g.dilations) == 2,
        lambda g: g.groups == 2 and g.filters == 4,
        lambda g: g.kernel_size == (3, 1),
        lambda g: g.padding == "same" and max(g.kernel_size) > 1,
        lambda g: g.output_shape[1:3] == (1, 1) and max(g.kernel_size) > 1,
    ):
        assert any(map(wanted, found))
    plain = drawn(strategies.convolutions(2, max_stride=1, max_dilation=1, max_groups=1))
    assert {(g.strides, g.dilations, g.groups) for g in plain} == {((1, 1), (1, 1), 1)}


def test_convolutions_shrink_to_one_pixel():
    assert smallest(strategies.convolutions(1)) == Convolution(1, (1,), 1, 1, (1,), (1,), "valid", (1,), 1)
    strided = smallest(strategies.convolutions(2), lambda g: g.strides[0] > 1)
    assert strided == Convolution(1, (1, 1), 1, 1, (1, 1), (2, 1), "valid", (1, 1), 1)


# Labels, masks, weights, directions


def test_labels_masks_and_weights_are_in_range():
    for y in drawn(strategies.labels(st.integers(1, 5), 3)):
        assert y.dtype == tf.int32
        assert y.shape.rank == 1
        assert set(y.numpy()) <= {0, 1, 2}
    found = {tuple(mask.numpy()) for mask in drawn(strategies.masks([2]))}
    assert found == {(a, b) for a in (False, True) for b in (False, True)}
    values = np.stack([w.numpy() for w in drawn(strategies.weights([3]))])
    assert ((values >= 0) & (values <= 10)).all()
    assert (values == 0).all(1).any()
    assert ((values > 0) & (values != 1)).any()


@given(strategies.directions({"x": np.ones([2, 3]), "ids": np.array([1]), "pair": (1.0, tf.zeros([2], "float64"))}))
def test_directions_fit_what_they_move_and_are_not_0(moves):
    assert moves["ids"] is None
    assert moves["x"].shape == (2, 3)
    assert (moves["x"].dtype, moves["pair"][1].dtype) == (tf.float64, tf.float64)
    floating = [moves["x"], *moves["pair"]]
    assert any(np.any(move.numpy()) for move in floating)


def test_directions_are_single_coordinates_too():
    found = [move.numpy() for move in drawn(strategies.directions(tf.zeros([3])))]
    assert {tuple(move) for move in found if (move != 0).sum() == 1} == set(map(tuple, np.eye(3)))
    assert any((move == 1).all() for move in found)
    with pytest.raises(ValueError, match="floating tensor"):
        smallest(strategies.directions(tf.constant([1, 2])))


# Kinks


def gaps(x):
    """How far the two largest of each row are apart."""
    largest = tf.math.top_k(x, 2).values
    return (largest[:, :1] - largest[:, 1:]) / 2


@pytest.mark.parametrize(
    "distance", [tf.abs, gaps, lambda x: tf.reduce_min(tf.abs(x - 1))], ids=["relu", "maximum", "scalar"]
)
def test_inputs_stay_away_from_kinks(distance):
    inputs = strategies.tensors([2, 3], "float64", 1.0, ["ties", "zeros", "ordinary"])
    assert any(np.min(distance(x)) < 0.1 for x in drawn(inputs))
    for x in drawn(strategies.away_from_kinks(inputs, distance, 0.1)):
        assert np.min(np.abs(distance(x))) >= 0.1


def test_kinks_of_several_inputs_and_of_none():
    pair = st.tuples(strategies.tensors([2], elements=["zeros"]), strategies.masks([2]))
    found = drawn(strategies.away_from_kinks(pair, lambda x, mask: (tf.abs(x), None), 0.5), 10)
    assert all(np.abs(x.numpy()).min() >= 0.5 and mask.dtype == tf.bool for x, mask in found)
