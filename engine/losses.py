"""Per-example losses `(labels, outputs) -> [batch]` (or `[batch, time]`): no mean over the batch, that is the engine's.

Classification losses take logits. Outputs in half precision are read back in float32 first.
"""

from collections.abc import Callable

import tensorflow as tf


def _at_least_float32(outputs: tf.Tensor) -> tf.Tensor:
    outputs = tf.convert_to_tensor(outputs)
    return tf.cast(outputs, tf.float32) if outputs.dtype.size < 4 else outputs


def _like(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Labels in the dtype and rank of the outputs: labels [batch] go with outputs [batch, 1]."""
    labels = tf.cast(labels, outputs.dtype)
    if labels.shape.rank == outputs.shape.rank - 1 and outputs.shape[-1] == 1:
        labels = labels[..., tf.newaxis]
    if not labels.shape.is_compatible_with(outputs.shape):
        raise ValueError(f"labels of shape {labels.shape} do not fit outputs of shape {outputs.shape}")
    return labels


def _mean_of_features(values: tf.Tensor) -> tf.Tensor:
    return values if values.shape.rank == 1 else tf.reduce_mean(values, axis=-1)


def sparse_categorical_crossentropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """ℓ = log Σⱼ exp(zⱼ) − z_y for a class index y.

    labels: integers [batch, …] in [0, classes); logits: [batch, …, classes]. Returns [batch, …].
    """
    labels, logits = tf.convert_to_tensor(labels), _at_least_float32(logits)
    if not labels.dtype.is_integer:
        raise TypeError(f"sparse_categorical_crossentropy needs integer labels, got {labels.dtype.name}")
    if labels.shape.rank == logits.shape.rank and labels.shape[-1] == 1:
        labels = labels[..., 0]
    return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int64), logits)


def categorical_crossentropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """ℓ = −Σⱼ yⱼ log softmax(z)ⱼ for a distribution y over the classes.

    labels: [batch, …, classes]; logits: the same. Returns [batch, …].
    """
    logits = _at_least_float32(logits)
    # Not TensorFlow's fused op: its gradient takes Σy = 1 for granted, and drops a term when differentiated again.
    return tf.reduce_sum(_like(labels, logits) * -tf.nn.log_softmax(logits), axis=-1)


def binary_crossentropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """ℓ = max(z, 0) − z·y + log(1 + exp(−|z|)), the mean over the last axis.

    labels: 0 or 1 (or a probability), [batch] or [batch, features]; logits: [batch] or [batch, features].
    Returns [batch].
    """
    logits = _at_least_float32(logits)
    return _mean_of_features(tf.nn.sigmoid_cross_entropy_with_logits(_like(labels, logits), logits))


def mean_squared_error(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """ℓ = mean over the last axis of (ŷ − y)². labels, outputs: [batch, …, features]. Returns [batch, …]."""
    outputs = _at_least_float32(outputs)
    return _mean_of_features(tf.math.squared_difference(outputs, _like(labels, outputs)))


def mean_absolute_error(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """ℓ = mean over the last axis of |ŷ − y|. labels, outputs: [batch, …, features]. Returns [batch, …]."""
    outputs = _at_least_float32(outputs)
    return _mean_of_features(tf.abs(outputs - _like(labels, outputs)))


LOSSES: dict[str, Callable] = {
    loss.__name__: loss
    for loss in (
        sparse_categorical_crossentropy,
        categorical_crossentropy,
        binary_crossentropy,
        mean_squared_error,
        mean_absolute_error,
    )
}


def get(loss: str | Callable) -> Callable:
    """A loss by its name, or the function itself. An unknown name is a ValueError that lists the legal ones."""
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise ValueError(f"unknown loss {loss!r}; there are {', '.join(LOSSES)}")
    return LOSSES[loss]
