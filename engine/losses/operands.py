"""What losses do with their arguments before the formula, and with labels that mean nothing."""

import tensorflow as tf

# Keras' epsilon: how far probabilities stay from 0 and 1 before their logarithm is taken.
EPSILON = 1e-7
# The smallest normal number of float32.
TINY = 2.0**-126


def at_least_float32(outputs: tf.Tensor) -> tf.Tensor:
    """Outputs as a tensor that is no narrower than float32."""
    outputs = tf.convert_to_tensor(outputs)
    return tf.cast(outputs, tf.float32) if outputs.dtype.size < 4 or not outputs.dtype.is_floating else outputs


def like(loss: str, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Labels in the dtype and rank of the outputs: labels [batch] go with outputs [batch, 1]."""
    labels = tf.cast(labels, outputs.dtype)
    if labels.shape.rank == outputs.shape.rank - 1 and outputs.shape[-1] == 1:
        labels = labels[..., tf.newaxis]
    if not labels.shape.is_compatible_with(outputs.shape):
        raise ValueError(f"{loss}: labels of shape {labels.shape} do not fit outputs of shape {outputs.shape}")
    return labels


def mean_of_features(values: tf.Tensor) -> tf.Tensor:
    """The mean over the last axis, unless the batch is the only one."""
    return values if values.shape.rank == 1 else tf.reduce_mean(values, axis=-1)


def nan_unless(legal: tf.Tensor, losses: tf.Tensor) -> tf.Tensor:
    """The losses, NaN where a label is not legal.

    An assertion is passed over in silence under XLA, and out-of-range indices are on a GPU; a NaN is loud everywhere:
    it ends a fit. No gradient comes from such an example, so that it can be left out with a weight of 0.
    """
    # No constant: a search for the first NaN must not end here where all labels are legal.
    one = tf.cast(legal, losses.dtype)
    return tf.where(legal, losses, (one - one) / one)


def smoothing(loss: str, label_smoothing: float) -> float:
    """The share of a label that is spread over all classes, checked."""
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"{loss}: label_smoothing must lie in [0, 1), found {label_smoothing}")
    return label_smoothing


def clipped(probabilities: tf.Tensor) -> tf.Tensor:
    """Probabilities of at least ε and at most 1 − ε. Where they were clipped, nothing is learned."""
    return tf.clip_by_value(probabilities, EPSILON, 1 - EPSILON)


def normalized(probabilities: tf.Tensor) -> tf.Tensor:
    """Probabilities that sum to 1 over the last axis, clipped."""
    return clipped(probabilities / tf.reduce_sum(probabilities, axis=-1, keepdims=True))


def class_shares(loss: str, labels: tf.Tensor, outputs: tf.Tensor, label_smoothing: float) -> tuple:
    """(1 − s)·y + s/classes for labels y over the last axis, and whether none of them is below 0."""
    share, labels = smoothing(loss, label_smoothing), like(loss, labels, outputs)
    legal = tf.reduce_all(labels >= 0, axis=-1)
    classes = tf.cast(tf.shape(outputs)[-1], outputs.dtype)
    return labels * (1 - share) + share / classes if share else labels, legal


def binary_shares(loss: str, labels: tf.Tensor, outputs: tf.Tensor, label_smoothing: float) -> tuple:
    """(1 − s)·y + s/2, and whether y is a probability; a hundredth is left for what mixing labels rounds."""
    share, labels = smoothing(loss, label_smoothing), like(loss, labels, outputs)
    legal = tf.logical_and(labels >= 0, labels <= 1.01)
    return labels * (1 - share) + share / 2 if share else labels, legal
