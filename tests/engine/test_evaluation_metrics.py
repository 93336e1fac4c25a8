"""Metrics in a Trainer: however the examples are cut, they are those of all outputs at once."""

import numpy as np
import pytest
from cuts import Batches, trainer
from parts import mlp

import optim
from engine import metrics

EXAMPLES = 13


def examples():
    rng = np.random.default_rng(0)
    return {
        "inputs": rng.normal(size=(EXAMPLES, 6)),
        "labels": rng.integers(0, 3, EXAMPLES),
        "weights": rng.integers(0, 3, EXAMPLES).astype(float),
    }


def several():
    return {
        "accuracy": metrics.SparseCategoricalAccuracy(),
        "top": metrics.SparseTopKCategoricalAccuracy(2),
        "perplexity": metrics.Perplexity(),
        "f1": metrics.F1Score(3),
        "confusion": metrics.ConfusionMatrix(3),
        "iou": metrics.MeanIoU(3),
        "calibration": metrics.ExpectedCalibrationError(),
        "auc": metrics.AUC(curve="PR"),
        "total": metrics.Sum(lambda labels, outputs: outputs[:, 0]),
    }


class OneAgainstRest:
    """A metric of one logit each, on the logits of three classes: those of the first."""

    def __init__(self, metric):
        self.metric, self.shape = metric, metric.shape

    def sums(self, labels, outputs, weights):
        return self.metric.sums(labels == 0, outputs[:, 0], weights)

    def result(self, sums):
        return self.metric.result(sums)


def fitted(replicas, batch_size, **options):
    kinds = several()
    kinds["auc"] = OneAgainstRest(kinds["auc"])
    made = trainer(
        mlp, "sparse_categorical_crossentropy", lambda: optim.SGD(0.1), kinds, replicas=replicas, precision="float64",
        **options,
    )  # fmt: skip
    return made, Batches(examples(), batch_size)


@pytest.mark.parametrize(("replicas", "batch_size"), [(1, 5), (3, 5)])
def test_evaluation_is_that_of_all_outputs_at_once(replicas, batch_size):
    made, batches = fitted(replicas, batch_size)
    arrays, outputs = examples(), made.predict(batches)
    found, sums = made.evaluate(batches), made.metric_sums(batches)
    for name, metric in made.metrics.items():
        whole = metric.sums(arrays["labels"], outputs, arrays["weights"]).numpy()
        assert sums[name].shape == metric.shape
        np.testing.assert_allclose(sums[name], whole, rtol=1e-12, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(found[name], metric.result(whole), rtol=1e-12, err_msg=name)
    exact = metrics.roc_auc(arrays["labels"] == 0, outputs[:, 0], arrays["weights"])
    assert 0 <= exact <= 1


def test_training_counts_the_same_in_slices():
    made, batches = fitted(2, EXAMPLES, accumulate_steps=2)
    expected = made.evaluate(batches)
    history = made.fit(batches, max_steps=1)
    for name in several():
        np.testing.assert_allclose(history.steps[name], [expected[name]], rtol=1e-12, err_msg=name)
