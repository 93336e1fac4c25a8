"""Convolutions that give each channel its own filters, alone or with a mix of the channels after them."""

import tensorflow as tf

from layers import checks, windows
from layers.convolution import Windowed


class DepthwiseConvolution(Windowed):
    """activation(each channel ⋆ its filters + bias), for as many sides as `rank` says."""

    kernel_outputs = (-2, -1)

    def __init__(
        self,
        in_channels,
        kernel_size,
        *,
        strides=1,
        padding="valid",
        depth_multiplier=1,
        dilation_rate=1,
        activation=None,
        use_bias=True,
        depthwise_initializer="glorot_uniform",
        bias_initializer="zeros",
        dtype=tf.float32,
    ):
        super().__init__(dtype)
        self.set_window(in_channels, kernel_size, strides, padding, dilation_rate)
        self.depth_multiplier = checks.positive(self, "depth_multiplier", depth_multiplier)
        shape = [*self.kernel_size, self.in_channels, self.depth_multiplier]
        self.kernel = self.variable("kernel", shape, depthwise_initializer)
        self.set_end(activation, use_bias, bias_initializer)

    def last_dimension(self, size):
        """`in_channels`·`depth_multiplier`, of an input of `in_channels`."""
        self.expect(size, self.in_channels)
        return self.in_channels * self.depth_multiplier

    def __call__(self, x):
        """activation(each channel ⋆ its filters + bias)."""
        x = self.take_windows(x)
        kernel = tf.cast(self.kernel, x.dtype)
        return self.end(windows.convolve_depthwise(x, kernel, self.strides, self.padding, self.dilation_rate))


class DepthwiseConv2D(DepthwiseConvolution):
    """activation(x ⋆ kernel + bias), each channel with filters of its own, m of them.

    `[batch, height, width, in_channels]` → `[batch, height', width', in_channels·m]`, with

        y[b, i, j, m·c + n] = Σ over (p, q) of x[b, s·i + d·p, s·j + d·q, c]·kernel[p, q, c, n]

    for m = `depth_multiplier`, and sizes, strides, dilation and padding as in `Conv2D`.
    Fields: `kernel: [*kernel_size, in_channels, m]`, `bias: [in_channels·m]` or None.
    Source: Sifre 2014, "Rigid-motion scattering", section 6.2; Howard et al. 2017, "MobileNets".

    >>> DepthwiseConv2D(16, 3, depth_multiplier=2)(tf.zeros([8, 28, 28, 16])).shape
    TensorShape([8, 26, 26, 32])
    """

    rank = 2


class DepthwiseConv1D(DepthwiseConvolution):
    """activation(x ⋆ kernel + bias) of sequences: `[batch, length, in_channels]` → `[batch, length', in_channels·m]`.

    As `DepthwiseConv2D`, over one side. Field `kernel: [kernel_size, in_channels, m]`.

    >>> DepthwiseConv1D(16, 3, padding="same")(tf.zeros([8, 100, 16])).shape
    TensorShape([8, 100, 16])
    """

    rank = 1


class SeparableConvolution(Windowed):
    """activation((each channel ⋆ its filters)·pointwise_kernel + bias), for as many sides as `rank` says."""

    def __init__(
        self,
        in_channels,
        filters,
        kernel_size,
        *,
        strides=1,
        padding="valid",
        dilation_rate=1,
        depth_multiplier=1,
        activation=None,
        use_bias=True,
        depthwise_initializer="glorot_uniform",
        pointwise_initializer="glorot_uniform",
        bias_initializer="zeros",
        dtype=tf.float32,
    ):
        super().__init__(dtype)
        self.filters = checks.positive(self, "filters", filters)
        self.set_window(in_channels, kernel_size, strides, padding, dilation_rate)
        self.depth_multiplier = checks.positive(self, "depth_multiplier", depth_multiplier)
        depth, ones = self.in_channels * self.depth_multiplier, [1] * self.rank
        shape = [*self.kernel_size, self.in_channels, self.depth_multiplier]
        self.depthwise_kernel = self.variable("depthwise_kernel", shape, depthwise_initializer)
        self.pointwise_kernel = self.variable("pointwise_kernel", [*ones, depth, self.filters], pointwise_initializer)
        self.set_end(activation, use_bias, bias_initializer)

    def __call__(self, x):
        """activation((each channel ⋆ its filters)·pointwise_kernel + bias)."""
        x, ones = self.take_windows(x), (1,) * self.rank
        depthwise, pointwise = tf.cast(self.depthwise_kernel, x.dtype), tf.cast(self.pointwise_kernel, x.dtype)
        y = windows.convolve_depthwise(x, depthwise, self.strides, self.padding, self.dilation_rate)
        return self.end(windows.convolve(y, pointwise, ones, "valid", ones))


class SeparableConv2D(SeparableConvolution):
    """activation((x ⋆ depthwise_kernel)·pointwise_kernel + bias): first each channel on its own, then pixel by pixel.

    `[batch, height, width, in_channels]` → `[batch, height', width', filters]`; the first as in `DepthwiseConv2D`,
    without a bias; in place of height·width·in_channels·filters weights, height·width·in_channels·m and
    in_channels·m·filters. Fields: `depthwise_kernel: [*kernel_size, in_channels, m]` with m = `depth_multiplier`,
    `pointwise_kernel: [1, 1, in_channels·m, filters]`, `bias: [filters]` or None.
    Source: Chollet 2017, "Xception", section 2.

    >>> layer = SeparableConv2D(16, 32, 3, padding="same")
    >>> layer(tf.zeros([8, 28, 28, 16])).shape
    TensorShape([8, 28, 28, 32])
    >>> [variable.shape.as_list() for variable in layer.variables]
    [[32], [3, 3, 16, 1], [1, 1, 16, 32]]
    """

    rank = 2


class SeparableConv1D(SeparableConvolution):
    """activation((x ⋆ depthwise_kernel)·pointwise_kernel + bias): `[batch, length, in_channels]` → `[…, filters]`.

    As `SeparableConv2D`, over one side.
    Fields: `depthwise_kernel: [kernel_size, in_channels, m]`, `pointwise_kernel: [1, in_channels·m, filters]`.

    >>> SeparableConv1D(16, 32, 5, padding="same")(tf.zeros([8, 100, 16])).shape
    TensorShape([8, 100, 32])
    """

    rank = 1
