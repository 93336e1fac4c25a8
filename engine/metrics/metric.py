"""What a metric is, and what metrics do with labels, outputs and weights before they add up."""

from typing import Any, Protocol

import numpy as np
import tensorflow as tf


class Metric(Protocol):
    """What the engine asks of a metric."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its sums."""

    @property
    def mode(self) -> str | None:
        """What is better of its value, "max" or "min", for hooks that monitor it; None, or no `mode`: neither is."""

    def sums(self, labels: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """float64 sums over the slice, of the metric's `shape`."""

    def result(self, sums: np.ndarray) -> float:
        """The metric's value, from sums over everything that counts."""


def tensors(*parts: Any) -> list[tf.Tensor]:
    """Each part as a tensor."""
    return [tf.convert_to_tensor(part) for part in parts]


def spread(metric: Metric, weights: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Weights in float64, one for each value: weights [batch] go with values [batch, time]."""
    weights = tf.cast(weights, tf.float64)
    if None in (values.shape.rank, weights.shape.rank):
        return weights
    missing = values.shape.rank - weights.shape.rank
    if missing < 0 or not weights.shape.is_compatible_with(values.shape[: weights.shape.rank]):
        name = type(metric).__name__
        raise ValueError(f"{name}: weights of shape {weights.shape} do not fit values of shape {values.shape}")
    for _ in range(missing):
        weights = weights[..., tf.newaxis]
    return tf.broadcast_to(weights, tf.shape(values))


def check_same_shape(metric: Metric, labels: tf.Tensor, outputs: tf.Tensor) -> None:
    """Refuses labels that would be broadcast or reshaped."""
    if not labels.shape.is_compatible_with(outputs.shape):
        name = type(metric).__name__
        raise ValueError(f"{name}: labels of shape {labels.shape} do not fit outputs of shape {outputs.shape}")


def no_numbers(outputs: tf.Tensor) -> tf.Tensor:
    """Where outputs are NaN, which is neither larger than another nor above a threshold; infinities are scores."""
    return tf.math.is_nan(outputs) if outputs.dtype.is_floating else tf.zeros(tf.shape(outputs), tf.bool)


def class_indices(metric: Metric, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Integer labels as int64 [batch, …] for outputs [batch, …, classes]; a last axis of one is dropped."""
    name = type(metric).__name__
    if not labels.dtype.is_integer:
        raise TypeError(f"{name} needs integer labels, got {labels.dtype.name}")
    if labels.shape.rank == outputs.shape.rank and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if not labels.shape.is_compatible_with(outputs.shape[:-1]):
        raise ValueError(f"{name}: labels of shape {labels.shape} do not fit outputs of shape {outputs.shape}")
    return tf.cast(labels, tf.int64)


def class_probabilities(outputs: tf.Tensor, from_logits: bool) -> tf.Tensor:
    """float64 probabilities [batch, …, classes]; of one logit, [batch] or [batch, …, 1], those of two classes."""
    outputs = tf.cast(outputs, tf.float64)
    outputs = outputs[:, tf.newaxis] if outputs.shape.rank == 1 else outputs
    if outputs.shape[-1] == 1:
        yes, no = (tf.sigmoid(outputs), tf.sigmoid(-outputs)) if from_logits else (outputs, 1 - outputs)
        return tf.concat([no, yes], axis=-1)
    return tf.nn.softmax(outputs) if from_logits else outputs


def logit(metric: str, threshold: float) -> float:
    """The logit of a probability between 0 and 1."""
    if not 0 < threshold < 1:
        raise ValueError(f"{metric}: threshold must be a probability between 0 and 1, found {threshold}")
    return float(np.log(threshold) - np.log1p(-threshold))


def counts(weights: tf.Tensor, places: tf.Tensor, legal: tf.Tensor, size: int) -> tf.Tensor:
    """[size]: how much weight is at each place. NaN everywhere if something weighs that has no legal place."""
    places, kept = tf.where(legal, tf.cast(places, tf.int64), 0), tf.where(legal, weights, 0)
    found = tf.math.unsorted_segment_sum(tf.reshape(kept, [-1]), tf.reshape(places, [-1]), size)
    return found + nan_if(tf.logical_not(legal), weights)


def nan_if(illegal: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """NaN if something illegal has a weight, or else 0: loud on every device, where an assertion is not."""
    found = tf.reduce_any(tf.logical_and(illegal, tf.not_equal(weights, 0)))
    return tf.where(found, tf.constant(float("nan"), tf.float64), tf.zeros([], tf.float64))


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, 0 where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    return np.divide(numerator, denominator, out=np.zeros_like(denominator), where=denominator != 0)
