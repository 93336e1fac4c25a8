"""How much each example counts: weights given to a pipeline, beside those that its source may have."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf


def weighting(weights, info, examples=None):
    """A function `(batch, indices) -> batch` that multiplies `weights` into `batch["weights"]`, float32.

    A mapping holds weights by class number, as Keras' `class_weight`; classes that it lacks weigh 1. Labels are then
    class numbers `[batch]`, or `[batch, …]` and each element is weighted. An array `[examples]` holds one for each
    example of the source, where `examples`, their number, is given. Weights must be finite and not negative. Raises
    ValueError for anything else.
    """
    if isinstance(weights, Mapping):
        table = _by_class(weights, info)

        def weigh(batch, indices):
            if "labels" not in batch:
                raise ValueError(f"Pipeline: weights by class need labels, and {info.name} has none")
            return _multiplied(batch, tf.gather(table, batch["labels"]))

        return weigh
    table = np.asarray(weights)
    if examples is None or table.shape != (examples,) or table.dtype.kind not in "biuf":
        expected = "a mapping by class" + (f", or an array of {examples} numbers" if examples else "")
        raise ValueError(f"Pipeline: weights must be {expected}, found {table.dtype} of shape {table.shape}")
    _check(table, "row")
    table = tf.constant(table, tf.float32)
    return lambda batch, indices: _multiplied(batch, tf.gather(table, indices))


def _by_class(weights, info):
    if info.classes is None:
        raise ValueError(f"Pipeline: weights by class need a source with classes, and {info.name} has none")
    table = np.ones(info.classes, np.float32)
    for number, weight in weights.items():
        if number not in range(info.classes):
            raise ValueError(f"Pipeline: weights name class {number!r}, expected 0 to {info.classes - 1}")
        table[number] = weight
    _check(table, "class")
    return tf.constant(table)


def _check(table, what):
    wrong = np.flatnonzero(~(np.isfinite(table) & (table >= 0)))
    if wrong.size:
        raise ValueError(f"Pipeline: the weight of {what} {wrong[0]} is {table[wrong[0]]}, expected 0 or more")


def _multiplied(batch, weights):
    own = batch.get("weights")
    if own is not None:
        # One for an example counts for all its elements.
        rank = max(len(own.shape), len(weights.shape))
        weights = _deepened(tf.cast(own, tf.float32), rank) * _deepened(weights, rank)
    return {**batch, "weights": weights}


def _deepened(tensor, rank):
    return tf.reshape(tensor, tf.concat([tf.shape(tensor), tf.ones(rank - len(tensor.shape), tf.int32)], axis=0))
