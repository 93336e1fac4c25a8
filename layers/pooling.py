"""Pooling of sequences and images."""

import tensorflow as tf

from layers import checks
from layers.base import Layer
from layers.normalization import at_least_float32


def _wide(mean):
    """`mean` of a tensor, its sums in at least float32: those of float16 would stop growing, or overflow."""

    def computed(x, *arguments, **options):
        return tf.cast(mean(tf.cast(x, at_least_float32(x.dtype)), *arguments, **options), x.dtype)

    return computed


class Pooling(Layer):
    """`[batch, *sides, channels]` → `[batch, *sides', channels]`, window by window, over `rank` sides."""

    def __init__(self, pool_size=2, strides=None, padding="valid"):
        super().__init__()
        self.pool_size = checks.sides(self, "pool_size", pool_size, self.rank)
        self.strides = self.pool_size if strides is None else checks.sides(self, "strides", strides, self.rank)
        self.padding = checks.padding(self, padding)

    def last_dimension(self, size):
        """The input's own."""
        return size

    def __call__(self, x):
        """Each window's value."""
        x = self.take(x, rank=self.rank + 2)
        checks.window(self, x, self.pool_size)
        if self.rank == 2:
            return self.pool(x, self.pool_size, self.strides, self.padding.upper())
        return self.pool(x[:, None], (1, *self.pool_size), (1, *self.strides), self.padding.upper())[:, 0]


class MaxPool2D(Pooling):
    """The largest value of each window and channel, `[batch, height, width, channels]` → the same, smaller.

    `pool_size` and `strides` (None: the pool size) are one number or (height, width); sizes and
    `padding` as in `Conv2D`. Padding never wins. Source: Yamaguchi et al. 1990; Scherer et al. 2010.

    >>> MaxPool2D(2)(tf.zeros([8, 13, 13, 32])).shape
    TensorShape([8, 6, 6, 32])
    """

    rank, pool = 2, staticmethod(tf.nn.max_pool2d)


class MaxPool1D(Pooling):
    """The largest value of each window and channel, `[batch, length, channels]` → the same, shorter; see `MaxPool2D`.

    >>> MaxPool1D(2)(tf.zeros([8, 13, 32])).shape
    TensorShape([8, 6, 32])
    """

    rank, pool = 1, staticmethod(tf.nn.max_pool2d)


class AveragePool2D(Pooling):
    """The mean of each window and channel, `[batch, height, width, channels]` → the same, smaller.

    Arguments as in `MaxPool2D`. Padding does not count: a window at the edge is divided by what it
    covers of the image. Sums are at least float32. Source: LeCun et al. 1998, "Gradient-based learning", section II.B.

    >>> AveragePool2D(2, strides=1, padding="same")(tf.ones([1, 2, 2, 1])).numpy().ravel().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    rank, pool = 2, staticmethod(_wide(tf.nn.avg_pool2d))


class AveragePool1D(Pooling):
    """The mean of each window and channel, `[batch, length, channels]` → the same, shorter; see `AveragePool2D`.

    >>> AveragePool1D(2)(tf.constant([[[1.0], [3.0], [5.0]]])).numpy().ravel().tolist()
    [2.0]
    """

    rank, pool = 1, staticmethod(_wide(tf.nn.avg_pool2d))


class GlobalPooling(Layer):
    """`[batch, *sides, channels]` → `[batch, channels]`, or with `keepdims` `[batch, 1, …, channels]`."""

    def __init__(self, *, keepdims=False):
        super().__init__()
        self.keepdims = bool(keepdims)

    def last_dimension(self, size):
        """The input's own."""
        return size

    def __call__(self, x):
        """Each channel's value."""
        x = self.take(x, rank=self.rank + 2)
        return self.reduce(x, list(range(1, self.rank + 1)), keepdims=self.keepdims)


class GlobalAveragePool2D(GlobalPooling):
    """The mean of each channel over the image: `[batch, height, width, channels]` → `[batch, channels]`.

    `keepdims`: `[batch, 1, 1, channels]`. Sums are at least float32.
    Source: Lin et al. 2014, "Network in network", section 3.2.

    >>> GlobalAveragePool2D()(tf.zeros([8, 7, 7, 64])).shape
    TensorShape([8, 64])
    """

    rank, reduce = 2, staticmethod(_wide(tf.reduce_mean))


class GlobalAveragePool1D(GlobalPooling):
    """The mean of each channel over the sequence: `[batch, length, channels]` → `[batch, channels]`.

    `keepdims`: `[batch, 1, channels]`. Sums are at least float32.

    >>> GlobalAveragePool1D(keepdims=True)(tf.zeros([8, 7, 64])).shape
    TensorShape([8, 1, 64])
    """

    rank, reduce = 1, staticmethod(_wide(tf.reduce_mean))


class GlobalMaxPool2D(GlobalPooling):
    """The largest value of each channel over the image: `[batch, height, width, channels]` → `[batch, channels]`.

    `keepdims`: `[batch, 1, 1, channels]`. Equal largest values share the gradient.
    Source: Oquab et al. 2015, "Is object localization for free?", section 3.

    >>> GlobalMaxPool2D()(tf.zeros([8, 7, 7, 64])).shape
    TensorShape([8, 64])
    """

    rank, reduce = 2, staticmethod(tf.reduce_max)


class GlobalMaxPool1D(GlobalPooling):
    """The largest value of each channel over the sequence: `[batch, length, channels]` → `[batch, channels]`.

    `keepdims`: `[batch, 1, channels]`. Source: Collobert and Weston 2008, section 4.

    >>> GlobalMaxPool1D()(tf.constant([[[1.0, 4.0], [3.0, 2.0]]])).numpy().tolist()
    [[3.0, 4.0]]
    """

    rank, reduce = 1, staticmethod(tf.reduce_max)
