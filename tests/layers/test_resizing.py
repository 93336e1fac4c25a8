import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import layers


def interpolated(x, axis, size):
    """np.interp along an axis between the middles of the pixels."""
    count = x.shape[axis]
    middles = (np.arange(count * size) + 0.5) / size - 0.5
    return np.apply_along_axis(lambda line: np.interp(middles, np.arange(count), line), axis, x)


@settings(max_examples=15)
@given(st.tuples(*[st.integers(1, 5)] * 2), st.tuples(*[st.integers(1, 4)] * 2))
def test_bilinear_is_linear_between_the_middles_of_pixels_in_float64_too(size, sides):
    x = np.random.default_rng(0).normal(size=[2, *sides, 2])
    found = layers.UpSampling2D(size, interpolation="bilinear")(x)
    np.testing.assert_allclose(found, interpolated(interpolated(x, 1, size[0]), 2, size[1]), rtol=0, atol=1e-14)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_bilinear_is_the_same_compiled(jit_compile):
    layer = layers.UpSampling2D((3, 2), interpolation="bilinear")
    signature = None if jit_compile else [tf.TensorSpec([None, None, None, 2], tf.float64)]
    compiled = tf.function(layer, input_signature=signature, jit_compile=jit_compile)
    x = np.random.default_rng(0).normal(size=[2, 3, 4, 2])
    np.testing.assert_allclose(compiled(x), layer(x), rtol=0, atol=1e-14)


def test_cropping_takes_off_what_padding_puts_on():
    x = tf.random.stateless_normal([2, 3, 4, 2], [1, 2])
    for margins in (2, (1, 0), ((0, 3), (2, 1))):
        padded = layers.ZeroPadding2D(margins)(x)
        np.testing.assert_array_equal(layers.Cropping2D(margins)(padded), x)
        assert np.count_nonzero(padded) == np.count_nonzero(x)
    for margins in (2, (1, 0)):
        np.testing.assert_array_equal(layers.Cropping1D(margins)(layers.ZeroPadding1D(margins)(x[:, 0])), x[:, 0])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: layers.ZeroPadding1D(-1), r"ZeroPadding1D\(-1\): padding must be an integer of at"),
        (lambda: layers.ZeroPadding1D((1, 2, 3)), "padding must be an integer of at least 0, a pair of them, found"),
        (lambda: layers.ZeroPadding2D((1, 2, 3)), r"at least 0, 2 of them or 2 pairs, found \(1, 2, 3\)"),
        (lambda: layers.ZeroPadding2D("same"), "at least 0, 2 of them or 2 pairs, found 'same'"),
        (lambda: layers.Cropping2D(((1, 2), (0, -1))), "cropping must be .* or 2 pairs, found"),
        (lambda: layers.Cropping1D(1.5), "cropping must be an integer of at least 0, a pair of them, found 1.5"),
        (lambda: layers.Cropping1D((2, 1))(tf.zeros([1, 3, 4])), "cropping leaves nothing of the length of the input"),
        (lambda: layers.Cropping2D((0, 2))(tf.zeros([1, 3, 4, 1])), r"Cropping2D\(\(0, 2\)\): .* nothing of the width"),
        (lambda: layers.Cropping2D()(tf.zeros([1, 3, 4])), "expects an input of rank 4"),
        (lambda: layers.UpSampling1D(0), "size must be a positive integer, found 0"),
        (lambda: layers.UpSampling2D((2, 2, 2)), "size must be a positive integer or 2 of them"),
        (lambda: layers.UpSampling2D(2, "cubic"), "interpolation must be 'nearest' or 'bilinear', found 'cubic'"),
        (lambda: layers.UpSampling1D()(tf.zeros([1, 4])), r"UpSampling1D\(\) expects an input of rank 3"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(build, message):
    with pytest.raises(ValueError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_cropping_refuses_to_leave_nothing_of_an_unknown_length(jit_compile, dtype):
    layer, x = layers.Cropping1D((3, 3)), tf.cast(tf.reshape(tf.range(16), [1, 8, 2]), dtype)
    compiled = tf.function(layer, input_signature=[tf.TensorSpec([None, None, 2], dtype)], jit_compile=jit_compile)
    np.testing.assert_array_equal(compiled(x), x[:, 3:5])
    assert compiled.get_concrete_function().output_shapes.as_list() == [None, None, 2]
    message = "" if jit_compile else r"Cropping1D\(\(3, 3\)\): cropping leaves nothing of the input, sizes, found"
    for length in (4, 6):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            compiled(x[:, :length])


def test_neighbours_know_that_the_channels_stay():
    with pytest.raises(ValueError, match=r"layer 3 Dense\(5, 1\) cannot take \[..., 4\] from layer 2 UpSampling2D"):
        layers.Sequential([layers.Dense(3, 4), layers.ZeroPadding2D(), layers.UpSampling2D(), layers.Dense(5, 1)])
