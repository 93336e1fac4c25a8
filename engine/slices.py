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


def batch_rows(batch: Any) -> tf.Tensor:
    """The number of rows of a batch, as its first tensor has them."""
    for leaf in tf.nest.flatten(batch):
        if leaf.shape.rank != 0:
            return tf.shape(leaf)[0]
    raise ValueError("a batch must hold at least one tensor [batch, …]")


def take(batch: Any, first: tf.Tensor, rows: tf.Tensor) -> Any:
    """Rows `first` to `first + rows` of every tensor of a batch; scalars as they are.

    In place of no rows there is one, the batch's nearest: oneDNN's convolutions are wrong on 0 rows, and a real row
    harms nobody. ValueError: a part of the batch that has rows, but can't be cut (a `tf.SparseTensor`).
    """
    start = tf.minimum(first, batch_rows(batch) - 1)
    end = start + tf.maximum(rows, 1)

    def cut(leaf):
        if isinstance(leaf, tf.SparseTensor):
            raise ValueError(f"a batch that is cut into slices can't hold the sparse {leaf}: make it dense, or ragged")
        return leaf if leaf.shape.rank == 0 else leaf[start:end]

    return tf.nest.map_structure(cut, batch)
