"""Hinge losses: nothing is lost beyond a margin of 1."""

import tensorflow as tf

from engine.losses.operands import at_least_float32, class_shares, like, mean_of_features, nan_unless


def hinge(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """ℓ = mean over the last axis of max(1 − y·z, 0).

    labels: −1 or 1, or else 0 or 1, where 0 is read as −1 (anything else makes the loss NaN); outputs: scores z;
    both [batch] or [batch, …, features]. Returns [batch, …].
    """
    return mean_of_features(_missing("hinge", labels, outputs))


def squared_hinge(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """ℓ = mean over the last axis of max(1 − y·z, 0)². Labels and shapes are those of `hinge`."""
    return mean_of_features(tf.square(_missing("squared_hinge", labels, outputs)))


def categorical_hinge(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """ℓ = max(maxⱼ (1 − yⱼ)·zⱼ − Σⱼ yⱼ·zⱼ + 1, 0) for one-hot labels y.

    labels: [batch, …, classes], none below 0 (or the loss is NaN); outputs: scores z of the same shape. Returns
    [batch, …]. Keras' formula: with the label's own score in it as a 0, the best of the others is never below 0.
    """
    outputs = at_least_float32(outputs)
    labels, legal = class_shares("categorical_hinge", labels, outputs, 0.0)
    best_other = tf.reduce_max((1 - labels) * outputs, axis=-1)
    return nan_unless(legal, tf.nn.relu(best_other - tf.reduce_sum(labels * outputs, axis=-1) + 1))


def _missing(loss: str, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    outputs = at_least_float32(outputs)
    labels = like(loss, labels, outputs)
    signs = tf.where(tf.equal(labels, 0), -tf.ones_like(labels), labels)
    return nan_unless(tf.equal(tf.abs(signs), 1), tf.nn.relu(1 - signs * outputs))
