import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import layers

KINDS = {
    "learned": lambda: layers.PositionEmbedding(9, 4),
    "sinusoidal": lambda: layers.SinusoidalPositions(4),
    "rotary": lambda: layers.RotaryPositions(4),
}
every_kind = pytest.mark.parametrize("build", KINDS.values(), ids=list(KINDS))


def angles(start, time, features, max_wavelength):
    """By the formula, one number after the other."""
    return np.array([
        [(start + t) / max_wavelength ** (2 * i / features) for i in range((features + 1) // 2)] for t in range(time)
    ])  # fmt: skip


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@settings(max_examples=15)
@given(st.integers(1, 7), st.integers(1, 5), st.integers(0, 3), st.sampled_from([10000, 7.5]))
def test_sinusoids_are_those_of_the_formula(features, time, start, max_wavelength):
    y = layers.SinusoidalPositions(features, max_wavelength=max_wavelength)(np.zeros([2, time, features]), start)
    angle = angles(start, time, features, max_wavelength)
    for column in range(features):
        expected = (np.cos if column % 2 else np.sin)(angle[:, column // 2])
        np.testing.assert_allclose(y[0, :, column], expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(y[0], y[1])


@settings(max_examples=15)
@given(st.integers(1, 4), st.lists(st.integers(1, 3), max_size=2), st.integers(0, 3), st.sampled_from([10000, 7.5]))
def test_rotation_is_a_product_of_complex_numbers(time, inner, start, max_wavelength):
    x = normal(2, time, *inner, 6)
    y = layers.RotaryPositions(6, max_wavelength=max_wavelength)(x, start)
    turn = np.exp(1j * angles(start, time, 6, max_wavelength)).reshape([time, *[1] * len(inner), 3])
    expected = (x[..., 0::2] + 1j * x[..., 1::2]) * turn
    np.testing.assert_allclose(y[..., 0::2], expected.real, rtol=0, atol=1e-12)
    np.testing.assert_allclose(y[..., 1::2], expected.imag, rtol=0, atol=1e-12)


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(-500, 500))
def test_products_of_rotated_vectors_depend_only_on_how_far_apart_they_are(first, second, shift):
    rotary, query, key = layers.RotaryPositions(6), normal(1, 1, 6), normal(1, 1, 6, seed=1)

    def product(a, b):
        return tf.reduce_sum(rotary(query, a) * rotary(key, b))

    shift = max(shift, -first, -second)
    np.testing.assert_allclose(product(first, second), product(first + shift, second + shift), rtol=0, atol=1e-11)


@given(st.integers(1, 9), st.data())
def test_learned_positions_are_the_rows_of_their_table(time, data):
    layer = layers.PositionEmbedding(9, 4, dtype="float64")
    start = data.draw(st.integers(0, 9 - time))
    x = normal(2, time, 4)
    expected = x + layer.embeddings.numpy()[start : start + time]
    np.testing.assert_array_equal(layer(x, start), expected)
    np.testing.assert_array_equal(layer(x, tf.constant(start)), expected)


@every_kind
def test_a_piece_that_starts_later_is_a_piece_of_the_whole(build):
    layer, x = build(), normal(2, 7, 4)
    whole = layer(x)
    pieces = [layer(x[:, :3]), layer(x[:, 3:4], 3), layer(x[:, 4:], tf.constant(4))]
    np.testing.assert_allclose(tf.concat(pieces, 1), whole, rtol=0, atol=1e-12)


@every_kind
def test_graphs_of_unknown_batch_and_time_and_xla_compute_the_same(build):
    layer, x = build(), tf.constant(normal(2, 5, 4), tf.float32)
    signature = [tf.TensorSpec([None, None, 4]), tf.TensorSpec([], tf.int32)]
    graph = tf.function(layer, input_signature=signature)
    xla = tf.function(layer, jit_compile=True)
    for start in (0, 4):
        for compiled in (graph, xla):
            np.testing.assert_allclose(compiled(x, tf.constant(start)), layer(x, start), rtol=0, atol=1e-6)
    assert graph.get_concrete_function().output_shapes == [None, None, 4]


@every_kind
def test_low_precision_stays_and_is_right_at_far_positions(build):
    layer, x = build(), tf.constant(normal(2, 5, 4), tf.bfloat16)
    start = 4 if isinstance(layer, layers.PositionEmbedding) else 100_003
    y = layer(x, start)
    assert y.dtype == tf.bfloat16
    # bfloat16 keeps 8 bits; angles of 100,003 in float32 would be off by 4e-3, in bfloat16 by all.
    expected = layer(tf.cast(x, tf.float64), start)
    np.testing.assert_allclose(tf.cast(y, tf.float64), expected, rtol=2**-7, atol=2**-6)
    np.testing.assert_allclose(layer(tf.cast(x, tf.float32), start), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("start", [0, 6])
def test_too_long_sequences_are_refused_and_nan_where_xla_cannot_know(start):
    layer, x = layers.PositionEmbedding(9, 4), tf.zeros([2, 10 - start, 4])
    message = r"PositionEmbedding\(9, 4\): positions must lie in \[0, 9\), found"
    for wrap in (lambda f: f, tf.function, lambda f: tf.function(f, jit_compile=True)):
        with pytest.raises(ValueError, match=f"{message} {start} to 9$"):
            wrap(lambda x: layer(x, start))(x)
    with pytest.raises(ValueError, match=message):
        layer(x, tf.constant(start))
    unknown = tf.function(layer, input_signature=[tf.TensorSpec([None, None, 4]), tf.TensorSpec([], tf.int32)])
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        unknown(x, tf.constant(start))
    if start:
        xla = tf.function(layer, jit_compile=True)
        assert np.all(np.isnan(xla(x, tf.constant(start))))
        assert np.all(np.isfinite(xla(x, tf.constant(start - 1))))


def test_positions_before_the_first_are_refused():
    with pytest.raises(ValueError, match=r"positions must lie in \[0, 9\), found -1 to 0"):
        layers.PositionEmbedding(9, 4)(tf.zeros([2, 2, 4]), -1)


@every_kind
def test_a_layer_built_again_and_its_last_dimension(build):
    layer = build()
    again = type(layer)(*layer.arguments.args, **layer.arguments.kwargs)
    assert repr(again) == repr(layer)
    assert [v.shape for v in again.variables] == [v.shape for v in layer.variables]
    assert layer.last_dimension(4) == 4
    with pytest.raises(ValueError, match="expects a last dimension of 4, found 3"):
        layer(tf.zeros([2, 5, 3]))
    with pytest.raises(TypeError, match="computes with floats, found an input of int32"):
        layer(tf.zeros([2, 5, 4], tf.int32))
    with pytest.raises(ValueError, match="expects an input of rank"):
        layer(tf.zeros([5, 4]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: layers.PositionEmbedding(0, 4), r"PositionEmbedding\(0, 4\): max_length must be a positive integer"),
        (lambda: layers.PositionEmbedding(9, 0), "features must be a positive integer, found 0"),
        (lambda: layers.SinusoidalPositions(-1), "features must be a positive integer, found -1"),
        (lambda: layers.SinusoidalPositions(4, max_wavelength=0), "max_wavelength must be positive, found 0"),
        (lambda: layers.RotaryPositions(3), r"RotaryPositions\(3\): key_dim must be even, .* found 3"),
        (lambda: layers.RotaryPositions(4, max_wavelength="long"), "max_wavelength must be positive, found 'long'"),
    ],
)
def test_bad_arguments_are_refused_at_construction(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@every_kind
def test_every_integer_starts_and_nothing_else(build):
    layer, x = build(), tf.constant(normal(2, 5, 4), tf.float32)
    for start in (np.int64(3), np.array(3), tf.constant(3, tf.int64), tf.constant(3, tf.uint8), tf.Variable(3)):
        np.testing.assert_array_equal(layer(x, start), layer(x, 3))
    for start in (True, 1.5, tf.constant(1.0), tf.constant([1, 2]), "3", None):
        with pytest.raises(ValueError, match="start must be an integer or an integer scalar tensor, found") as caught:
            layer(x, start)
        assert "\n" not in str(caught.value)
