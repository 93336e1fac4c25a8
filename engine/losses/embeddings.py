"""Losses of embeddings that are to be near or far: on pairs and triplets that the batch gives."""

import tensorflow as tf

from engine.losses.operands import TINY, at_least_float32, nan_unless


def contrastive(labels: tf.Tensor, outputs: tf.Tensor, *, margin: float = 1.0) -> tf.Tensor:
    """ℓ = ½·y·D² + ½·(1 − y)·max(m − D, 0)², D = ‖a − b‖ (Hadsell, Chopra & LeCun 2006, equation 4).

    labels: 1 for a pair that belongs together, 0 for one that does not (anything else makes the loss NaN), [batch];
    outputs: pairs of embeddings [batch, 2, features], or a tuple of two [batch, features]. Returns [batch].
    The paper's Y is 1 − y. Two equal embeddings that should differ have no gradient: no direction is the better one.
    """
    a, b = _parts("contrastive", outputs, 2, margin)
    labels = tf.cast(labels, a.dtype)
    labels = labels[:, 0] if labels.shape.rank == 2 and labels.shape[1] == 1 else labels
    if not labels.shape.is_compatible_with(a.shape[:1]):
        raise ValueError(f"contrastive: labels must be [batch], found shape {labels.shape}")
    square = _squared_distance(a, b)
    distance = tf.sqrt(tf.maximum(square, tf.constant(TINY, square.dtype)))
    apart = tf.square(tf.nn.relu(tf.constant(margin, a.dtype) - distance))
    legal = tf.logical_or(tf.equal(labels, 0), tf.equal(labels, 1))
    return nan_unless(legal, (labels * square + (1 - labels) * apart) / 2)


def triplet(labels: tf.Tensor, outputs: tf.Tensor, *, margin: float = 0.2) -> tf.Tensor:
    """ℓ = max(‖a − p‖² − ‖a − n‖² + m, 0) (Schroff, Kalenichenko & Philbin 2015, equation 2).

    labels: not read: the places say who is who. outputs: an anchor a, an embedding p that belongs to it and one n that
    does not, [batch, 3, features], or a tuple of three [batch, features]; the paper's have length 1. Returns [batch].
    """
    del labels
    anchor, positive, negative = _parts("triplet", outputs, 3, margin)
    gap = _squared_distance(anchor, positive) - _squared_distance(anchor, negative)
    return tf.nn.relu(gap + tf.constant(margin, gap.dtype))


def _parts(loss: str, outputs, count: int, margin: float) -> list[tf.Tensor]:
    if not margin > 0:
        raise ValueError(f"{loss}: margin must be above 0, found {margin}")
    outputs = at_least_float32(tf.stack(outputs, axis=1) if isinstance(outputs, tuple) else outputs)
    if not outputs.shape.is_compatible_with([None, count, None]):
        raise ValueError(f"{loss}: outputs must be [batch, {count}, features], found shape {outputs.shape}")
    return tf.unstack(outputs, num=count, axis=1)


def _squared_distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.math.squared_difference(a, b), axis=-1)
