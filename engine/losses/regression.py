"""Distances between numbers: the mean over the last axis of a function of the error."""

import math

import tensorflow as tf

from engine.losses.operands import EPSILON, at_least_float32, like, mean_of_features, nan_unless


def mean_squared_error(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """ℓ = mean over the last axis of (ŷ − y)². labels, outputs: [batch, …, features]. Returns [batch, …]."""
    outputs = at_least_float32(outputs)
    return mean_of_features(tf.math.squared_difference(outputs, like("mean_squared_error", labels, outputs)))


def mean_absolute_error(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """ℓ = mean over the last axis of |ŷ − y|. labels, outputs: [batch, …, features]. Returns [batch, …]."""
    outputs = at_least_float32(outputs)
    return mean_of_features(tf.abs(outputs - like("mean_absolute_error", labels, outputs)))


def mean_absolute_percentage_error(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """ℓ = 100 · mean over the last axis of |ŷ − y| / max(|y|, 1e-7).

    labels, outputs: [batch, …, features]. Returns [batch, …]. A label of 0 makes it very large.
    """
    outputs = at_least_float32(outputs)
    labels = like("mean_absolute_percentage_error", labels, outputs)
    floor = tf.constant(EPSILON, outputs.dtype)
    return 100 * mean_of_features(tf.abs((outputs - labels) / tf.maximum(tf.abs(labels), floor)))


def mean_squared_logarithmic_error(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """ℓ = mean over the last axis of (log(1 + ŷ) − log(1 + y))².

    labels: [batch, …, features], none below 0 (or the loss is NaN); outputs: the same shape. Returns [batch, …].
    As in Keras, outputs below 1e-7 count as that, and have no gradient.
    """
    outputs = at_least_float32(outputs)
    labels = like("mean_squared_logarithmic_error", labels, outputs)
    logs = (tf.math.log1p(tf.maximum(values, tf.constant(EPSILON, outputs.dtype))) for values in (outputs, labels))
    return mean_of_features(nan_unless(labels >= 0, tf.math.squared_difference(*logs)))


def huber(labels: tf.Tensor, outputs: tf.Tensor, *, delta: float = 1.0) -> tf.Tensor:
    """ℓ = mean over the last axis of e²/2 where |e| ≤ δ, and of δ·(|e| − δ/2) elsewhere; e = ŷ − y (Huber 1964).

    labels, outputs: [batch, …, features]. Returns [batch, …].
    """
    if not delta > 0:
        raise ValueError(f"huber: delta must be above 0, found {delta}")
    outputs = at_least_float32(outputs)
    error, delta = outputs - like("huber", labels, outputs), tf.constant(delta, outputs.dtype)
    size = tf.abs(error)
    return mean_of_features(tf.where(size <= delta, tf.square(error) / 2, delta * (size - delta / 2)))


def log_cosh(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """ℓ = mean over the last axis of log cosh(ŷ − y): half the square of a small error, |e| − log 2 for a large one.

    labels, outputs: [batch, …, features]. Returns [batch, …].
    """
    outputs = at_least_float32(outputs)
    error = outputs - like("log_cosh", labels, outputs)
    small = tf.abs(error) < 1
    # The one formula loses the digits of small errors, the other overflows on large ones.
    near = tf.math.log1p(2 * tf.square(tf.sinh(tf.where(small, error, 0) / 2)))
    far = error + tf.nn.softplus(-2 * error) - tf.constant(math.log(2), outputs.dtype)
    return mean_of_features(tf.where(small, near, far))


def cosine_similarity(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """ℓ = −⟨y, ŷ⟩ / (‖y‖·‖ŷ‖) over the last axis: −1 for the same direction.

    labels, outputs: [batch, …, features]. Returns [batch, …]. Norms below 1e-7 count as that.
    """
    outputs = at_least_float32(outputs)
    labels = like("cosine_similarity", labels, outputs)
    if outputs.shape.rank == 1:
        raise ValueError(f"cosine_similarity needs outputs [batch, …, features], found shape {outputs.shape}")

    def direction(values):
        square = tf.reduce_sum(tf.square(values), axis=-1, keepdims=True)
        return values * tf.math.rsqrt(tf.maximum(square, tf.constant(EPSILON**2, values.dtype)))

    return -tf.reduce_sum(direction(labels) * direction(outputs), axis=-1)
