"""Gradients of rows: `tf.IndexedSlices`, which may name a row more than once.

A scatter that adds duplicates does so in an order that changes from run to run, and with it the last bits;
`unsorted_segment_sum` adds them in the order in which they stand.
"""

import tensorflow as tf


def deduplicate(slices: tf.IndexedSlices) -> tf.IndexedSlices:
    """Sum the slices of each row. [n, …] to [unique rows, …], rows in order of first appearance.

    >>> twice = tf.IndexedSlices(tf.constant([[1.0], [2.0], [4.0]]), tf.constant([7, 3, 7]))
    >>> once = deduplicate(twice)
    >>> once.indices.numpy().tolist(), once.values.numpy().tolist()
    ([7, 3], [[5.0], [2.0]])
    """
    rows, positions = tf.unique(slices.indices)
    values = tf.math.unsorted_segment_sum(slices.values, positions, tf.size(rows))
    return tf.IndexedSlices(values, rows, slices.dense_shape)


def densify(slices: tf.IndexedSlices, rows: int) -> tf.Tensor:
    """The dense gradient [rows, …]: each row sums its slices in the order in which they stand."""
    return tf.math.unsorted_segment_sum(slices.values, slices.indices, rows)
