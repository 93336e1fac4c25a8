"""Precision, recall, F-scores, intersections over unions and confusion, with all their options."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import metrics

seeds = st.integers(0, 1000)
CLASSES = 4


def drawn(seed, rows, several):
    """One-hot labels or several of a row, scores, weights."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (rows, CLASSES)) if several else np.eye(CLASSES, dtype=int)[rng.integers(0, 3, rows)]
    return labels, rng.normal(size=(rows, CLASSES)).astype(np.float32), rng.integers(0, 3, rows).astype(float)


@settings(max_examples=20)
@given(
    seed=seeds,
    rows=st.integers(1, 12),
    average=st.sampled_from(["micro", "macro", "weighted"]),
    threshold=st.sampled_from([None, 0.3, 0.5]),
    beta=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_f_scores_are_those_of_keras(seed, rows, average, threshold, beta):
    labels, scores, weights = drawn(seed, rows, several=threshold is not None)
    shares = (1 / (1 + np.exp(-scores.astype(float)))).astype(np.float32)
    metric = metrics.FBetaScore(CLASSES, beta=beta, average=average, threshold=threshold)
    sums = metric.sums(labels, scores, weights).numpy()
    for ours, option in ((metric.result(sums), average), (metric.per_class(sums), None)):
        theirs = keras.metrics.FBetaScore(beta=beta, average=option, threshold=threshold)
        theirs.update_state(labels.astype(float), shares, sample_weight=weights)
        # Keras adds 1e-7 to its denominators.
        np.testing.assert_allclose(ours, theirs.result(), rtol=1e-5, atol=1e-6)


@settings(max_examples=5)
@given(seed=seeds, rows=st.integers(1, 12), threshold=st.sampled_from([0.3, 0.5, 0.8]))
def test_precision_and_recall_of_all_outputs_and_of_each_are_those_of_keras(seed, rows, threshold):
    labels, scores, weights = drawn(seed, rows, several=True)
    shares = (1 / (1 + np.exp(-scores.astype(float)))).astype(np.float32)
    for ours, theirs in ((metrics.Precision, keras.metrics.Precision), (metrics.Recall, keras.metrics.Recall)):
        metric = ours(CLASSES, average="micro", threshold=threshold)
        sums = metric.sums(labels, scores, weights).numpy()
        found = [metric.result(sums), *metric.per_class(sums)]
        for value, column in zip(found, [None, *range(CLASSES)], strict=True):
            peer = theirs(threshold, class_id=column)
            peer.update_state(labels, shares, sample_weight=weights)
            np.testing.assert_allclose(value, float(peer.result()), rtol=1e-6)


@given(seed=seeds, rows=st.integers(1, 12))
def test_indices_are_one_hot_labels_and_all_scores_come_from_the_confusion_matrix(seed, rows):
    labels, scores, weights = drawn(seed, rows, several=False)
    indices = labels.argmax(axis=1)
    metric = metrics.F1Score(CLASSES)
    sums = metric.sums(labels, scores, weights).numpy()
    np.testing.assert_array_equal(metric.sums(indices, scores, weights), sums)
    np.testing.assert_array_equal(metric.sums(indices[:, np.newaxis], scores, weights), sums)
    confusion = metrics.ConfusionMatrix(CLASSES)
    matrix = confusion.matrix(confusion.sums(indices, scores, weights).numpy())
    np.testing.assert_array_equal(sums, [np.diagonal(matrix), matrix.sum(axis=0), matrix.sum(axis=1)])
    shares = confusion.matrix(matrix, normalize=True)
    np.testing.assert_allclose(shares * matrix.sum(axis=1, keepdims=True), matrix)
    np.testing.assert_allclose(shares.sum(axis=1), matrix.sum(axis=1) > 0)
    # Of one class for each example, as many are predicted as there are: what all have in common is the accuracy.
    micro = metrics.Precision(CLASSES, average="micro").result(sums)
    np.testing.assert_allclose(micro, confusion.result(matrix), rtol=1e-12)


def test_sequences_count_by_token():
    labels, scores = np.array([[0, 1], [1, 1]]), np.zeros((2, 2, 2)) + [1.0, 0.0]
    weights = np.array([[1.0, 2.0], [0.0, 4.0]])
    for metric in (metrics.Recall(2), metrics.MeanIoU(2)):
        np.testing.assert_array_equal(metric.sums(labels, scores, weights), [[1, 0], [7, 0], [1, 6]])
    np.testing.assert_array_equal(metrics.ConfusionMatrix(2).sums(labels, scores, weights), [[1, 0], [6, 0]])


def test_classes_that_are_nowhere_are_left_out_of_intersections_over_unions():
    sums = np.array([[1.0, 0, 0], [2, 1, 0], [1, 2, 0]])
    assert metrics.MeanIoU(3).result(sums) == 0.25
    assert metrics.IoU(3, [0]).result(sums) == 0.5
    assert metrics.IoU(3, [2]).result(sums) == 0
    np.testing.assert_array_equal(metrics.MeanIoU(3).per_class(sums), [0.5, 0, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.Precision(0), "Precision: num_classes must be at least 1, found 0"),
        (lambda: metrics.Recall(3, average="all"), "Recall: average must be one of micro, macro, weighted, found"),
        (lambda: metrics.F1Score(threshold=0.0), "F1Score: threshold must be a probability between 0 and 1, found 0.0"),
        (lambda: metrics.FBetaScore(beta=0), "FBetaScore: beta must be above 0, found 0"),
        (lambda: metrics.ConfusionMatrix(1), "ConfusionMatrix: num_classes must be at least 2, found 1"),
        (lambda: metrics.IoU(3, [3]), r"IoU: target_class_ids must be some of 0 to 2, found \[3\]"),
        (lambda: metrics.IoU(3, []), r"IoU: target_class_ids must be some of 0 to 2, found \[\]"),
        (lambda: metrics.Recall(3).sums(np.zeros(2, int), np.zeros((2, 4)), np.ones(2)),
         r"Recall: outputs must be \[batch, …, 3\], found shape \(2, 4\)"),
        (lambda: metrics.ConfusionMatrix(3).sums(np.zeros(2, int), np.zeros((2, 4)), np.ones(2)),
         r"ConfusionMatrix: outputs must be \[batch, …, 3\], found shape \(2, 4\)"),
        (lambda: metrics.Recall(3).sums(np.zeros((2, 2), int), np.zeros((2, 3)), np.ones(2)),
         r"Recall: labels of shape \(2, 2\) do not fit outputs of shape \(2, 3\)"),
        (lambda: metrics.Precision().sums(np.zeros((1, 1)), np.zeros((4, 1)), np.ones(4)),
         r"^Precision: labels of shape \(1, 1\) do not fit outputs of shape \(4, 1\)$"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_labels_that_are_no_integers_are_refused():
    with pytest.raises(TypeError, match="Recall needs integer labels, got float64"):
        metrics.Recall(3).sums(np.zeros(2), np.zeros((2, 3)), np.ones(2))
