"""Convolutions over one, two or three sides; see also `transposed` and `depthwise`."""

import tensorflow as tf

from layers import activations, checks, windows
from layers.base import Layer


class Windowed(Layer):
    """What convolutions of all kinds have: a window of `rank` sides, and activation(… + bias) after it."""

    paddings: tuple[str, ...] = ("valid", "same")

    def set_window(self, in_channels, kernel_size, strides, padding, dilation_rate):
        """Checks and keeps the sizes; `reach` is how many pixels the window spans."""
        self.in_channels = checks.positive(self, "in_channels", in_channels)
        self.kernel_size = checks.sides(self, "kernel_size", kernel_size, self.rank)
        self.strides = checks.sides(self, "strides", strides, self.rank)
        self.padding = checks.padding(self, padding, self.paddings)
        self.dilation_rate = checks.sides(self, "dilation_rate", dilation_rate, self.rank)
        self.reach = tuple((k - 1) * d + 1 for k, d in zip(self.kernel_size, self.dilation_rate, strict=True))

    def take_windows(self, x):
        """`x`, if windows fit into it."""
        x = self.take(x, rank=self.rank + 2)
        checks.window(self, x, self.reach)
        return x

    def set_end(self, activation, use_bias, bias_initializer):
        """Makes the bias, for as many channels as come out."""
        self.activation = activations.get(activation)
        self.bias = self.variable("bias", [self.last_dimension(None)], bias_initializer) if use_bias else None

    def end(self, y):
        """activation(y + bias)."""
        if self.bias is not None:
            y = tf.nn.bias_add(y, tf.cast(self.bias, y.dtype))
        return self.activation(y)

    def last_dimension(self, size):
        """`filters`, of an input of `in_channels`."""
        self.expect(size, self.in_channels)
        return self.filters


class Convolution(Windowed):
    """activation(x ⋆ kernel + bias), for as many sides as `rank` says."""

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
        self.filters = checks.positive(self, "filters", filters)
        self.set_window(in_channels, kernel_size, strides, padding, dilation_rate)
        self.groups = checks.positive(self, "groups", groups)
        if self.in_channels % self.groups or self.filters % self.groups:
            raise ValueError(f"{self!r}: groups must divide in_channels and filters, found {groups}")
        shape = [*self.kernel_size, self.in_channels // self.groups, self.filters]
        self.kernel = self.variable("kernel", shape, kernel_initializer)
        self.set_end(activation, use_bias, bias_initializer)

    def __call__(self, x):
        """activation(x ⋆ kernel + bias)."""
        x, padding = self.take_windows(x), self.padding
        if padding == "causal":
            x, padding = tf.pad(x, [(0, 0), (self.reach[0] - 1, 0), (0, 0)]), "valid"
        kernel = tf.cast(self.kernel, x.dtype)
        return self.end(windows.convolve(x, kernel, self.strides, padding, self.dilation_rate, self.groups))


class Conv2D(Convolution):
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

    rank = 2


class Conv1D(Convolution):
    """activation(x ⋆ kernel + bias) of sequences: `[batch, length, in_channels]` → `[batch, length', filters]`.

    As `Conv2D`, over one side: y[b, i, f] = Σ over (p, c) of x[b, s·i + d·p, c]·kernel[p, c, f].
    `padding="causal"` puts all zeros, d(k − 1), before x: y[b, i] sees nothing after x[b, s·i]; length' = ⌈length / s⌉.
    Field `kernel: [kernel_size, in_channels / groups, filters]`.
    Source: causal: van den Oord et al. 2016, "WaveNet", section 2.1.

    >>> Conv1D(16, 32, 3, padding="causal", dilation_rate=4)(tf.zeros([8, 100, 16])).shape
    TensorShape([8, 100, 32])
    """

    rank = 1
    paddings = ("valid", "same", "causal")


class Conv3D(Convolution):
    """activation(x ⋆ kernel + bias) of volumes or films.

    `[batch, depth, height, width, in_channels]` → `[batch, depth', height', width', filters]`; as `Conv2D`, over
    three sides. With groups it costs as much as without. Source: Tran et al. 2015, section 3.

    >>> Conv3D(1, 8, 3, strides=(1, 2, 2))(tf.zeros([2, 16, 28, 28, 1])).shape
    TensorShape([2, 14, 13, 13, 8])
    """

    rank = 3
