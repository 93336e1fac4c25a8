import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import layers

rates = st.floats(0.01, 0.95)


@given(rate=rates, seed=st.integers(0, 1000))
def test_dropout_keeps_the_mean_and_drops_the_rate(rate, seed, step_context):
    y = layers.Dropout(rate)(tf.ones([64, 256]), training=step_context(seed)).numpy()
    dropped = (y == 0).mean()
    # Six standard deviations of the mean of n Bernoulli variables.
    assert abs(dropped - rate) < 6 * np.sqrt(rate * (1 - rate) / y.size)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


@given(rate=rates, cut=st.integers(0, 64), shape=st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_the_rows_of_a_slice_are_those_of_the_whole_batch(rate, cut, shape, step_context):
    layer, x = layers.Dropout(rate), tf.random.stateless_normal([64, *shape], [1, 2])
    whole = layer(x, training=step_context())
    parts = [layer(x[:cut], training=step_context()), layer(x[cut:], training=step_context(start=cut))]
    np.testing.assert_array_equal(tf.concat(parts, 0), whole)


def test_the_mask_does_not_depend_on_the_dtype(step_context):
    masks = [
        layers.Dropout(0.3)(tf.ones([8, 9], dtype), training=step_context()).numpy() == 0
        for dtype in ("bfloat16", "float16", "float32", "float64")
    ]
    for mask in masks:
        np.testing.assert_array_equal(mask, masks[0])


def test_each_call_is_another_draw(step_context):
    layer, context = layers.Dropout(0.5), step_context()
    assert np.any(layer(tf.ones([8, 9]), training=context) != layer(tf.ones([8, 9]), training=context))


def test_a_bare_true_draws_anew_and_repeats_under_a_global_seed():
    layer = layers.Dropout(0.5)

    @tf.function
    def graph():
        return layer(tf.ones([8, 9]), training=True)

    tf.random.set_seed(7)
    first, second = layer(tf.ones([8, 9]), training=True), layer(tf.ones([8, 9]), training=True)
    tf.random.set_seed(7)
    np.testing.assert_array_equal(layer(tf.ones([8, 9]), training=True), first)
    assert np.any(first != second)
    assert np.any(graph() != graph())


def test_the_gradient_is_the_mask_and_a_dropped_nan_is_gone(step_context):
    x = tf.random.stateless_normal([8, 9], [1, 2])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layers.Dropout(0.25)(x, training=step_context())
    gradient = tape.gradient(y, x).numpy()
    np.testing.assert_array_equal(gradient, np.where(y == 0, 0, np.float32(1 / 0.75)))
    poisoned = tf.where(y == 0, np.nan, x)
    np.testing.assert_array_equal(layers.Dropout(0.25)(poisoned, training=step_context()), y)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_dropout_works_in_a_graph_with_an_unknown_batch_size(jit_compile):
    signature = None if jit_compile else [tf.TensorSpec([None, 6])]
    drop = tf.function(
        lambda x: layers.Dropout(0.5)(x, training=True), input_signature=signature, jit_compile=jit_compile
    )
    assert set(drop(tf.ones([50, 6])).numpy().ravel()) == {0.0, 2.0}


def test_a_frozen_dropout_still_follows_training(step_context):
    layer = layers.Dropout(0.5)
    layer.trainable = False
    assert np.any(layer(tf.ones([8, 9]), training=step_context()) == 0)
