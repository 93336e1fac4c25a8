"""Which rows of a batch are a process's own."""

import operator

import tensorflow as tf


def checked_shard(shard):
    """`shard` as two integers, or None; ValueError unless it is (number, count) with 0 <= number < count."""
    if shard is None:
        return None
    try:
        number, count = map(operator.index, shard)
        if 0 <= number < count:
            return number, count
    except (TypeError, ValueError):
        pass
    raise ValueError(f"Pipeline: shard must be (number, count) with 0 <= number < count, found {shard!r}")


def rows_of(shard, size):
    """The slice that is a shard's part of a batch of `size` rows, int64, and its place: (first row, rows).

    Operations on 0 rows are a trap for whoever computes with them: the slice of an empty part is one row. Without a
    shard, None, it is the whole batch.
    """
    if shard is None:
        return slice(None), (tf.constant(0, tf.int64), tf.cast(size, tf.int32))
    number, count = shard
    begin, end = size * number // count, size * (number + 1) // count
    return slice(begin, tf.maximum(end, begin + 1)), (begin, tf.cast(end - begin, tf.int32))
