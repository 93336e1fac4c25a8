"""Means and sums over examples of a value of each: most metrics are one of these."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from engine.metrics.metric import spread


def _values(value: Callable, labels: Any, outputs: Any) -> tf.Tensor:
    """float64 values of labels and outputs, of which either may be a nest of tensors, or None."""
    parts = (part if part is None else tf.nest.map_structure(tf.convert_to_tensor, part) for part in (labels, outputs))
    return tf.cast(value(*parts), tf.float64)


class Mean:
    """Σ wᵢ·vᵢ / Σ wᵢ of a value per example.

    value: a function `(labels, outputs) -> [batch]` or `[batch, time]`, such as any of `engine.losses`; weights are
    the objective's. The mean over no weight at all is 0.
    """

    shape = (2,)
    mode: str | None = None

    def __init__(self, value: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]):
        self.value = value

    def sums(self, labels: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """[Σ w·v, Σ w]."""
        values = _values(self.value, labels, outputs)
        weights = spread(self, weights, values)
        return tf.stack([tf.reduce_sum(tf.math.multiply_no_nan(values, weights)), tf.reduce_sum(weights)])

    def result(self, sums: np.ndarray) -> float:
        """The weighted mean."""
        total, weight = sums
        return float(total / weight) if weight else 0.0


class Sum:
    """Σ wᵢ·vᵢ of a value per example, a function as that of `Mean`."""

    shape = ()
    mode: str | None = None

    def __init__(self, value: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]):
        self.value = value

    def sums(self, labels: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Σ w·v."""
        values = _values(self.value, labels, outputs)
        return tf.reduce_sum(tf.math.multiply_no_nan(values, spread(self, weights, values)))

    def result(self, sums: np.ndarray) -> float:
        """The sum itself."""
        return float(sums)
