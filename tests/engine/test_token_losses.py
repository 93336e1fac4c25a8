"""Losses of sequences: every token counts by its weight, and what is ignored is as if it were not there."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import engine


class Given(tf.Module):
    """A model whose outputs are its inputs, but for a factor."""

    def __init__(self):
        super().__init__()
        self.factor = tf.Variable(1.0, dtype=tf.float64)

    def __call__(self, x):
        return self.factor * x


def sums(objective, **batch):
    model = Given()
    metrics = {"accuracy": engine.metrics.SparseCategoricalAccuracy()}
    return engine.slice_sums(model, objective, batch, [model.factor], engine.StepContext(0, 0), metrics)


def log_probability(logits, label):
    return logits[label] - np.logaddexp.reduce(logits)


SPARSE = "sparse_categorical_crossentropy"


@given(seed=st.integers(0, 1000), lengths=st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_padded_sequences_have_the_mean_loss_of_their_tokens(seed, lengths):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(len(lengths), 4, 3)), rng.integers(0, 3, (len(lengths), 4))
    tokens = [(row, t) for row, length in enumerate(lengths) for t in range(length)]
    expected = -sum(log_probability(logits[token], labels[token]) for token in tokens)
    mask = np.arange(4) < np.array(lengths)[:, np.newaxis]
    weighted = sums(engine.Supervised(SPARSE), inputs=logits, labels=labels, weights=mask.astype(int))
    ignored = sums(engine.Supervised(SPARSE, ignore_class=-100), inputs=logits, labels=np.where(mask, labels, -100))
    for found in (weighted, ignored):
        np.testing.assert_allclose(found.loss, expected, rtol=1e-12)
        assert found.weight == len(tokens)
        assert np.isfinite(found.gradients[0])
        hits = sum(logits[token].argmax() == labels[token] for token in tokens)
        np.testing.assert_array_equal(found.metrics["accuracy"], [hits, len(tokens)])
    np.testing.assert_allclose(weighted.gradients[0], ignored.gradients[0], rtol=1e-12)


def test_what_is_ignored_is_so_beside_weights_and_in_columns():
    logits, labels = np.zeros((3, 2)), np.array([[1], [7], [0]])
    found = sums(engine.Supervised(SPARSE, ignore_class=7), inputs=logits, labels=labels, weights=np.array([2.0, 3, 5]))
    assert found.weight == 7
    np.testing.assert_allclose(found.loss, 7 * np.log(2))


def test_weights_of_tokens_do_not_fit_losses_of_examples():
    with pytest.raises(ValueError, match=r"^weights of shape \(2, 3\) do not fit losses of shape \(2,\)$"):
        sums(engine.Supervised(SPARSE), inputs=np.zeros((2, 4)), labels=np.zeros(2, int), weights=np.ones((2, 3)))
