"""Metrics: sums that add up, and results beside Keras' or their definitions'."""

import inspect

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_cases import CASES

from engine import metrics

every = pytest.mark.parametrize("name", CASES)
rows, seeds = st.integers(1, 20), st.integers(0, 1000)


def test_every_metric_has_a_case():
    public = {name for name in metrics.__all__ if inspect.isclass(getattr(metrics, name))}
    assert public - {"Metric"} == {name.partition("-")[0] for name in CASES}


@every
def test_what_is_met_is_better_in_the_direction_that_a_metric_names(name):
    metric, examples, _ = CASES[name]
    labels, _ = examples(np.random.default_rng(0), 12)
    if name in ("Mean", "Sum"):
        assert metric.mode is None
        return
    classes = np.eye(5)[labels] if examples.__name__ == "sparse" else labels
    met = labels if examples.__name__ == "continuous" else 80.0 * classes - 40.0
    sign = {"max": 1, "min": -1}[metric.mode]
    good, bad = (metric.result(metric.sums(labels, part, np.ones(12)).numpy()) for part in (met, -met))
    assert sign * good > sign * bad


@every
@settings(max_examples=8)
@given(rows=rows, seed=seeds, data=st.data())
def test_results_are_the_oracle_s_and_halves_add_up_to_the_whole(name, rows, seed, data):
    metric, examples, oracle = CASES[name]
    rng = np.random.default_rng(seed)
    labels, outputs = examples(rng, rows)
    weights = data.draw(st.sampled_from([np.ones(rows), rng.integers(0, 3, rows) * 0.5]))
    cut = data.draw(st.integers(0, rows))
    whole = metric.sums(labels, outputs, weights).numpy()
    assert whole.shape == metric.shape
    assert whole.dtype == np.float64
    halves = [
        metric.sums(labels[part], outputs[part], weights[part]).numpy()
        for part in (slice(0, cut), slice(cut, rows))
        if outputs[part].size
    ]
    np.testing.assert_allclose(sum(halves), whole, rtol=1e-14, atol=1e-14)
    # Keras sums in float32, and adds 1e-7 to some denominators: of 20 terms.
    expected = oracle(labels, outputs, weights)
    np.testing.assert_allclose(metric.result(whole), expected, rtol=1e-5, atol=1e-6)


@every
@settings(max_examples=4)
@given(rows=rows, seed=seeds)
def test_a_weight_is_a_number_of_examples_and_what_weighs_0_may_be_anything(name, rows, seed):
    metric, examples, _ = CASES[name]
    rng = np.random.default_rng(seed)
    labels, outputs = examples(rng, rows)
    weights = rng.integers(0, 3, rows)
    repeated = metric.sums(
        np.repeat(labels, weights, axis=0), np.repeat(outputs, weights, axis=0), np.ones(weights.sum())
    )
    outputs[weights == 0] = np.nan
    if labels.ndim == 1 and outputs.ndim == 2:
        labels[weights == 0] = -1
    weighted = metric.sums(labels, outputs, weights.astype(np.float32))
    np.testing.assert_allclose(weighted, repeated, rtol=1e-12, atol=1e-12)


NOTHING = {"R2Score": 1.0, "Perplexity": 1.0}


@every
def test_the_result_of_nothing_is_defined(name):
    metric = CASES[name][0]
    assert metric.result(np.zeros(metric.shape)) == NOTHING.get(name, 0.0)
    assert type(metric.result(np.zeros(metric.shape))) is float


@pytest.mark.parametrize("name", [name for name in CASES if "Accuracy" not in name])
def test_an_output_that_is_no_number_makes_the_result_none(name):
    metric, examples, _ = CASES[name]
    labels, outputs = examples(np.random.default_rng(0), 4)
    for place in range(outputs[1].size):
        spoilt = outputs.copy()
        spoilt.reshape(4, -1)[1, place] = np.nan
        if name == "Sum" and place:
            continue
        assert np.isnan(metric.result(metric.sums(labels, spoilt, np.ones(4)).numpy())), place


@pytest.mark.parametrize("name", [name for name in CASES if "Accuracy" in name])
def test_an_output_that_is_no_number_is_a_miss(name):
    metric, examples, _ = CASES[name]
    labels, _ = examples(np.random.default_rng(0), 4)
    classes = np.eye(5)[labels] if examples.__name__ == "sparse" else labels
    met = 2.0 * classes - 1.0
    assert metric.result(metric.sums(labels, met, np.ones(4)).numpy()) == 1
    # Of several features one is missed, of several classes their example.
    missed = 1 / met.size if name == "BinaryAccuracy" else 1 / 4
    for place in range(met.shape[1]):
        spoilt = met.copy()
        spoilt[1, place] = np.nan
        np.testing.assert_allclose(metric.result(metric.sums(labels, spoilt, np.ones(4)).numpy()), 1 - missed)
    nothing = np.full_like(met, np.nan)
    for truth in (labels, np.zeros_like(labels)):
        assert metric.result(metric.sums(truth, nothing, np.ones(4)).numpy()) == 0


