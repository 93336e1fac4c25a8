"""Accuracies: the share of examples that a model gets right.

A label that is no class is a miss, and so is an example with an output that is NaN (or the one such feature, where
features are counted).
"""

import tensorflow as tf

from engine.metrics.means import Mean
from engine.metrics.metric import check_same_shape, class_indices, logit, no_numbers


class Accuracy(Mean):
    """The base of those whose value is better the larger it is."""

    mode = "max"


class SparseCategoricalAccuracy(Accuracy):
    """The share of examples whose largest logit is that of the label's class; of equal logits the first counts.

    labels: integers [batch, …]; outputs: [batch, …, classes].
    """

    def __init__(self):
        super().__init__(lambda labels, outputs: _largest(class_indices(self, labels, outputs), outputs))


class CategoricalAccuracy(Accuracy):
    """The share of examples whose largest logit is at the largest label. labels, outputs: [batch, …, classes]."""

    def __init__(self):
        super().__init__(lambda labels, outputs: _largest(_largest_label(self, labels, outputs), outputs))


class BinaryAccuracy(Accuracy):
    """The share of features whose sigmoid is on the label's side of `threshold` (a probability).

    labels: 0 or 1, [batch] or [batch, features]; outputs: logits of the same shape, but for a last axis of 1 that
    either may lack; probabilities with `from_logits=False`.
    """

    def __init__(self, threshold: float = 0.5, *, from_logits: bool = True):
        edge = logit("BinaryAccuracy", threshold)
        edge = edge if from_logits else threshold

        def value(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
            labels = _as_columns(labels, outputs)
            check_same_shape(self, labels, outputs)
            above = outputs > tf.constant(edge, outputs.dtype)
            hits = tf.equal(above, tf.cast(labels, tf.float64) > 0.5)
            hits = tf.cast(tf.logical_and(hits, tf.logical_not(no_numbers(outputs))), tf.float64)
            return hits if hits.shape.rank == 1 else tf.reduce_mean(hits, axis=-1)

        super().__init__(value)


class SparseTopKCategoricalAccuracy(Accuracy):
    """The share of examples whose label is among the k largest logits.

    labels: integers [batch, …]; outputs: [batch, …, classes]. A label that ties with the k-th largest counts as in, one
    whose logit is infinite does not.
    """

    def __init__(self, k: int = 5):
        _check(k, "SparseTopKCategoricalAccuracy")
        super().__init__(lambda labels, outputs: _within(class_indices(self, labels, outputs), outputs, k))


class TopKCategoricalAccuracy(Accuracy):
    """The share of examples whose largest label is among the k largest logits. labels, outputs: [batch, …, classes]."""

    def __init__(self, k: int = 5):
        _check(k, "TopKCategoricalAccuracy")
        super().__init__(lambda labels, outputs: _within(_largest_label(self, labels, outputs), outputs, k))


def _check(k: int, metric: str) -> None:
    if k < 1:
        raise ValueError(f"{metric}: k must be at least 1, found {k}")


def _largest_label(metric: Mean, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    check_same_shape(metric, labels, outputs)
    return tf.argmax(labels, axis=-1)


def _as_columns(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Labels with a last axis of 1 more or less, if that is all that outputs differ in."""
    if None in (labels.shape.rank, outputs.shape.rank):
        return labels
    if labels.shape.rank == outputs.shape.rank - 1 and outputs.shape[-1] == 1:
        return labels[..., tf.newaxis]
    return labels[..., 0] if labels.shape.rank == outputs.shape.rank + 1 and labels.shape[-1] == 1 else labels


def _numbers(outputs: tf.Tensor) -> tf.Tensor:
    return tf.logical_not(tf.reduce_any(no_numbers(outputs), axis=-1))


def _largest(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    return tf.logical_and(tf.equal(tf.argmax(outputs, axis=-1), labels), _numbers(outputs))


def _within(labels: tf.Tensor, outputs: tf.Tensor, k: int) -> tf.Tensor:
    legal = tf.logical_and(labels >= 0, labels < tf.shape(outputs, tf.int64)[-1])
    places = tf.where(legal, labels, 0)[..., tf.newaxis]
    own = tf.gather(outputs, places, axis=-1, batch_dims=outputs.shape.rank - 1)
    larger = tf.reduce_sum(tf.cast(outputs > own, tf.int32), axis=-1)
    finite = tf.math.is_finite(own[..., 0]) if outputs.dtype.is_floating else legal
    return tf.reduce_all([legal, larger < k, finite, _numbers(outputs)], axis=0)
