"""Stacks of batches: how many to a stack, and an iterator over those that a pipeline makes itself."""

from typing import Any

import tensorflow as tf

# What is not filled of a stack is copied all the same, and a signal waits for a stack's steps: a second or two, if each
# number to train takes six operations at every position of a batch, and a processor does many more than 2³⁵ a second.
_MOST_BATCHES, _MOST_BYTES, _MOST_OPERATIONS = 64, 2**24, 2**36


def capacity(shapes: list, dtypes: list, numbers: int) -> tf.Tensor:
    """How many batches a stack has, int32, for batches of tensors of these shapes (int64) and `numbers` to train."""
    size, positions = tf.constant(0, tf.int64), []
    for shape, dtype in zip(shapes, dtypes, strict=True):
        size += tf.reduce_prod(shape) * dtype.size
        # How often a model may use its numbers on a part of a batch: once for each row, or each token or time in one.
        rank = shape.shape[0]
        in_time = rank > 2 or (rank == 2 and dtype.is_integer)
        positions.append(tf.reduce_prod(shape[: 2 if in_time else 1]))
    operations = 6 * numbers * tf.reduce_max(positions)
    most = tf.minimum(_MOST_BYTES // tf.maximum(size, 1), _MOST_OPERATIONS // tf.maximum(operations, 1))
    return tf.cast(tf.clip_by_value(most, 1, _MOST_BATCHES), tf.int32)


class Stacks:
    """An iterator over a dataset of (stack `[capacity, batch, …]`, how many of its batches count).

    `left` is what has been read and not used: a stack, how many of its batches count, and how many were used; scalars
    are int64. `numbers`: to train, for which stacks were made that long.
    """

    def __init__(self, dataset: tf.data.Dataset, numbers: int):
        self.iterator, self.numbers = iter(dataset), numbers
        empty = tf.nest.map_structure(
            lambda spec: tf.zeros([size or 0 for size in spec.shape], spec.dtype), dataset.element_spec[0]
        )
        self.left = (empty, tf.zeros([], tf.int64), tf.zeros([], tf.int64))


def stacks(pipeline: Any, spec: Any, numbers: int, *place: int) -> Stacks | None:
    """The stacks of `pipeline`, whose batches are of `spec`, from `place` (seed, epoch, index) on; None if it has none.

    A pipeline has them whose class answers `stacks(most, *place)`, as those of `data` do, and not with None. What only
    hands such questions on to another (`__getattr__`) may have a `training` of its own, and has none.
    """
    leaves = tf.nest.flatten(spec)
    batched = all(leaf.shape.rank and leaf.shape[1:].is_fully_defined() for leaf in leaves)
    if not batched or not hasattr(type(pipeline), "stacks"):
        return None
    shapes = [tf.constant([pipeline.batch_size, *leaf.shape[1:]], tf.int64) for leaf in leaves]
    dataset = pipeline.stacks(int(capacity(shapes, [leaf.dtype for leaf in leaves], numbers)), *place)
    return None if dataset is None else Stacks(dataset, numbers)
