"""Losses of distributions that are given by their parameters or their probabilities."""

import tensorflow as tf

from engine.losses.operands import EPSILON, at_least_float32, like, mean_of_features, nan_unless


def poisson(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """ℓ = mean over the last axis of λ − y·log(λ + 1e-7): the Poisson distribution's −log p(y), but for log y!.

    labels: counts y, none below 0 (or the loss is NaN); outputs: rates λ ≥ 0; [batch, …, features]. Returns [batch, …].
    """
    outputs = at_least_float32(outputs)
    labels = like("poisson", labels, outputs)
    losses = outputs - labels * tf.math.log(outputs + tf.constant(EPSILON, outputs.dtype))
    return mean_of_features(nan_unless(labels >= 0, losses))


def kl_divergence(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """ℓ = Σⱼ yⱼ·log(yⱼ / pⱼ) over the last axis.

    labels: probabilities y, none below 0 (or the loss is NaN); outputs: probabilities p, of the same shape
    [batch, …, classes]. Returns [batch, …]. As in Keras, both are clipped to [1e-7, 1] and have no gradient outside:
    of logits take `categorical_crossentropy`, which has the same gradient and needs no clipping.
    """
    outputs = at_least_float32(outputs)
    labels = like("kl_divergence", labels, outputs)
    y, p = (tf.clip_by_value(values, EPSILON, 1) for values in (labels, outputs))
    return tf.reduce_sum(nan_unless(labels >= 0, y * tf.math.log(y / p)), axis=-1)