def test_infinite_outputs_are_scores_like_others():
    inf = np.inf
    labels, outputs = np.array([0, 1]), np.array([[0.0, -inf, -inf], [0.0, inf, 1.0]])
    for metric in (metrics.SparseCategoricalAccuracy(), metrics.ConfusionMatrix(3), metrics.Recall(3, average="micro")):
        assert metric.result(metric.sums(labels, outputs, np.ones(2)).numpy()) == 1
    for metric in (metrics.BinaryAccuracy(), metrics.Precision()):
        assert metric.result(metric.sums(np.array([0, 1]), np.array([-inf, inf]), np.ones(2)).numpy()) == 1


def test_integer_outputs_are_counted():
    labels, outputs = np.array([0, 1]), np.array([[2, 1], [0, 1]])
    for metric in (
        metrics.SparseCategoricalAccuracy(),
        metrics.ConfusionMatrix(2),
        metrics.SparseTopKCategoricalAccuracy(1),
    ):
        assert metric.result(metric.sums(labels, outputs, np.ones(2)).numpy()) == 1


def test_of_a_single_feature_the_last_axis_of_one_may_lack_on_either_side():
    labels, outputs, metric = np.array([0, 1, 1]), np.array([0.5, -1.0, 2.0]), metrics.BinaryAccuracy()
    expected = metric.sums(labels, outputs, np.arange(3.0))
    for y, z in ((labels[:, None], outputs), (labels, outputs[:, None])):
        np.testing.assert_array_equal(metric.sums(y, z, np.arange(3.0)), expected)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_share_that_is_no_number_beside_others_makes_the_calibration_none(compiled):
    metric = metrics.ExpectedCalibrationError(from_logits=False)
    sums = tf.function(metric.sums, autograph=False, jit_compile=True) if compiled else metric.sums
    # Compiled, the largest of a number and NaN may be the number.
    shares = tf.constant([[0.5, np.nan], [0.2, 0.8]])
    assert np.isnan(metric.result(sums(tf.constant([0, 1]), shares, tf.ones(2)).numpy()))


def batch(name, dtype=np.float32):
    labels, outputs = CASES[name][1](np.random.default_rng(7), 6)
    return labels, outputs.astype(dtype), np.arange(6, dtype=np.float32)


def test_compiled_and_of_unknown_batch_size_the_sums_are_the_same():
    batches = {name: batch(name) for name in CASES}
    specs = tf.nest.map_structure(lambda part: tf.TensorSpec([None, *part.shape[1:]], part.dtype), batches)

    def all_sums(batches):
        return {name: CASES[name][0].sums(*parts) for name, parts in batches.items()}

    eager, compiled = all_sums(batches), tf.function(all_sums, [specs], autograph=False, jit_compile=True)
    for name, sums in compiled(batches).items():
        # float32 losses by other exponentials.
        np.testing.assert_allclose(sums, eager[name], rtol=1e-5, err_msg=name)


@every
def test_half_precision_outputs_are_measured(name):
    labels, outputs, weights = batch(name)
    half = tf.cast(outputs, tf.bfloat16)
    found, wide = (CASES[name][0].sums(labels, part, weights) for part in (half, tf.cast(half, tf.float32)))
    np.testing.assert_allclose(found, wide, rtol=1e-2, atol=1e-2)


def test_ties_and_columns():
    labels, outputs = np.array([[1]]), np.array([[1.0, 1.0, 0.0]])
    assert metrics.SparseCategoricalAccuracy().sums(labels, outputs, np.ones(1)).numpy()[0] == 0
    assert metrics.SparseTopKCategoricalAccuracy(1).sums(labels, outputs, np.ones(1)).numpy()[0] == 1
    assert metrics.SparseTopKCategoricalAccuracy(9).sums(labels, outputs, np.ones(1)).numpy()[0] == 1


def test_outputs_that_are_no_numbers_are_not_among_the_best():
    outputs = np.full((2, 3), np.nan)
    assert metrics.SparseTopKCategoricalAccuracy(3).sums(np.array([0, 2]), outputs, np.ones(2)).numpy()[0] == 0


