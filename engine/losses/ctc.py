"""Connectionist temporal classification: a sequence of labels, and nobody knows where in time each of them is."""

from collections.abc import Mapping

import tensorflow as tf

from engine.losses.operands import at_least_float32, nan_unless


def ctc(labels: tf.Tensor | Mapping[str, tf.Tensor], outputs: tf.Tensor) -> tf.Tensor:
    """ℓ = −log Σ over alignments π of Πₜ softmax(zₜ)_πₜ (Graves et al. 2006, equation 8).

    An alignment names a class for each frame; it stands for the labels if these remain when repetitions are merged and
    blanks, class 0, are left out.

    labels: integers [batch, length] in [1, classes), zeros after the end; or a dict of those, `labels`, and the number
    of frames that count, `frames` [batch]. outputs: logits z [batch, time, classes]. Returns [batch].
    A label outside, a 0 between labels, or frames outside [0, time] make the loss NaN; labels that need more frames
    than there are (one each, and a blank between equal neighbours) make it ∞.

    It is `tf.nn.ctc_loss`, which computes in float32 alone: outputs in float64 are rounded to that, and the loss is
    converted back. Its second derivative is refused by TensorFlow.
    """
    frames = None
    if isinstance(labels, Mapping):
        if set(labels) != {"labels", "frames"}:
            raise ValueError(f"ctc: labels must be a tensor or a dict of labels and frames, found {sorted(labels)}")
        labels, frames = labels["labels"], labels["frames"]
    labels, logits = tf.convert_to_tensor(labels), at_least_float32(outputs)
    if not labels.dtype.is_integer or labels.shape.rank != 2:
        raise ValueError(f"ctc: labels must be integers [batch, length], found {labels.dtype.name} {labels.shape}")
    if logits.shape.rank != 3:
        raise ValueError(f"ctc: outputs must be [batch, time, classes], found shape {logits.shape}")
    labels = tf.cast(labels, tf.int32)
    batch, time, classes = tf.unstack(tf.shape(logits))
    frames = tf.fill([batch], time) if frames is None else tf.cast(frames, tf.int32)

    given = tf.not_equal(labels, 0)
    length = tf.reduce_sum(tf.cast(given, tf.int32), axis=-1)
    repeated = tf.logical_and(given[:, 1:], tf.equal(labels[:, 1:], labels[:, :-1]))
    needed = length + tf.reduce_sum(tf.cast(repeated, tf.int32), axis=-1)
    inside = tf.reduce_all(tf.logical_and(labels >= 0, labels < classes), axis=-1)
    together = tf.reduce_all(tf.equal(given, tf.sequence_mask(length, tf.shape(labels)[1])), axis=-1)
    legal = tf.reduce_all([inside, together, frames >= 0, frames <= time], axis=0)
    possible = tf.logical_and(legal, needed <= frames)

    losses = tf.nn.ctc_loss(
        tf.where(possible[:, tf.newaxis], labels, 0),
        tf.cast(logits, tf.float32),
        tf.where(possible, length, 0),
        tf.where(legal, frames, time),
        logits_time_major=False,
        blank_index=0,
    )
    losses = tf.where(possible, losses, tf.constant(float("inf"), losses.dtype))
    return tf.cast(nan_unless(legal, losses), logits.dtype)
