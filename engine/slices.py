"""How a batch is cut: contiguous parts, by one formula, and never a part of 0 rows."""

from typing import Any

import tensorflow as tf


def part(rows, number, count) -> tuple[tf.Tensor, tf.Tensor]:
    """The first row and the number of rows of part `number` of `count`: ⌊rows·number/count⌋ to ⌊rows·(number+1)/count⌋.

    >>> [tuple(int(n) for n in part(5, number, 3)) for number in range(3)]
    [(0, 1), (1, 2), (3, 2)]
    """
    rows, number, count = (tf.cast(value, tf.int32) for value in (rows, number, count))
    # rows·number could leave 32 bits; ⌊(q·count + r)·number / count⌋ = q·number + ⌊r·number/count⌋ can't.
    quotient, rest = rows // count, rows % count
    first, end = (quotient * n + rest * n // count for n in (number, number + 1))
    return first, end - first


def largest_part(rows: int, count: int) -> int:
    """The rows of the largest of `count` parts."""
    return -(-rows // count)


def batch_rows(batch: Any) -> tf.Tensor:
    """The number of rows of a batch, as its first tensor has them."""
    for leaf in tf.nest.flatten(batch):
        if leaf.shape.rank != 0:
            return tf.shape(leaf)[0]
    raise ValueError("a batch must hold at least one tensor [batch, …]")


def take(batch: Any, first: tf.Tensor, rows: tf.Tensor, size: int | None = None) -> Any:
    """Rows `first` to `first + rows` of every tensor of a batch; scalars as they are.

    size: pad to that many rows, for compilers that want one static shape. Padding, and the one row that stands in for
    an empty part (oneDNN's convolutions are wrong on 0 rows), repeats rows of the batch: real numbers harm no one.
    """
    last = batch_rows(batch) - 1
    if size is None:
        start = tf.minimum(first, last)
        count = tf.maximum(rows, 1)
        return _each(lambda x: x[start : start + count], batch)
    positions = tf.minimum(first + tf.minimum(tf.range(size), tf.maximum(rows - 1, 0)), last)
    return _each(lambda x: tf.ensure_shape(tf.gather(x, positions), [size, *x.shape[1:]]), batch)


def _each(function, batch):
    return tf.nest.map_structure(lambda leaf: leaf if leaf.shape.rank == 0 else function(leaf), batch)
