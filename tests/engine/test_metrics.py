"""Metrics: sums that add up, and results beside Keras'."""

import inspect

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import metrics


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def sparse_case(rng, rows):
    return rng.integers(0, 7, rows), rng.normal(size=(rows, 7))


def dense_case(rng, rows):
    return np.eye(7)[rng.integers(0, 7, rows)], rng.normal(size=(rows, 7))


def binary_case(rng, rows):
    return rng.integers(0, 2, (rows, 3)), rng.normal(size=(rows, 3))


# Ours, Keras' (which takes probabilities where ours takes logits), and examples.
CASES = {
    "SparseCategoricalAccuracy": (
        metrics.SparseCategoricalAccuracy(),
        keras.metrics.SparseCategoricalAccuracy,
        sparse_case,
        lambda z: z,
    ),
    "CategoricalAccuracy": (metrics.CategoricalAccuracy(), keras.metrics.CategoricalAccuracy, dense_case, lambda z: z),
    "BinaryAccuracy": (
        metrics.BinaryAccuracy(0.4),
        lambda: keras.metrics.BinaryAccuracy(threshold=0.4),
        binary_case,
        sigmoid,
    ),
    "SparseTopKCategoricalAccuracy": (
        metrics.SparseTopKCategoricalAccuracy(3),
        lambda: keras.metrics.SparseTopKCategoricalAccuracy(3),
        sparse_case,
        lambda z: z,
    ),
    "Mean": (
        metrics.Mean(lambda y, z: abs(z[:, 0] - z[:, 1])),
        None,
        sparse_case,
        lambda z: z,
    ),
}


def test_every_metric_has_a_case():
    public = {
        name for name, thing in vars(metrics).items() if inspect.isclass(thing) and thing.__module__ == metrics.__name__
    }
    assert public - {"Metric"} == set(CASES)


@pytest.mark.parametrize("name", CASES)
@given(rows=st.integers(1, 20), seed=st.integers(0, 1000), data=st.data())
def test_results_are_those_of_keras_and_halves_add_up_to_the_whole(name, rows, seed, data):
    metric, peer, case, squash = CASES[name]
    rng = np.random.default_rng(seed)
    labels, outputs = case(rng, rows)
    weights = rng.integers(0, 4, rows).astype(float)
    cut = data.draw(st.integers(0, rows))
    whole = metric.sums(labels, outputs, weights).numpy()
    assert whole.shape == metric.shape
    assert whole.dtype == np.float64
    halves = [
        metric.sums(labels[part], outputs[part], weights[part]).numpy()
        for part in (slice(0, cut), slice(cut, rows))
        if outputs[part].size
    ]
    np.testing.assert_allclose(sum(halves), whole, rtol=1e-14)
    if peer is None:
        expected = np.average(np.abs(outputs[:, 0] - outputs[:, 1]), weights=weights) if weights.sum() else 0.0
        np.testing.assert_allclose(metric.result(whole), expected, rtol=1e-12)
    else:
        theirs = peer()
        theirs.update_state(labels, squash(outputs).astype(np.float32), sample_weight=weights)
        # Keras sums in float32: 20 terms.
        np.testing.assert_allclose(metric.result(whole), float(theirs.result()), rtol=1e-6, atol=1e-7)


def test_ties_and_columns():
    labels, outputs = np.array([[1]]), np.array([[1.0, 1.0, 0.0]])
    assert metrics.SparseCategoricalAccuracy().sums(labels, outputs, np.ones(1)).numpy()[0] == 0
    assert metrics.SparseTopKCategoricalAccuracy(1).sums(labels, outputs, np.ones(1)).numpy()[0] == 1
    assert metrics.SparseTopKCategoricalAccuracy(9).sums(labels, outputs, np.ones(1)).numpy()[0] == 1


def test_the_mean_of_nothing_is_0():
    assert metrics.SparseCategoricalAccuracy().result(np.zeros(2)) == 0.0


def test_arguments_out_of_their_domain_are_refused():
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        metrics.SparseTopKCategoricalAccuracy(0)
    with pytest.raises(ValueError, match="threshold must be a probability"):
        metrics.BinaryAccuracy(1.0)
