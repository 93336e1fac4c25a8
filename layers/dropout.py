"""Dropout: of values, of whole channels, of whole branches."""

import math

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

    _rank: int | None = None

    def __init__(self, rate):
        super().__init__()
        self.rate = checks.fraction(self, "rate", rate)

    def last_dimension(self, size):
        """The input's own."""
        return size

    def __call__(self, x, training=False):
        """x in inference; in training, what the mask leaves of it."""
        x = self.take(x, self._rank)
        if not training or self.rate == 0:
            return x
        keep = context.uniform(training, self._mask_shape(context.sizes(x))) >= self.rate
        return self._dropped(x, keep)

    def _mask_shape(self, sizes):
        """The shape of the mask for an input of `sizes`."""
        return sizes

    def _dropped(self, x, keep):
        return tf.where(keep, x / (1 - self.rate), tf.zeros([], x.dtype))


class SpatialDropout1D(Dropout):
    """`Dropout` of whole channels of a sequence: `[batch, time, channels]` → the same, one u for all times.

    Neighbouring times resemble each other, so dropping single values would hide little.
    Source: Tompson et al. 2015, section 3.2.

    >>> SpatialDropout1D(0.5)(tf.ones([2, 5, 3])).shape
    TensorShape([2, 5, 3])
    """

    _rank = 3

    def _mask_shape(self, sizes):
        return [sizes[0], 1, sizes[2]]


class SpatialDropout2D(Dropout):
    """`Dropout` of whole channels of an image: `[batch, height, width, channels]` → the same, one u for all positions.

    Source: Tompson et al. 2015, section 3.2.

    >>> SpatialDropout2D(0.5)(tf.ones([2, 5, 5, 3])).shape
    TensorShape([2, 5, 5, 3])
    """

    _rank = 4

    def _mask_shape(self, sizes):
        return [sizes[0], 1, 1, sizes[3]]


class StochasticDepth(Dropout):
    """`Dropout` of whole examples, for the branch of a residual block: `x + StochasticDepth(rate)(branch(x))`.

    `[batch, …]` → the same, one u for each example: where it is dropped, the block is the identity. What is kept is
    divided by 1 − rate (the paper instead multiplies by it in inference).
    Source: Huang et al. 2016, section 3.

    >>> StochasticDepth(0.2)(tf.ones([2, 5, 5, 3])).shape
    TensorShape([2, 5, 5, 3])
    """

    def _mask_shape(self, sizes):
        return [sizes[0]] + [1] * (len(sizes) - 1)


class AlphaDropout(Dropout):
    """Dropout for `selu`: dropped values become α′ = −λα, and a·x + b restores mean 0 and variance 1.

    `[batch, …]` → the same. With q = 1 − rate: a = 1/√(q·(1 + rate·α′²)), b = −a·rate·α′; λα = 1.7580….
    Source: Klambauer et al. 2017, section "New dropout technique" and equation 4 there.

    >>> AlphaDropout(0.2)(tf.ones([2, 3])).shape
    TensorShape([2, 3])
    """

    def _dropped(self, x, keep):
        lowest = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717
        a = 1 / math.sqrt((1 - self.rate) * (1 + self.rate * lowest**2))
        return a * tf.where(keep, x, tf.constant(lowest, x.dtype)) - a * self.rate * lowest
