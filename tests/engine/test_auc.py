"""Areas under curves: over thresholds as Keras', and over every score as by definition."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import metrics

seeds = st.integers(0, 1000)


def scored(seed, rows):
    """Labels of both kinds, probabilities with ties, weights of which some are 0."""
    rng = np.random.default_rng(seed)
    labels = np.append(rng.integers(0, 2, rows), [0, 1])
    # Far from thresholds n/199, where Keras' float32 could round to the other side.
    scores = (rng.integers(0, 40, rows + 2) + 0.3) / 41
    return labels, scores, np.append(rng.integers(0, 3, rows), [1, 2]) * 0.5


@pytest.mark.parametrize("curve", ["ROC", "PR"])
@pytest.mark.parametrize("method", ["interpolation", "minoring", "majoring"])
@settings(max_examples=4)
@given(seed=seeds, rows=st.integers(0, 60), thresholds=st.sampled_from([2, 3, 17, 200]))
def test_areas_over_thresholds_are_those_of_keras(curve, method, seed, rows, thresholds):
    labels, scores, weights = scored(seed, rows)
    options = {"curve": curve, "summation_method": method, "from_logits": False}
    ours, theirs = metrics.AUC(thresholds, **options), keras.metrics.AUC(thresholds, **options)
    theirs.update_state(labels, scores, sample_weight=weights)
    found = ours.result(ours.sums(labels, scores, weights).numpy())
    np.testing.assert_allclose(found, float(theirs.result()), rtol=1e-5, atol=1e-6)


@given(seed=seeds, rows=st.integers(0, 60), thresholds=st.sampled_from([2, 10, 200]))
def test_the_error_of_thresholds_is_at_most_half_the_pairs_between_two(seed, rows, thresholds):
    labels, scores, weights = scored(seed, rows)
    metric = metrics.AUC(thresholds, from_logits=False)
    sums = metric.sums(labels, scores, weights).numpy()
    bound = 0.5 * np.sum(sums[0] * sums[1]) / (sums[0].sum() * sums[1].sum())
    assert abs(metric.result(sums) - metrics.roc_auc(labels, scores, weights)) <= bound + 1e-12


@given(seed=seeds, rows=st.integers(0, 60))
def test_the_exact_area_is_the_chance_that_a_positive_scores_above_a_negative(seed, rows):
    labels, scores, weights = scored(seed, rows)
    yes, no = labels == 1, labels == 0
    above = (scores[yes, np.newaxis] > scores[no]) + 0.5 * (scores[yes, np.newaxis] == scores[no])
    expected = weights[yes] @ above @ weights[no] / (weights[yes].sum() * weights[no].sum())
    np.testing.assert_allclose(metrics.roc_auc(labels, scores, weights), expected, rtol=1e-12)
    # Only the order of scores counts.
    assert metrics.roc_auc(labels, np.exp(5 * scores) - 7, weights) == metrics.roc_auc(labels, scores, weights)


@given(seed=seeds, rows=st.integers(0, 60))
def test_average_precision_sums_up_precision_where_recall_grows(seed, rows):
    labels, scores, weights = scored(seed, rows)
    area, before = 0.0, 0.0
    for threshold in sorted(set(scores[weights > 0]), reverse=True):
        taken = scores >= threshold
        recall = weights @ (taken & (labels == 1)) / (weights @ (labels == 1))
        area += (recall - before) * (weights @ (taken & (labels == 1)) / (weights @ taken))
        before = recall
    np.testing.assert_allclose(metrics.average_precision(labels, scores, weights), area, rtol=1e-12)


@given(seed=seeds, rows=st.integers(0, 60))
def test_curves_have_a_point_for_each_distinct_score_in_any_order_of_examples(seed, rows):
    labels, scores, weights = scored(seed, rows)
    order = np.random.default_rng(seed).permutation(rows + 2)
    curve = metrics.roc_curve(labels, scores, weights)
    for one, other in zip(curve, metrics.roc_curve(labels[order], scores[order], weights[order]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    distinct = np.unique(scores[weights > 0])[::-1]
    np.testing.assert_array_equal(curve[2], [np.inf, *distinct])
    np.testing.assert_array_equal([part[[0, -1]] for part in curve[:2]], [[0, 1], [0, 1]])
    precision, recall, thresholds = metrics.precision_recall_curve(labels, scores, weights)
    np.testing.assert_array_equal(thresholds, distinct)
    np.testing.assert_array_equal(recall, curve[1][1:])
    taken = np.array([weights[scores >= threshold].sum() for threshold in distinct])
    np.testing.assert_allclose(precision * taken, recall * weights[labels == 1].sum(), rtol=1e-12)


def test_a_label_of_one_kind_has_no_exact_area_and_0_over_thresholds():
    assert np.isnan(metrics.roc_auc([1, 1], [0.2, 0.3]))
    assert np.isnan(metrics.average_precision([0, 0], [0.2, 0.3]))
    assert np.isnan(metrics.average_precision([], []))
    metric = metrics.AUC()
    assert metric.result(metric.sums([1, 1], [0.2, 0.3], [1.0, 1.0]).numpy()) == 0


@pytest.mark.parametrize("method", ["interpolation", "minoring", "majoring"])
def test_without_negatives_precision_is_1_where_anything_is_above_the_threshold(method):
    def area(curve, label, scores):
        metric = metrics.AUC(11, curve=curve, summation_method=method, from_logits=False)
        return metric.result(metric.sums(np.full(len(scores), label), scores, np.ones(len(scores))).numpy())

    # The last of two steps goes to a threshold that nothing is above, where precision is 0/0.
    np.testing.assert_allclose(area("PR", 1, [0.25, 0.95]), 0.5 if method == "minoring" else 1)
    assert area("PR", 0, [0.25, 0.95]) == area("ROC", 0, [0.25, 0.95]) == area("ROC", 1, [0.25, 0.95]) == 0


def test_scores_of_weight_0_may_be_anything():
    assert metrics.roc_auc([1, 0, 7], [1.0, 0.0, np.nan], [1, 1, 0]) == 1


def test_columns_of_outputs_fit_labels_without_the_last_axis():
    metric, labels, z = metrics.AUC(), np.array([0, 1, 1]), np.array([0.5, -1.0, 2.0])
    np.testing.assert_array_equal(
        metric.sums(labels, z[:, np.newaxis], np.arange(3.0)), metric.sums(labels, z, np.arange(3.0))
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.AUC(1), "AUC: num_thresholds must be at least 2, found 1"),
        (lambda: metrics.AUC(curve="roc"), "AUC: curve must be one of ROC, PR, found 'roc'"),
        (lambda: metrics.AUC(summation_method="mid"), "AUC: summation_method must be one of interpolation, minoring"),
        (lambda: metrics.AUC().sums(np.zeros(3), np.zeros((3, 2)), np.ones(3)), r"AUC: labels of shape \(3, 1\)"),
        (lambda: metrics.roc_auc([0, 1], [0.1]), "labels, scores and weights must be as many, found 2, 1 and 1"),
        (lambda: metrics.roc_auc([0, 2], [0.1, 0.2]), "labels must be 0 or 1, scores numbers"),
        (lambda: metrics.roc_auc([0, 1], [0.1, np.nan]), "labels must be 0 or 1, scores numbers"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
