"""Pooling of images."""

import tensorflow as tf

from layers import checks
from layers.base import Layer


class _Pool2D(Layer):
    """`[batch, height, width, channels]` → `[batch, height', width', channels]`, window by window."""

    def __init__(self, pool_size=2, strides=None, padding="valid"):
        super().__init__()
        self.pool_size = checks.pair(self, "pool_size", pool_size)
        self.strides = self.pool_size if strides is None else checks.pair(self, "strides", strides)
        self.padding = checks.padding(self, padding)

    def last_dimension(self, size):
        """The input's own."""
        return size

    def __call__(self, x):
        """Each window's value."""
        x = self.take(x, rank=4)
        checks.window(self, x, self.pool_size)
        return self.pool(x, self.pool_size, self.strides, self.padding.upper())


class MaxPool2D(_Pool2D):
    """The largest value of each window and channel, `[batch, height, width, channels]` → the same, smaller.

    `pool_size` and `strides` (None: the pool size) are one number or (height, width); sizes and
    `padding` as in `Conv2D`. Padding never wins. Source: Yamaguchi et al. 1990; Scherer et al. 2010.

    >>> MaxPool2D(2)(tf.zeros([8, 13, 13, 32])).shape
    TensorShape([8, 6, 6, 32])
    """

    pool = staticmethod(tf.nn.max_pool2d)


class AveragePool2D(_Pool2D):
    """The mean of each window and channel, `[batch, height, width, channels]` → the same, smaller.

    Arguments as in `MaxPool2D`. Padding does not count: a window at the edge is divided by what it
    covers of the image. Source: LeCun et al. 1998, "Gradient-based learning", section II.B.

    >>> AveragePool2D(2, strides=1, padding="same")(tf.ones([1, 2, 2, 1])).numpy().ravel().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    pool = staticmethod(tf.nn.avg_pool2d)


class GlobalAveragePool2D(Layer):
    """The mean of each channel over the image: `[batch, height, width, channels]` → `[batch, channels]`.

    Source: Lin et al. 2014, "Network in network", section 3.2.

    >>> GlobalAveragePool2D()(tf.zeros([8, 7, 7, 64])).shape
    TensorShape([8, 64])
    """

    def __init__(self):
        super().__init__()

    def last_dimension(self, size):
        """The input's own."""
        return size

    def __call__(self, x):
        """The mean over height and width."""
        return tf.reduce_mean(self.take(x, rank=4), [1, 2])
