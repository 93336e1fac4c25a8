"""Residual blocks of convolutions: He et al. 2016, "Deep residual learning for image recognition"."""

import tensorflow as tf

from layers.activations import relu
from layers.base import Layer
from layers.convolution import Conv2D
from layers.normalization import BatchNorm
from layers.registry import register


@register
class BasicBlock(Layer):
    """Two 3×3 convolutions: He et al. 2016, figure 5, left.

        x ──▶ conv1 3×3, strides ─ norm1 ─ relu ─ conv2 3×3 ─ norm2 ──▶ + ──▶ relu
        └───────────────────────── shortcut ──────────────────────────▶ ┘

    `[batch, height, width, in_channels]` → `[batch, ⌈height / strides⌉, …, filters]`. The shortcut is the identity;
    where the shape changes, a 1×1 convolution with a norm, or without `projection` every strides-th pixel, with zeros
    for the new channels (section 4.2, option A).
    """

    expansion = 1

    def __init__(self, in_channels, filters, strides=1, *, use_bias=False, projection=True):
        super().__init__()
        self.conv1, self.norm1 = conv(in_channels, filters, 3, strides, use_bias), norm(filters)
        self.conv2, self.norm2 = conv(filters, filters, 3, 1, use_bias), norm(filters)
        self.shortcut = _shortcut(in_channels, filters, strides, use_bias, projection)

    def last_dimension(self, size):
        """`filters`."""
        return self.conv2.last_dimension(self.conv1.last_dimension(size))

    def __call__(self, x, training=False):
        """relu(convolutions(x) + shortcut(x))."""
        y = relu(self.norm1(self.conv1(x), training=training))
        y = self.norm2(self.conv2(y), training=training)
        return relu(y + (x if self.shortcut is None else self.shortcut(x, training=training)))


@register
class Bottleneck(Layer):
    """A 3×3 convolution between two of 1×1: He et al. 2016, figure 5, right.

        x ──▶ conv1 1×1, strides ─ norm1 ─ relu ─ conv2 3×3 ─ norm2 ─ relu ─ conv3 1×1 ─ norm3 ──▶ + ──▶ relu
        └──────────────────────────────────── shortcut ─────────────────────────────────────────▶ ┘

    `[batch, height, width, in_channels]` → `[batch, ⌈height / strides⌉, …, 4·filters]`. The shortcut is as in
    `BasicBlock`, with a projection where the shape changes.
    """

    expansion = 4

    def __init__(self, in_channels, filters, strides=1, *, use_bias=False, projection=True):
        super().__init__()
        self.conv1, self.norm1 = conv(in_channels, filters, 1, strides, use_bias), norm(filters)
        self.conv2, self.norm2 = conv(filters, filters, 3, 1, use_bias), norm(filters)
        self.conv3, self.norm3 = conv(filters, 4 * filters, 1, 1, use_bias), norm(4 * filters)
        self.shortcut = _shortcut(in_channels, 4 * filters, strides, use_bias, projection)

    def last_dimension(self, size):
        """`4·filters`."""
        return self.conv3.last_dimension(self.conv2.last_dimension(self.conv1.last_dimension(size)))

    def __call__(self, x, training=False):
        """relu(convolutions(x) + shortcut(x))."""
        y = relu(self.norm1(self.conv1(x), training=training))
        y = relu(self.norm2(self.conv2(y), training=training))
        y = self.norm3(self.conv3(y), training=training)
        return relu(y + (x if self.shortcut is None else self.shortcut(x, training=training)))


class Projection(Layer):
    """A shortcut with weights, option B: norm(conv(x)), 1×1."""

    def __init__(self, in_channels, filters, strides, *, use_bias=False):
        super().__init__()
        self.conv, self.norm = conv(in_channels, filters, 1, strides, use_bias), norm(filters)

    def __call__(self, x, training=False):
        """norm(conv(x))."""
        return self.norm(self.conv(x), training=training)


class Subsampling(Layer):
    """A shortcut without weights, option A: every strides-th pixel, and zeros for the channels that x lacks."""

    def __init__(self, in_channels, filters, strides):
        super().__init__()
        self.strides, self.more = strides, filters - in_channels

    def __call__(self, x, training=False):
        """x, smaller and deeper."""
        return tf.pad(x[:, :: self.strides, :: self.strides], [(0, 0), (0, 0), (0, 0), (0, self.more)])


def _shortcut(in_channels, filters, strides, use_bias, projection):
    if (in_channels, 1) == (filters, strides):
        return None
    if projection:
        return Projection(in_channels, filters, strides, use_bias=use_bias)
    return Subsampling(in_channels, filters, strides)


def conv(in_channels, filters, kernel_size, strides, use_bias, padding="same"):
    """A convolution with the initial values of He et al. 2015, whose networks these are."""
    options = {"strides": strides, "padding": padding, "use_bias": use_bias}
    return Conv2D(in_channels, filters, kernel_size, kernel_initializer="he_normal", **options)


def norm(channels):
    """A batch normalisation with the epsilon of Keras' ResNets."""
    return BatchNorm(channels, epsilon=1.001e-5)
