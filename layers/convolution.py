"""Convolutions."""

import tensorflow as tf

from layers import activations, checks
from layers.base import Layer


class Conv2D(Layer):
    """activation(x ⋆ kernel + bias), ⋆ the cross-correlation of images.

    `[batch, height, width, in_channels]` → `[batch, height', width', filters]`, with

        y[b, i, j, f] = Σ over (p, q, c) of x[b, s·i + d·p, s·j + d·q, c]·kernel[p, q, c, f]

    for strides s and dilation d. `padding="valid"`: height' = ⌈(height − d(k − 1)) / s⌉ for a kernel of k;
    `"same"`: height' = ⌈height / s⌉, zeros around x, the odd one below and to the right.
    With `groups`, filters and channels are cut into as many parts that only see each other.
    Fields: `kernel: [*kernel_size, in_channels / groups, filters]`, `bias: [filters]` or None.
    `kernel_size`, `strides` and `dilation_rate` are one number or (height, width).
    Source: Dumoulin and Visin 2016; groups: Krizhevsky et al. 2012, section 3.2.

    >>> Conv2D(1, 32, 3, activation="relu")(tf.zeros([8, 28, 28, 1])).shape
    TensorShape([8, 26, 26, 32])
    """

    def __init__(
        self,
        in_channels,
        filters,
        kernel_size,
        *,
        strides=1,
        padding="valid",
        dilation_rate=1,
        groups=1,
        activation=None,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        dtype=tf.float32,
    ):
        super().__init__(dtype)
        self.in_channels = checks.positive(self, "in_channels", in_channels)
        self.filters = checks.positive(self, "filters", filters)
        self.kernel_size = checks.pair(self, "kernel_size", kernel_size)
        self.strides = checks.pair(self, "strides", strides)
        self.padding = checks.padding(self, padding)
        self.dilation_rate = checks.pair(self, "dilation_rate", dilation_rate)
        self.groups = checks.positive(self, "groups", groups)
        if self.in_channels % self.groups or self.filters % self.groups:
            raise ValueError(f"{self!r}: groups must divide in_channels and filters, found {groups}")
        self.activation = activations.get(activation)
        shape = [*self.kernel_size, self.in_channels // self.groups, self.filters]
        self.kernel = self.variable("kernel", shape, kernel_initializer)
        self.bias = self.variable("bias", [self.filters], bias_initializer) if use_bias else None

    def last_dimension(self, size):
        """`filters`, of an input of `in_channels`."""
        self.expect(size, self.in_channels)
        return self.filters

    def __call__(self, x):
        """activation(x ⋆ kernel + bias)."""
        x = self.take(x, rank=4)
        reach = [(k - 1) * d + 1 for k, d in zip(self.kernel_size, self.dilation_rate, strict=True)]
        checks.window(self, x, reach)
        kernel, dilation = tf.cast(self.kernel, x.dtype), self.dilation_rate
        # On a CPU, TensorFlow has no float64 gradient for groups or dilation: the same numbers
        # come from an ordinary convolution whose kernel holds zeros.
        if x.dtype == tf.float64 and self.groups > 1:
            kernel = _ungrouped(kernel, self.groups)
        if x.dtype == tf.float64 and dilation != (1, 1):
            kernel, dilation = _dilated(kernel, dilation), (1, 1)
        y = tf.nn.conv2d(x, kernel, self.strides, self.padding.upper(), dilations=dilation)
        if self.bias is not None:
            y = tf.nn.bias_add(y, tf.cast(self.bias, x.dtype))
        return self.activation(y)


def _ungrouped(kernel, groups):
    """`[h, w, in / groups, out]` → `[h, w, in, out]`: one block for each group, zeros beside them."""
    height, width, channels, filters = kernel.shape
    blocks = tf.reshape(kernel, [height, width, 1, channels, groups, filters // groups])
    own = tf.eye(groups, dtype=kernel.dtype)[:, None, :, None]
    return tf.reshape(blocks * own, [height, width, groups * channels, filters])


def _dilated(kernel, dilation):
    """`[h, w, in, out]` → `[(h − 1)·d + 1, (w − 1)·e + 1, in, out]`: zeros between the rows and columns."""
    height, width, channels, filters = kernel.shape
    down, right = dilation
    cells = tf.reshape(kernel, [height, 1, width, 1, channels, filters])
    cells = tf.pad(cells, [[0, 0], [0, down - 1], [0, 0], [0, right - 1], [0, 0], [0, 0]])
    spread = tf.reshape(cells, [height * down, width * right, channels, filters])
    return spread[: (height - 1) * down + 1, : (width - 1) * right + 1]
