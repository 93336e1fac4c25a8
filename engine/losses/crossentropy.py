"""Cross-entropies, of logits and, as the poorer choice, of probabilities.

`from_logits=False` is for models that end in a softmax or sigmoid: as in Keras, their outputs are clipped to
[1e-7, 1 − 1e-7], so that a class that is given less has no gradient, however wrong that is.
"""

import tensorflow as tf

from engine.losses.operands import (
    at_least_float32,
    binary_shares,
    class_shares,
    clipped,
    mean_of_features,
    nan_unless,
    normalized,
    smoothing,
)


def sparse_categorical_crossentropy(
    labels: tf.Tensor, outputs: tf.Tensor, *, from_logits: bool = True, label_smoothing: float = 0.0
) -> tf.Tensor:
    """ℓ = log Σⱼ exp(zⱼ) − z_y for a class index y.

    labels: integers [batch, …] in [0, classes), or [batch, …, 1]; outputs: logits z, or probabilities,
    [batch, …, classes]. Returns [batch, …]. A label outside makes its loss NaN, on every device.
    label_smoothing: the share s of the label that is spread evenly over all classes (Szegedy et al. 2016, section 7).
    """
    name = "sparse_categorical_crossentropy"
    labels, logits = tf.convert_to_tensor(labels), at_least_float32(outputs)
    if not labels.dtype.is_integer:
        raise TypeError(f"{name} needs integer labels, got {labels.dtype.name}")
    if labels.shape.rank == logits.shape.rank and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if not labels.shape.is_compatible_with(logits.shape[:-1]):
        raise ValueError(f"{name}: labels of shape {labels.shape} do not fit outputs of shape {logits.shape}")
    if not from_logits:
        logits = tf.math.log(clipped(logits))
    labels, share = tf.cast(labels, tf.int64), smoothing(name, label_smoothing)
    legal = tf.logical_and(labels >= 0, labels < tf.shape(logits, tf.int64)[-1])
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.where(legal, labels, 0), logits)
    if share:
        losses = (1 - share) * losses - share * tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
    return nan_unless(legal, losses)


def categorical_crossentropy(
    labels: tf.Tensor, outputs: tf.Tensor, *, from_logits: bool = True, label_smoothing: float = 0.0
) -> tf.Tensor:
    """ℓ = −Σⱼ yⱼ log softmax(z)ⱼ for a distribution y over the classes.

    labels: [batch, …, classes], none below 0 (or the loss is NaN); outputs: logits z, or probabilities, of the same
    shape. Returns [batch, …].
    label_smoothing: y becomes (1 − s)·y + s/classes.
    """
    outputs = at_least_float32(outputs)
    labels, legal = class_shares("categorical_crossentropy", labels, outputs, label_smoothing)
    # Not TensorFlow's fused op: its gradient takes Σy = 1 for granted, and drops a term when differentiated again.
    return nan_unless(legal, -tf.reduce_sum(labels * log_probabilities(outputs, from_logits), axis=-1))


def binary_crossentropy(
    labels: tf.Tensor, outputs: tf.Tensor, *, from_logits: bool = True, label_smoothing: float = 0.0
) -> tf.Tensor:
    """ℓ = max(z, 0) − z·y + log(1 + exp(−|z|)), the mean over the last axis.

    labels: 0 or 1, or a probability (anything else makes the loss NaN), [batch] or [batch, …, features]; outputs:
    logits z, or probabilities p with ℓ = −y·log p − (1 − y)·log(1 − p), of the same shape. Returns [batch, …].
    label_smoothing: y becomes (1 − s)·y + s/2.
    """
    outputs = at_least_float32(outputs)
    labels, legal = binary_shares("binary_crossentropy", labels, outputs, label_smoothing)
    return mean_of_features(nan_unless(legal, binary_terms(labels, outputs, from_logits)))


def log_probabilities(outputs: tf.Tensor, from_logits: bool) -> tf.Tensor:
    """Logarithms of the classes' probabilities, [batch, …, classes]."""
    return tf.nn.log_softmax(outputs) if from_logits else tf.math.log(normalized(outputs))


def binary_terms(labels: tf.Tensor, outputs: tf.Tensor, from_logits: bool) -> tf.Tensor:
    """The binary cross-entropy of every single output."""
    if from_logits:
        return tf.nn.sigmoid_cross_entropy_with_logits(labels, outputs)
    outputs = clipped(outputs)
    return -labels * tf.math.log(outputs) - (1 - labels) * tf.math.log(1 - outputs)
