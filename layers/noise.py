"""Noise of normal numbers, in training only."""

import math

import tensorflow as tf

from layers import checks, context
from layers.base import Layer


class GaussianNoise(Layer):
    """x + stddev·n in training, with standard normal n: `[batch, …]` → the same; identity in inference.

    The n come from the uniforms of the step context by the inverse of the normal distribution function, so they
    depend neither on the dtype nor on how the batch is cut.
    Source: Bishop 1995, "Training with noise is equivalent to Tikhonov regularization", section 1.

    >>> GaussianNoise(0.1)(tf.ones([1, 2])).numpy().tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, stddev):
        super().__init__()
        self.stddev = checks.not_negative(self, "stddev", stddev)

    def last_dimension(self, size):
        """The input's own."""
        return size

    def __call__(self, x, training=False):
        """x in inference; in training, x + stddev·n."""
        x = self.take(x)
        if not training or self.stddev == 0:
            return x
        return x + tf.cast(self.stddev * context.normal(training, context.sizes(x)), x.dtype)


class GaussianDropout(Layer):
    """x·(1 + √(rate / (1 − rate))·n) in training, with standard normal n: `[batch, …]` → the same.

    Identity in inference. Mean and variance are those of `Dropout`, but nothing is dropped. The n are as in
    `GaussianNoise`.
    Source: Srivastava et al. 2014, section 10.

    >>> GaussianDropout(0.1)(tf.ones([1, 2])).numpy().tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, rate):
        super().__init__()
        self.rate = checks.fraction(self, "rate", rate)

    def last_dimension(self, size):
        """The input's own."""
        return size

    def __call__(self, x, training=False):
        """x in inference; in training, x times numbers round 1."""
        x = self.take(x)
        if not training or self.rate == 0:
            return x
        stddev = math.sqrt(self.rate / (1 - self.rate))
        return x * tf.cast(1 + stddev * context.normal(training, context.sizes(x)), x.dtype)
