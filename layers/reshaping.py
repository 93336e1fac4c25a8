"""Layers that only arrange values anew."""

import math

import tensorflow as tf

from layers.base import Layer


class Flatten(Layer):
    """`[batch, …]` → `[batch, product of the rest]`, row by row; any dtype.

    >>> Flatten()(tf.zeros([8, 5, 5, 64])).shape
    TensorShape([8, 1600])
    """

    def __init__(self):
        super().__init__()

    def __call__(self, x):
        """The same values, one row for each example."""
        x = tf.convert_to_tensor(x)
        rest = x.shape[1:]
        if rest.is_fully_defined():
            return tf.reshape(x, [-1, math.prod(rest)])
        return tf.reshape(x, [tf.shape(x)[0], -1])
