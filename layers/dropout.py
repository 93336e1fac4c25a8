"""Dropout."""

import tensorflow as tf

from layers import checks, context
from layers.base import Layer


class Dropout(Layer):
    """Inverted dropout: in training, each value is kept where u ≥ rate and divided by 1 − rate, else 0.

    `[batch, …]` → the same; identity in inference, and for rate 0. The u are float32 uniforms of the
    step context, whatever the dtype, so that a mask depends neither on the dtype nor on how the batch is cut.
    Source: Srivastava et al. 2014, sections 4 and 10.

    >>> Dropout(0.5)(tf.ones([2, 2]), training=False).numpy().tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """

    def __init__(self, rate):
        super().__init__()
        self.rate = checks.fraction(self, "rate", rate)

    def last_dimension(self, size):
        """The input's own."""
        return size

    def __call__(self, x, training=False):
        """x in inference; in training, x / (1 − rate) where kept."""
        x = self.take(x)
        if not training or self.rate == 0:
            return x
        sizes = tf.unstack(tf.shape(x))
        shape = [size if known is None else known for known, size in zip(x.shape, sizes, strict=True)]
        keep = context.uniform(training, shape) >= self.rate
        return tf.where(keep, x / (1 - self.rate), tf.zeros([], x.dtype))
