"""Accuracies: the share of examples that a model gets right. A label that is no class is a miss."""

import tensorflow as tf

from engine.metrics.means import Mean
from engine.metrics.metric import class_indices, logit


class SparseCategoricalAccuracy(Mean):
    """The share of examples whose largest logit is that of the label's class; of equal logits the first counts.

    labels: integers [batch, …]; outputs: [batch, …, classes].
    """

    def __init__(self):
        super().__init__(
            lambda labels, outputs: tf.equal(tf.argmax(outputs, axis=-1), class_indices(self, labels, outputs))
        )


class CategoricalAccuracy(Mean):
    """The share of examples whose largest logit is at the largest label. labels, outputs: [batch, …, classes]."""

    def __init__(self):
        super().__init__(lambda labels, outputs: tf.equal(tf.argmax(outputs, axis=-1), tf.argmax(labels, axis=-1)))


class BinaryAccuracy(Mean):
    """The share of features whose sigmoid is on the label's side of `threshold` (a probability).

    labels: 0 or 1, [batch] or [batch, features]; outputs: logits of the same shape (or [batch, 1]); probabilities
    with `from_logits=False`.
    """

    def __init__(self, threshold: float = 0.5, *, from_logits: bool = True):
        edge = logit("BinaryAccuracy", threshold)
        edge = edge if from_logits else threshold

        def value(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
            above = outputs > tf.constant(edge, outputs.dtype)
            if labels.shape.rank == above.shape.rank and not labels.shape.is_compatible_with(above.shape):
                raise ValueError(
                    f"BinaryAccuracy: labels of shape {labels.shape} do not fit outputs of shape {above.shape}"
                )
            labels = tf.reshape(labels, tf.shape(above))
            hits = tf.cast(tf.equal(above, tf.cast(labels, tf.float64) > 0.5), tf.float64)
            return hits if hits.shape.rank == 1 else tf.reduce_mean(hits, axis=-1)

        super().__init__(value)


class SparseTopKCategoricalAccuracy(Mean):
    """The share of examples whose label is among the k largest logits.

    labels: integers [batch, …]; outputs: [batch, …, classes]. A label that ties with the k-th largest counts as in, one
    whose logit is no number does not.
    """

    def __init__(self, k: int = 5):
        _check(k, "SparseTopKCategoricalAccuracy")
        super().__init__(lambda labels, outputs: _within(class_indices(self, labels, outputs), outputs, k))


class TopKCategoricalAccuracy(Mean):
    """The share of examples whose largest label is among the k largest logits. labels, outputs: [batch, …, classes]."""

    def __init__(self, k: int = 5):
        _check(k, "TopKCategoricalAccuracy")
        super().__init__(lambda labels, outputs: _within(tf.argmax(labels, axis=-1), outputs, k))


def _check(k: int, metric: str) -> None:
    if k < 1:
        raise ValueError(f"{metric}: k must be at least 1, found {k}")


def _within(labels: tf.Tensor, outputs: tf.Tensor, k: int) -> tf.Tensor:
    legal = tf.logical_and(labels >= 0, labels < tf.shape(outputs, tf.int64)[-1])
    places = tf.where(legal, labels, 0)[..., tf.newaxis]
    own = tf.gather(outputs, places, axis=-1, batch_dims=outputs.shape.rank - 1)
    larger = tf.reduce_sum(tf.cast(outputs > own, tf.int32), axis=-1)
    return tf.reduce_all([legal, larger < k, tf.math.is_finite(own[..., 0])], axis=0)
