"""Metrics as sums: whatever is added up over examples can be added up over slices, replicas, steps and batches.

A metric turns the terms of a slice into one float64 tensor of sums, and sums of sums into a number. It holds no
state: the running sums are the run's, in `TrainState`. Classification metrics take logits, as the losses do.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import tensorflow as tf


class Metric(Protocol):
    """What the engine asks of a metric."""

    shape: tuple[int, ...]

    def sums(self, labels: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """float64 sums over the slice, of the metric's `shape`."""

    def result(self, sums: np.ndarray) -> float:
        """The metric's value, from sums over everything that counts."""


class Mean:
    """Σ wᵢ·vᵢ / Σ wᵢ of a value per example.

    value: a function `(labels, outputs) -> [batch]` or `[batch, time]`; weights are the objective's.
    The mean over no weight at all is 0.
    """

    shape = (2,)

    def __init__(self, value: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]):
        self.value = value

    def sums(self, labels: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """[Σ w·v, Σ w]."""
        labels, outputs = (
            part if part is None else tf.nest.map_structure(tf.convert_to_tensor, part) for part in (labels, outputs)
        )
        values, weights = tf.cast(self.value(labels, outputs), tf.float64), tf.cast(weights, tf.float64)
        return tf.stack([tf.reduce_sum(tf.math.multiply_no_nan(values, weights)), tf.reduce_sum(weights)])

    def result(self, sums: np.ndarray) -> float:
        """The weighted mean."""
        total, weight = sums
        return float(total / weight) if weight else 0.0


class SparseCategoricalAccuracy(Mean):
    """The share of examples whose largest logit is that of the label's class; of equal logits the first counts.

    labels: integers [batch, …]; outputs: [batch, …, classes].
    """

    def __init__(self):
        super().__init__(_hits)


class CategoricalAccuracy(Mean):
    """The share of examples whose largest logit is at the largest label. labels, outputs: [batch, …, classes]."""

    def __init__(self):
        super().__init__(lambda labels, outputs: _hits(tf.argmax(labels, axis=-1), outputs))


class BinaryAccuracy(Mean):
    """The share of features whose sigmoid is on the label's side of `threshold` (a probability).

    labels: 0 or 1, [batch] or [batch, features]; outputs: logits of the same shape (or [batch, 1]).
    """

    def __init__(self, threshold: float = 0.5):
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must be a probability between 0 and 1, got {threshold}")
        logit = float(np.log(threshold) - np.log1p(-threshold))

        def value(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
            above = outputs > tf.constant(logit, outputs.dtype)
            labels = tf.reshape(labels, tf.shape(above))
            hits = tf.cast(tf.equal(above, tf.cast(labels, tf.float64) > 0.5), tf.float64)
            return hits if hits.shape.rank == 1 else tf.reduce_mean(hits, axis=-1)

        super().__init__(value)


class SparseTopKCategoricalAccuracy(Mean):
    """The share of examples whose label is among the k largest logits.

    labels: integers [batch, …]; outputs: [batch, …, classes]. A label that ties with the k-th largest counts as in.
    """

    def __init__(self, k: int = 5):
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")

        def value(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
            own = tf.gather(
                outputs, _squeezed(labels, outputs)[..., tf.newaxis], axis=-1, batch_dims=outputs.shape.rank - 1
            )
            return tf.reduce_sum(tf.cast(outputs > own, tf.int32), axis=-1) < k

        super().__init__(value)


def _squeezed(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    labels = tf.cast(labels, tf.int64)
    return labels[..., 0] if labels.shape.rank == outputs.shape.rank and labels.shape[-1] == 1 else labels


def _hits(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    return tf.equal(tf.argmax(outputs, axis=-1), _squeezed(labels, outputs))
