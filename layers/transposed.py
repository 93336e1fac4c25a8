"""Transposed convolutions, which enlarge."""

import tensorflow as tf

from layers import checks, context, windows
from layers.convolution import Windowed


class ConvolutionTranspose(Windowed):
    """activation(kernelᵀ ⋆ x + bias), for as many sides as `rank` says."""

    kernel_outputs = (-2,)

    def __init__(
        self,
        in_channels,
        filters,
        kernel_size,
        *,
        strides=1,
        padding="valid",
        output_padding=None,
        dilation_rate=1,
        activation=None,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        dtype=tf.float32,
    ):
        super().__init__(dtype)
        self.filters = checks.positive(self, "filters", filters)
        self.set_window(in_channels, kernel_size, strides, padding, dilation_rate)
        self.output_padding = None if output_padding is None else self._extra(output_padding)
        self.kernel = self.variable("kernel", [*self.kernel_size, self.filters, self.in_channels], kernel_initializer)
        self.set_end(activation, use_bias, bias_initializer)

    def _extra(self, value):
        """`output_padding` as a tuple, if the convolution takes the sizes that it gives back to those of x."""
        extras = checks.sides(self, "output_padding", value, self.rank, least=0)
        for extra, stride, reach in zip(extras, self.strides, self.reach, strict=True):
            # TensorFlow on a processor does not refuse them in float32: it crashes.
            if extra >= stride:
                raise ValueError(f"{self!r}: output_padding must be below the stride of {stride}, found {extra}")
            if self.padding == "same" and extra == 0 == reach % 2:
                raise ValueError(
                    f"{self!r}: with padding='same', output_padding=0 needs a kernel that spans an odd number "
                    f"of pixels, found {reach}; use None"
                )
        return extras

    def _size(self, n, side):
        """n' of n, on one side."""
        reach, stride, same = self.reach[side], self.strides[side], self.padding == "same"
        if self.output_padding is None:
            return (n - 1) * stride + (stride if same else max(reach, stride))
        return (n - 1) * stride + (reach % 2 if same else reach) + self.output_padding[side]

    def __call__(self, x):
        """activation(kernelᵀ ⋆ x + bias)."""
        x = self.take(x, rank=self.rank + 2)
        sizes = [self._size(n, side) for side, n in enumerate(context.sizes(x)[1:-1])]
        kernel = tf.cast(self.kernel, x.dtype)
        return self.end(windows.convolve_transposed(x, kernel, sizes, self.strides, self.padding, self.dilation_rate))


class Conv2DTranspose(ConvolutionTranspose):
    """activation(kernelᵀ ⋆ x + bias): the transpose of `Conv2D` as a linear map, which goes from small to large.

    `[batch, height, width, in_channels]` → `[batch, height', width', filters]`, with

        y[b, u, v, f] = Σ of x[b, i, j, c]·kernel[p, q, f, c] over all with u = s·i + d·p − o, v = s·j + d·q − o

    for strides s, dilation d and a kernel of k, which spans r = d(k − 1) + 1 pixels.
    `padding="valid"`: o = 0, height' = s·(height − 1) + max(r, s).
    `"same"`: height' = s·height, and o = ⌊max(r − 1 − (height' − 1) mod s, 0) / 2⌋ rows are cut off at the top, as many
    or one more at the bottom. `output_padding`, less than s, chooses height' among those that the convolution takes to
    height: s·(height − 1) + r + output_padding for "valid", s·(height − 1) + (r mod 2) + output_padding for "same".
    Fields: `kernel: [*kernel_size, filters, in_channels]`, `bias: [filters]` or None.
    Source: Zeiler et al. 2010, "Deconvolutional networks"; Dumoulin and Visin 2016, chapter 4.

    >>> Conv2DTranspose(32, 16, 3, strides=2, padding="same")(tf.zeros([8, 7, 7, 32])).shape
    TensorShape([8, 14, 14, 16])
    """

    rank = 2


class Conv1DTranspose(ConvolutionTranspose):
    """activation(kernelᵀ ⋆ x + bias) of sequences: `[batch, length, in_channels]` → `[batch, length', filters]`.

    As `Conv2DTranspose`, over one side. Field `kernel: [kernel_size, filters, in_channels]`.

    >>> Conv1DTranspose(8, 4, 5, strides=3)(tf.zeros([2, 10, 8])).shape
    TensorShape([2, 32, 4])
    """

    rank = 1
