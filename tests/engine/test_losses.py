"""Losses per example, beside Keras'."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import CASES, PROBABILITIES, examples, indices, softmax

from engine import losses


def test_every_loss_has_an_oracle():
    elsewhere = {"ctc", "contrastive", "triplet"}  # test_embedding_losses.py, test_ctc.py
    assert set(CASES) | elsewhere == set(losses.LOSSES)
    for name, (_, _, _, options) in CASES.items():
        keywords = inspect.signature(losses.get(name)).parameters.values()
        assert {p.name for p in keywords if p.kind is p.KEYWORD_ONLY} - {"label_smoothing"} <= set(options)


def parity(data, name, labels, squash, scale, options):
    shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=2)) + [data.draw(st.integers(2, 6))]
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    outputs = tf.constant(squash(rng.normal(scale=data.draw(st.sampled_from([0.1, 1.0])) * scale, size=shape)))
    labels = labels(rng, shape)
    drawn = {option: data.draw(strategy) for option, strategy in options.items()}
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(outputs)
        ours = losses.get(name)(labels, outputs, **drawn)
        theirs = getattr(keras.losses, name)(
            labels.astype(float) if labels.ndim == len(shape) else labels, outputs, **drawn
        )
    assert ours.shape == shape[:-1]
    # Sums of up to six float64 terms: rounding stays below 1e-12 of them, and of a label's share of 100 %.
    tolerance = {"rtol": 1e-12, "atol": 1e-10 if name == "mean_absolute_percentage_error" else 1e-12}
    if name == "log_cosh":
        # Keras rounds log 2 to float32.
        np.testing.assert_allclose(ours, theirs + np.float32(np.log(2)) - np.log(2), **tolerance)
    else:
        np.testing.assert_allclose(ours, theirs, **tolerance)
    np.testing.assert_allclose(tape.gradient(ours, outputs), tape.gradient(theirs, outputs), **tolerance)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=10)
@given(data=st.data())
def test_values_and_gradients_are_those_of_keras(name, data):
    parity(data, name, *CASES[name])


@pytest.mark.parametrize("name", PROBABILITIES)
@settings(max_examples=8)
@given(data=st.data())
def test_values_and_gradients_of_probabilities_are_those_of_keras(name, data):
    labels, _, _, options = CASES[name]
    # Of logits of size 100 most probabilities are clipped; the power of a focal loss is not smooth there.
    scale = 3 if "focal" in name else 100
    parity(data, name, labels, PROBABILITIES[name], scale, options | {"from_logits": st.just(False)})


@given(seed=st.integers(0, 1000), smoothing=st.floats(0, 0.9), from_logits=st.booleans())
def test_smoothed_indices_are_smoothed_one_hot_labels(seed, smoothing, from_logits):
    rng = np.random.default_rng(seed)
    labels, outputs = indices(rng, [3, 4]), rng.normal(size=[3, 4])
    options = {"from_logits": from_logits, "label_smoothing": smoothing}
    outputs = outputs if from_logits else softmax(outputs)
    found = losses.sparse_categorical_crossentropy(labels, outputs, **options)
    expected = keras.losses.categorical_crossentropy(np.eye(4)[labels], outputs, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_half_precision_is_read_back_in_float32_and_float64_stays(name):
    for given_as, expected in (("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")):
        labels, outputs = examples(name, given_as)
        found = losses.get(name)(labels, outputs)
        assert (found.dtype, found.shape) == (expected, [3])


UNBOUNDED = [name for name in losses.LOSSES if name not in ("poisson", "kl_divergence")]


@pytest.mark.parametrize("name", UNBOUNDED)
def test_scores_far_out_have_finite_losses_and_gradients(name):
    labels, outputs = examples(name)
    rows = tf.reshape([1e4, -1e4, 0.0], [3] + [1] * (outputs.shape.rank - 1))
    for scores in (tf.sign(outputs) * 1e4, tf.zeros_like(outputs), tf.ones_like(outputs) * rows):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            found = losses.get(name)(labels, scores)
        assert np.isfinite(found).all()
        assert np.isfinite(tape.gradient(found, scores)).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", ["categorical_focal_crossentropy", "binary_focal_crossentropy"])
def test_a_focal_gradient_is_finite_where_nothing_is_left_to_learn(name, gamma):
    scores = tf.constant([[1e4, -1e4], [-1e4, 1e4], [200.0, -200.0]])
    with tf.GradientTape() as tape:
        tape.watch(scores)
        found = losses.get(name)([[1, 0]] * 3, scores, gamma=gamma)
    assert np.isfinite(tape.gradient(found, scores)).all()
    np.testing.assert_allclose(found[0], 0, atol=1e-12)


def test_log_cosh_keeps_the_digits_of_small_errors():
    error = np.logspace(-12, 0, 7, dtype=np.float32)
    expected = np.log1p(2 * np.sinh(error.astype(float) / 2) ** 2)
    np.testing.assert_allclose(losses.log_cosh(np.zeros(7), error), expected, rtol=1e-6)
