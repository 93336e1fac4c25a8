"""Which class is taken for which."""

import numpy as np
import tensorflow as tf

from engine.metrics.metric import class_indices, counts, no_numbers, ratio, spread, tensors


class ConfusionMatrix:
    """How much weight has label i and its largest output at class j. Its one number is the share on the diagonal.

    num_classes: the matrix is [num_classes, num_classes]. labels: integers [batch, …] (one that is no class makes the
    sums NaN); outputs: logits or probabilities [batch, …, num_classes], of which one that is NaN makes the sums NaN.

    >>> metric = ConfusionMatrix(2)
    >>> sums = metric.sums([0, 1, 1], [[2.0, 1.0], [0.0, 1.0], [1.0, 0.0]], [1.0, 1.0, 1.0]).numpy()
    >>> metric.matrix(sums).tolist()
    [[1.0, 0.0], [1.0, 1.0]]

    The sums of an evaluation are `trainer.metric_sums(pipeline)["confusion"]`, for a metric of that name. A training
    loop keeps those of each of its steps: of a thousand classes that is 8 MB a step.
    """

    mode = "max"

    def __init__(self, num_classes: int):
        if num_classes < 2:
            raise ValueError(f"ConfusionMatrix: num_classes must be at least 2, found {num_classes}")
        self.shape = (num_classes, num_classes)

    def sums(self, labels: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """The matrix."""
        labels, outputs = tensors(labels, outputs)
        classes = self.shape[0]
        if outputs.shape[-1] != classes:
            raise ValueError(f"ConfusionMatrix: outputs must be [batch, …, {classes}], found shape {outputs.shape}")
        labels, predictions = class_indices(self, labels, outputs), tf.argmax(outputs, axis=-1)
        numbers = tf.logical_not(tf.reduce_any(no_numbers(outputs), axis=-1))
        legal = tf.reduce_all([labels >= 0, labels < classes, numbers], axis=0)
        found = counts(spread(self, weights, labels), labels * classes + predictions, legal, classes**2)
        return tf.reshape(found, self.shape)

    def result(self, sums: np.ndarray) -> float:
        """The share of the diagonal, the accuracy."""
        return float(ratio(np.trace(sums), sums.sum()))

    def matrix(self, sums: np.ndarray, normalize: bool = False) -> np.ndarray:
        """[label, prediction]; normalized, the rows sum to 1 (or are 0 where no example has that label)."""
        return ratio(sums, sums.sum(axis=1, keepdims=True)) if normalize else sums
