"""Metrics of numbers."""

import math

import numpy as np
import tensorflow as tf

from engine import losses
from engine.metrics.means import Mean
from engine.metrics.metric import check_same_shape, ratio, spread, tensors


class MeanSquaredError(Mean):
    """The mean of (ŷ − y)². labels, outputs: [batch, …, features]."""

    mode = "min"

    def __init__(self):
        super().__init__(losses.mean_squared_error)


class RootMeanSquaredError(MeanSquaredError):
    """√ of the mean of (ŷ − y)², over all examples before the root. labels, outputs: [batch, …, features]."""

    def result(self, sums: np.ndarray) -> float:
        """The root of the weighted mean."""
        return math.sqrt(super().result(sums))


class MeanAbsoluteError(Mean):
    """The mean of |ŷ − y|. labels, outputs: [batch, …, features]."""

    mode = "min"

    def __init__(self):
        super().__init__(losses.mean_absolute_error)


class CosineSimilarity(Mean):
    """The mean of ⟨y, ŷ⟩ / (‖y‖·‖ŷ‖) over the last axis: 1 for equal directions, where the loss of that name is −1."""

    mode = "max"

    def __init__(self):
        super().__init__(lambda labels, outputs: -losses.cosine_similarity(labels, outputs))


class R2Score:
    """R² = 1 − Σ w·(y − ŷ)² / Σ w·(y − ȳ)², the mean over the outputs: the share of the variance that is explained.

    num_outputs: how many numbers an example has. labels, outputs: [batch, num_outputs], or [batch] if that is 1.
    Labels that do not vary have a score of 1 if they are met, or else 0. Without any weight it is 1.

    Σ w·(y − ȳ)² is had as Σ w·y² − (Σ w·y)²/Σ w, for sums must add up: in float64 that keeps 16 digits less twice those
    by which the mean exceeds the spread. Labels far from 0 (years, prices) are better centred first.
    """

    mode = "max"

    def __init__(self, num_outputs: int = 1):
        if num_outputs < 1:
            raise ValueError(f"R2Score: num_outputs must be at least 1, found {num_outputs}")
        self.shape = (4, num_outputs)

    def sums(self, labels: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """[Σ w, Σ w·y, Σ w·y², Σ w·(y − ŷ)²] for each output."""
        labels, outputs = (tf.cast(part, tf.float64) for part in tensors(labels, outputs))
        labels, outputs = (part[:, tf.newaxis] if part.shape.rank == 1 else part for part in (labels, outputs))
        for name, part in (("labels", labels), ("outputs", outputs)):
            if not part.shape.is_compatible_with([None, self.shape[1]]):
                raise ValueError(f"R2Score: {name} must be [batch, {self.shape[1]}], found shape {part.shape}")
        check_same_shape(self, labels, outputs)
        weights = spread(self, weights, labels)
        values = [tf.ones_like(labels), labels, tf.square(labels), tf.square(labels - outputs)]
        return tf.stack([tf.reduce_sum(tf.math.multiply_no_nan(value, weights), axis=0) for value in values])

    def result(self, sums: np.ndarray) -> float:
        """The mean over the outputs."""
        return float(np.mean(self.per_output(sums)))

    def per_output(self, sums: np.ndarray) -> np.ndarray:
        """R² of each output, [num_outputs]."""
        weight, total, squares, residual = sums
        variation = squares - total * ratio(total, weight)
        # What is left of equal squares is their rounding.
        constant = variation <= 4 * np.finfo(float).eps * squares
        return np.where(constant, np.where(residual == 0, 1.0, 0.0), 1 - ratio(residual, variation))
