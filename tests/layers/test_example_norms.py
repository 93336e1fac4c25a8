"""Norms that see one example at a time: far from 0, in few bits, and next to examples that are no numbers."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import layers
from engine.testing import laws

# A norm of examples [4, 5, 6], and the axes of [batch, 4, 5, 6] or [batch, 4, 5, groups, 6 / groups] that it takes.
NORMS = {
    "LayerNorm": (lambda **o: layers.LayerNorm(6, **o), [6], (3,)),
    "LayerNorm-axes": (lambda **o: layers.LayerNorm((5, 6), **o), [6], (2, 3)),
    "RMSNorm": (lambda **o: layers.RMSNorm(6, **o), [6], (3,)),
    "RMSNorm-axes": (lambda **o: layers.RMSNorm((5, 6), **o), [6], (2, 3)),
    "GroupNorm": (lambda **o: layers.GroupNorm(6, 2, **o), [2, 3], (1, 2, 4)),
    "InstanceNorm": (lambda **o: layers.InstanceNorm(6, **o), [6], (1, 2)),
}
every_norm = pytest.mark.parametrize("name", NORMS)
moved = pytest.mark.parametrize("name", [name for name in NORMS if "RMS" not in name])


def standardised(name, x, epsilon):
    """What a new norm makes of x, in float64."""
    _, last, axes = NORMS[name]
    x = np.asarray(x, np.float64)
    grouped = x.reshape(*x.shape[:-1], *last)
    mean = 0 if "RMS" in name else grouped.mean(axes, keepdims=True)
    square = np.square(grouped - mean).mean(axes, keepdims=True)
    return ((grouped - mean) / np.sqrt(square + epsilon)).reshape(x.shape)


@every_norm
@settings(max_examples=8)
@given(seed=st.integers(0, 2**16), offset=st.sampled_from([0.0, 3.0]), epsilon=st.sampled_from([1e-6, 1e-2]))
def test_a_new_norm_standardises(name, seed, offset, epsilon):
    x = tf.random.stateless_normal([3, 4, 5, 6], [seed, 1], offset, dtype="float64")
    np.testing.assert_allclose(NORMS[name][0](epsilon=epsilon)(x), standardised(name, x, epsilon), 1e-11, 1e-11)


@moved
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_variance_of_1_at_mean_1000_stays_right(name, dtype):
    """E[x²] − E[x]² would be off by a fifth in float32."""
    x = tf.random.stateless_normal([3, 4, 5, 6], [1, 2], dtype=dtype) + 1000
    expected = standardised(name, x, 1e-3)
    # In float32 a mean of 1000 is known to 6e-5.
    np.testing.assert_allclose(NORMS[name][0]()(x), expected, 0, 3e-4 if dtype == "float32" else 1e-9)


@every_norm
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_statistics_of_few_bits_are_taken_in_float32(name, dtype):
    # 300² overflows in float16, and 8 bits could not add up 120 values.
    x = tf.cast(300 * tf.random.stateless_normal([3, 4, 5, 6], [1, 2]), dtype)
    y = NORMS[name][0]()(x)
    assert y.dtype == dtype
    rounding = 2**-8 if dtype == "bfloat16" else 2**-11
    np.testing.assert_allclose(tf.cast(y, tf.float64), standardised(name, tf.cast(x, tf.float64), 1e-3), rounding, 1e-5)


@every_norm
def test_the_laws_of_examples_hold(name):
    norm, x = NORMS[name][0](), tf.random.stateless_normal([3, 4, 5, 6], [1, 2])
    laws.batch_is_its_examples(norm, x)
    laws.examples_sum_to_batch_gradient(norm, x)
    laws.frozen_has_no_gradient(norm, x)
    poisoned = tf.tensor_scatter_nd_update(x, [[1]], tf.fill([1, 4, 5, 6], np.nan))
    for row in (0, 2):
        np.testing.assert_array_equal(norm(poisoned)[row], norm(x)[row])


@every_norm
def test_equal_values_give_finite_values_and_gradients(name):
    norm, x = NORMS[name][0](), tf.zeros([2, 4, 5, 6])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = norm(x)
    assert np.isfinite(y).all()
    assert np.isfinite(tape.gradient(y, x)).all()


def test_the_norms_are_cases_of_each_other():
    x = tf.random.stateless_normal([3, 4, 5, 6], [1, 2], dtype="float64")
    np.testing.assert_array_equal(layers.InstanceNorm(6)(x), layers.GroupNorm(6, 6)(x))
    np.testing.assert_allclose(layers.GroupNorm(6, 1)(x), layers.LayerNorm((4, 5, 6))(x), 1e-12, 1e-12)
    flat = tf.reshape(x, [3, 120])
    np.testing.assert_allclose(layers.GroupNorm(120, 1)(flat), layers.LayerNorm(120)(flat), 1e-12, 1e-12)


def test_a_graph_keeps_the_sizes_that_are_known():
    for build, _, _ in NORMS.values():
        graph = tf.function(build(), input_signature=[tf.TensorSpec([None, None, 5, 6])], autograph=False)
        assert graph.get_concrete_function().output_shapes.as_list() == [None, None, 5, 6]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: layers.LayerNorm(0), r"LayerNorm\(0\): features must be a positive integer, found 0"),
        (lambda: layers.LayerNorm((3, 2.5)), "features must be a positive integer, found 2.5"),
        (lambda: layers.LayerNorm(()), "features must name at least one axis, found"),
        (lambda: layers.LayerNorm(3, epsilon=0), "epsilon must be positive, found 0"),
        (lambda: layers.RMSNorm(3, epsilon=float("nan")), "epsilon must be positive, found nan"),
        (lambda: layers.LayerNorm((4, 3))(tf.ones([2, 5, 3])), r"shape \[batch, ..., 4, 3\], found \[2, 5, 3\]"),
        (lambda: layers.RMSNorm((4, 3))(tf.ones([4, 3])), r"shape \[batch, ..., 4, 3\], found \[4, 3\]"),
        (lambda: layers.RMSNorm(3)(tf.ones([2, 4])), "a last dimension of 3, found 4"),
        (lambda: layers.GroupNorm(48), r"GroupNorm\(48\): groups must divide channels, found 32 and 48"),
        (lambda: layers.GroupNorm(6, -1), "groups must be a positive integer, found -1"),
        (lambda: layers.GroupNorm(6, 2)(tf.ones([2, 3])), "a last dimension of 6, found 3"),
        (lambda: layers.InstanceNorm(3)(tf.ones([2, 3])), r"an input with positions, \[batch, ..., channels\], found"),
        (lambda: layers.GroupNorm(32)(tf.ones([2, 32])), r"GroupNorm\(32\) expects an input with positions"),
        (lambda: layers.PReLU(0), "channels must be a positive integer, found 0"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    "layer",
    [
        layers.LayerNorm(1),
        layers.RMSNorm((2, 1)),
        layers.PReLU(1),
        layers.GroupNorm(1, 1),
        layers.SinusoidalPositions(1),
    ],
    ids=repr,
)
def test_a_last_dimension_that_turns_out_another_is_never_broadcast(layer):
    signature, x = [tf.TensorSpec([2, None, None])], tf.ones([2, 2, 3])
    for jit_compile in (False, True):
        compiled = tf.function(layer, input_signature=signature, jit_compile=jit_compile)
        np.testing.assert_allclose(compiled(x[..., :1]), layer(x[..., :1]), 0, 1e-6)
        assert compiled.get_concrete_function().output_shapes[-1] == 1
        with pytest.raises(tf.errors.InvalidArgumentError):
            compiled(x)
