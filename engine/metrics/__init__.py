"""Metrics as sums: whatever is added up over examples can be added up over slices, replicas, steps and batches.

A metric turns the terms of a slice into one float64 tensor of sums, and sums of sums into a number. It holds no
state: the running sums are the run's, in `TrainState`. Classification metrics take logits, as the losses do, and
probabilities with `from_logits=False` where that makes a difference. What weighs 0 does not count, whatever it is.
An output that is NaN is a miss for accuracies, and makes every other metric NaN. What is better of a metric, "max" or
"min", is its `mode`, which hooks that monitor it read.

Metrics that have more to say than a number say it from the same sums, `trainer.metric_sums(pipeline)[name]`: the
`per_class` of scores, the `matrix` of a `ConfusionMatrix`. Areas over every single score are functions, in `exact`.
"""

from engine.metrics.accuracy import (
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from engine.metrics.auc import AUC
from engine.metrics.confusion import ConfusionMatrix
from engine.metrics.exact import average_precision, precision_recall_curve, roc_auc, roc_curve
from engine.metrics.iou import IoU, MeanIoU
from engine.metrics.means import Mean, Sum
from engine.metrics.metric import Metric
from engine.metrics.probabilities import BitsPerToken, BrierScore, ExpectedCalibrationError, Perplexity
from engine.metrics.regression import (
    CosineSimilarity,
    MeanAbsoluteError,
    MeanSquaredError,
    R2Score,
    RootMeanSquaredError,
)
from engine.metrics.scores import F1Score, FBetaScore, Precision, Recall

__all__ = [
    "AUC",
    "BinaryAccuracy",
    "BitsPerToken",
    "BrierScore",
    "CategoricalAccuracy",
    "ConfusionMatrix",
    "CosineSimilarity",
    "ExpectedCalibrationError",
    "F1Score",
    "FBetaScore",
    "IoU",
    "Mean",
    "MeanAbsoluteError",
    "MeanIoU",
    "MeanSquaredError",
    "Metric",
    "Perplexity",
    "Precision",
    "R2Score",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "Sum",
    "TopKCategoricalAccuracy",
    "average_precision",
    "precision_recall_curve",
    "roc_auc",
    "roc_curve",
]
