"""Losses per example, beside Keras'."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine import losses

KERAS = {
    "sparse_categorical_crossentropy": lambda y, z: keras.losses.sparse_categorical_crossentropy(
        y, z, from_logits=True
    ),
    "categorical_crossentropy": lambda y, z: keras.losses.categorical_crossentropy(y, z, from_logits=True),
    "binary_crossentropy": lambda y, z: keras.losses.binary_crossentropy(y, z, from_logits=True),
    "mean_squared_error": keras.losses.mean_squared_error,
    "mean_absolute_error": keras.losses.mean_absolute_error,
}


def test_every_loss_has_an_oracle():
    assert set(KERAS) == set(losses.LOSSES)


@pytest.mark.parametrize("name", KERAS)
@given(data=st.data())
def test_values_and_gradients_are_those_of_keras(name, data):
    shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=2)) + [data.draw(st.integers(2, 6))]
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    outputs = tf.constant(rng.normal(scale=data.draw(st.sampled_from([0.1, 3.0, 100.0])), size=shape))
    labels = {
        "sparse_categorical_crossentropy": lambda: rng.integers(0, shape[-1], shape[:-1]),
        "categorical_crossentropy": lambda: rng.dirichlet(np.ones(shape[-1]), shape[:-1]),
        "binary_crossentropy": lambda: rng.integers(0, 2, shape).astype(float),
    }.get(name, lambda: rng.normal(size=shape))()
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(outputs)
        ours, theirs = losses.get(name)(labels, outputs), KERAS[name](labels, outputs)
    assert ours.shape == shape[:-1]
    # Sums of up to six float64 terms of size 100: rounding stays below 1e-12 of them.
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(tape.gradient(ours, outputs), tape.gradient(theirs, outputs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", KERAS)
def test_half_precision_outputs_are_read_back_in_float32(name):
    labels = np.zeros(2, np.int64) if name.startswith("sparse") else np.zeros((2, 3))
    assert losses.get(name)(labels, tf.ones([2, 3], tf.bfloat16)).dtype == tf.float32


def test_scores_far_out_stay_finite():
    z = tf.constant([[1e4], [-1e4]])
    np.testing.assert_allclose(losses.binary_crossentropy([[0.0], [0.0]], z), [1e4, 0])
    np.testing.assert_allclose(losses.sparse_categorical_crossentropy([0], [[-1e4, 1e4]]), [2e4])


def test_labels_without_the_last_axis_fit_single_outputs():
    np.testing.assert_allclose(losses.mean_squared_error([1.0, 2.0], [[1.0], [4.0]]), [0, 4])
    np.testing.assert_allclose(losses.sparse_categorical_crossentropy([[1]], [[0.0, 0.0]]), [np.log(2)], rtol=1e-6)


def test_wrong_labels_are_refused():
    with pytest.raises(TypeError, match="integer labels, got float32"):
        losses.sparse_categorical_crossentropy([0.5], [[0.0, 1.0]])
    with pytest.raises(ValueError, match=r"\(2, 3\) do not fit outputs of shape \(2, 4\)"):
        losses.mean_squared_error(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"unknown loss 'mse'; there are sparse_cat.*"):
        engine.Supervised("mse")