@pytest.mark.parametrize("label", [-1, 5])
def test_a_label_that_is_no_class_is_a_miss_or_makes_the_sums_no_number(label):
    for name, (metric, examples, _) in CASES.items():
        labels, outputs = examples(np.random.default_rng(0), 4)
        if examples.__name__ == "sparse" and name != "Sum":
            labels[1] = label
            found = metric.sums(labels, outputs, np.ones(4)).numpy()
            if "Accuracy" in name:
                assert found[1] == 4
                assert found[0] <= 3
            else:
                assert np.isnan(metric.result(found)), name


def test_probabilities_are_measured_like_their_logits():
    probable = {"from_logits": False}
    rng = np.random.default_rng(0)
    labels, z = rng.integers(0, 2, 9), rng.normal(size=9)
    for kind in (metrics.AUC, metrics.Precision, metrics.Recall, metrics.F1Score, metrics.BinaryAccuracy,
                 metrics.BrierScore, metrics.ExpectedCalibrationError):  # fmt: skip
        expected = kind().sums(labels, z, np.ones(9))
        np.testing.assert_allclose(
            kind(**probable).sums(labels, 1 / (1 + np.exp(-z)), np.ones(9)), expected, rtol=1e-12
        )
    logits, classes = rng.normal(size=(9, 3)), rng.integers(0, 3, 9)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for kind in (metrics.Perplexity, metrics.BrierScore, metrics.ExpectedCalibrationError):
        expected = kind().sums(classes, logits, np.ones(9))
        np.testing.assert_allclose(kind(**probable).sums(classes, shares, np.ones(9)), expected, rtol=1e-12)


def test_a_large_perplexity_is_infinite():
    assert metrics.Perplexity().result(np.array([1e4, 1.0])) == np.inf


def test_r2_of_labels_that_do_not_vary_is_1_if_they_are_met_or_0():
    labels = np.full((3, 2), 0.1)
    outputs = labels + [[0.0, 0.1]]
    metric = metrics.R2Score(2)
    np.testing.assert_array_equal(metric.per_output(metric.sums(labels, outputs, np.ones(3)).numpy()), [1, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.SparseTopKCategoricalAccuracy(0), "k must be at least 1, found 0"),
        (lambda: metrics.BinaryAccuracy(1.0), "threshold must be a probability between 0 and 1, found 1.0"),
        (lambda: metrics.R2Score(0), "R2Score: num_outputs must be at least 1, found 0"),
        (lambda: metrics.ExpectedCalibrationError(0), "bins must be at least 1, found 0"),
        (lambda: metrics.R2Score(2).sums(np.zeros(3), np.zeros((3, 2)), np.ones(3)), r"labels must be \[batch, 2\]"),
        (lambda: metrics.SparseCategoricalAccuracy().sums(np.zeros(2, int), np.zeros((3, 2)), np.ones(3)),
         r"SparseCategoricalAccuracy: labels of shape \(2,\) do not fit outputs of shape \(3, 2\)"),
        (lambda: metrics.MeanSquaredError().sums(np.zeros((3, 2)), np.zeros((3, 2)), np.ones((3, 2))),
         r"MeanSquaredError: weights of shape \(3, 2\) do not fit values of shape \(3,\)"),
        (lambda: metrics.BinaryAccuracy().sums(np.zeros((3, 2)), np.zeros((2, 3)), np.ones(3)),
         r"BinaryAccuracy: labels of shape \(3, 2\) do not fit outputs of shape \(2, 3\)"),
        (lambda: metrics.BinaryAccuracy().sums(np.zeros((2, 2)), np.zeros(4), np.ones(4)),
         r"BinaryAccuracy: labels of shape \(2, 2\) do not fit outputs of shape \(4,\)"),
        (lambda: metrics.CategoricalAccuracy().sums(np.array([0, 1, 2, 1]), np.zeros((4, 3)), np.ones(4)),
         r"^CategoricalAccuracy: labels of shape \(4,\) do not fit outputs of shape \(4, 3\)$"),
        (lambda: metrics.TopKCategoricalAccuracy().sums(np.zeros((4, 1)), np.zeros((4, 3)), np.ones(4)),
         r"^TopKCategoricalAccuracy: labels of shape \(4, 1\) do not fit outputs of shape \(4, 3\)$"),
        (lambda: metrics.R2Score().sums(np.zeros(1), np.zeros(4), np.ones(4)),
         r"^R2Score: labels of shape \(1, 1\) do not fit outputs of shape \(4, 1\)$"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
