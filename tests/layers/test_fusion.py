"""Laws of `layers.fusion.fused`: the function's own values and derivatives, in any number of operations."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from layers import activations, nets
from layers.fusion import fused

TOLERANCE = {"float16": 8e-3, "bfloat16": 5e-2, "float32": 1e-5, "float64": 1e-13}
FUNCTIONS = {name: getattr(activations, name) for name in ("gelu", "mish", "silu")}
FUSED = {name: fused(function) for name, function in FUNCTIONS.items()}


def derivatives(function, x):
    """Value, first and second derivative."""
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = function(x)
        gradient = inner.gradient(y, x)
    return y, gradient, outer.gradient(gradient, x)


IN_GRAPHS = {name: tf.function(lambda x, f=function: derivatives(f, x)) for name, function in FUSED.items()}


def assert_close(found, expected, dtype):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype == dtype
        np.testing.assert_allclose(
            tf.cast(one, "float64"), tf.cast(other, "float64"), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
        )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", FUSED)
@given(scale=st.floats(0.01, 30), seed=st.integers(0, 99))
@settings(max_examples=10)
def test_values_and_derivatives_are_the_functions_own(name, dtype, scale, seed):
    x = tf.constant(np.random.default_rng(seed).normal(size=[3, 7]) * scale, dtype)
    assert_close(IN_GRAPHS[name](x), derivatives(FUNCTIONS[name], x), dtype)


def test_forward_mode_goes_through_it():
    x = tf.constant([-2.0, 0.0, 0.7])

    @tf.function
    def forward_mode():
        with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
            y = FUSED["gelu"](x)
        return accumulator.jvp(y)

    np.testing.assert_allclose(forward_mode(), derivatives(activations.gelu, x)[1], rtol=1e-6)


def test_it_goes_into_a_program_of_xla():
    x = tf.linspace(-4.0, 4.0, 9)
    found = tf.function(lambda x: derivatives(FUSED["mish"], x), jit_compile=True)(x)
    assert_close(found, derivatives(activations.mish, x), "float32")


def test_where_numerics_are_checked_it_is_the_function_itself_and_only_there():
    """Also with a shape that no program has been made for; and programs made then would have the checks in them."""
    x = tf.constant([-1.0, 0.5, 3.0, 1e20])
    again = tf.function(lambda x: derivatives(FUSED["mish"], x))
    tf.debugging.enable_check_numerics()
    try:
        found = tf.function(lambda x: FUSED["mish"](x))(x)
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"NaN|nan|Inf"):
            tf.function(lambda x: FUSED["mish"](x))(tf.constant([np.inf, 0, 0, 0], tf.float32) - np.inf)
    finally:
        tf.debugging.disable_check_numerics()
    np.testing.assert_allclose(found, activations.mish(x), rtol=1e-6)
    np.testing.assert_allclose(again(x)[0], found, rtol=1e-6)


def test_eagerly_it_is_the_function_itself():
    x = tf.linspace(-4.0, 4.0, 9)
    for one, other in zip(derivatives(FUSED["gelu"], x), derivatives(activations.gelu, x), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_graph_keeps_the_input_alone_for_the_backward_pass():
    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = FUSED["gelu"](x)
        return tape.gradient(y, x, x)

    graph = gradient.get_concrete_function(tf.TensorSpec([None, 3])).graph
    programs = [op for op in graph.get_operations() if "PartitionedCall" in op.type]
    assert [len(op.inputs) for op in programs] == [1, 2]
    assert [len(op.outputs) for op in programs] == [1, 1]


def test_a_network_that_uses_it_learns_alike_in_a_graph_and_eagerly():
    tf.random.set_seed(1)
    pictures = tf.random.stateless_uniform([4, 8, 8, 3], [0, 0])
    model = nets.FastCifar(3, 5, filters=(25, 26)).fit(pictures)

    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(pictures, training=True) - 1))
        return tape.gradient(loss, model.trainable_variables)

    for one, other in zip(tf.function(gradients)(), gradients(), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-5)
