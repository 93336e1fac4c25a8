"""Focal losses: cross-entropies in which what is already right counts little (Lin et al. 2017, equations 4 and 5)."""

from collections.abc import Sequence

import tensorflow as tf

from engine.losses.crossentropy import binary_terms, log_probabilities
from engine.losses.operands import TINY, at_least_float32, binary_shares, class_shares, mean_of_features, nan_unless


def categorical_focal_crossentropy(
    labels: tf.Tensor,
    outputs: tf.Tensor,
    *,
    alpha: float | Sequence[float] = 0.25,
    gamma: float = 2.0,
    from_logits: bool = True,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """ℓ = −Σⱼ αⱼ·(1 − pⱼ)^γ·yⱼ·log pⱼ for a distribution y over the classes, p = softmax(z).

    labels: [batch, …, classes], none below 0 (or the loss is NaN); outputs: logits z, or probabilities, of the same
    shape. Returns [batch, …].
    alpha: a factor, or one for each class. gamma: how little what is right counts; 0 is the cross-entropy times α.
    """
    name = "categorical_focal_crossentropy"
    outputs = at_least_float32(outputs)
    labels, legal = class_shares(name, labels, outputs, label_smoothing)
    factor = tf.constant(alpha, outputs.dtype)
    if factor.shape.rank and not factor.shape.is_compatible_with(outputs.shape[-1:]):
        raise ValueError(f"{name}: alpha must have one factor, or {outputs.shape[-1]}, found {factor.shape[0]}")
    logs = log_probabilities(outputs, from_logits)
    losses = -tf.reduce_sum(factor * _power(name, -tf.math.expm1(logs), gamma) * labels * logs, axis=-1)
    return nan_unless(legal, losses)


def binary_focal_crossentropy(
    labels: tf.Tensor,
    outputs: tf.Tensor,
    *,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = True,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """ℓ = (1 − q)^γ·bce(y, p), the mean over the last axis; q = y·p + (1 − y)·(1 − p), p = σ(z).

    labels: 0 or 1, or a probability (anything else makes the loss NaN), [batch] or [batch, …, features]; outputs:
    logits z, or probabilities p, of the same shape. Returns [batch, …].
    apply_class_balancing: ℓ times y·α + (1 − y)·(1 − α), without which alpha is not read.
    """
    name, outputs = "binary_focal_crossentropy", at_least_float32(outputs)
    labels, legal = binary_shares(name, labels, outputs, label_smoothing)
    yes, no = (tf.sigmoid(outputs), tf.sigmoid(-outputs)) if from_logits else (outputs, 1 - outputs)
    missed = labels * no + (1 - labels) * yes
    losses = _power(name, missed, gamma) * binary_terms(labels, outputs, from_logits)
    if apply_class_balancing:
        losses *= labels * alpha + (1 - labels) * (1 - alpha)
    return mean_of_features(nan_unless(legal, losses))


def _power(loss: str, missed: tf.Tensor, gamma: float) -> tf.Tensor:
    if not gamma >= 0:
        raise ValueError(f"{loss}: gamma must be at least 0, found {gamma}")
    # At 0 the derivative of a power below 1 is infinite, and that times 0 no number.
    return tf.pow(tf.maximum(missed, tf.constant(TINY, missed.dtype)), gamma)
