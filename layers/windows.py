"""Convolutions as linear maps of tensors: TensorFlow's own, and their like where it has none or a wrong one.

`x: [batch, *sides, channels]` has one to three sides; strides and dilation are a tuple with a number for each.
Sides may be unknown while tracing. One side is the second of two, of which the first is 1.
What is odd here answers what TensorFlow 2.21 does on processors:

- float64 and float16 have no gradients for groups and dilation, no dilated transpose, and in 3D no dilation at all;
  groups in 3D has none. Without oneDNN, which TensorFlow leaves off on processors that lack AVX-512's or newer
  instructions, nor have float32 and bfloat16. A plain convolution whose kernel holds zeros gives the same numbers.
- oneDNN (float32, bfloat16) gives other numbers, and touches memory that is not its own, where a filter sees one
  channel, strides are (…, 1, s > 1) and the output is one wide. For an output two wide it is right.
- bfloat16 does not set the gradient of those taps that "same" lets meet nothing but padding. Where the image itself
  holds the zeros, it is 0.
- In 3D, strides beyond the kernel go wrong with "same", in all dtypes but float32. With "valid" they do not.
"""

import functools
import math

import tensorflow as tf

from layers import context


def convolve(x, kernel, strides, padding, dilation, groups=1):
    """x ⋆ kernel: `[batch, *sides, in]`, `[*window, in / groups, out]` → `[batch, *sides', out]`."""
    if len(strides) == 1:
        return convolve(x[:, None], kernel[None], strides * 2, padding, (1, *dilation), groups)[:, 0]
    volumes = len(strides) == 3
    if groups > 1 and (volumes or _only_plain(x.dtype)):
        kernel = _ungrouped(kernel, groups)
    if max(dilation) > 1 and _only_plain(x.dtype):
        kernel, dilation = _dilated(kernel, dilation), (1,) * len(dilation)
    reach = _reach(kernel, dilation)
    narrow = kernel.shape[-2] == 1 and strides[-2] == 1 < strides[-1] and _one_wide(x, reach, strides, padding)
    sparse = volumes and any(s > r for s, r in zip(strides, reach, strict=True))
    if padding == "same" and (narrow or sparse or _loose(x.dtype, x.shape[1:-1], reach)):
        x, padding = _padded(x, reach, strides), "valid"
    if narrow:
        x = _wider(x, strides[-1])
    if volumes:
        y = tf.nn.conv3d(x, kernel, [1, *strides, 1], padding.upper(), dilations=[1, *dilation, 1])
    else:
        y = tf.nn.conv2d(x, kernel, strides, padding.upper(), dilations=dilation)
    return y[..., :-1, :] if narrow else y


def convolve_depthwise(x, kernel, strides, padding, dilation):
    """Each channel with its own filters: `[batch, *sides, c]`, `[*window, c, m]` → `[batch, *sides', c·m]`."""
    if len(strides) == 1:
        return convolve_depthwise(x[:, None], kernel[None], strides * 2, padding, (1, *dilation))[:, 0]
    *window, channels, multiplier = kernel.shape
    # TensorFlow has equal strides only, and drops those of dilated ones.
    if len({*strides}) > 1 or max(strides) > 1 < max(dilation):
        grouped = tf.reshape(kernel, [*window, 1, channels * multiplier])
        return convolve(x, grouped, strides, padding, dilation, channels)
    reach = _reach(kernel, dilation)
    if padding == "same" and _loose(x.dtype, x.shape[1:-1], reach):
        x, padding = _padded(x, reach, strides), "valid"
    return tf.nn.depthwise_conv2d(x, kernel, [1, *strides, 1], padding.upper(), dilations=dilation)


def convolve_transposed(x, kernel, sides, strides, padding, dilation):
    """The transpose of z ↦ z ⋆ kernel, z of `sides`: `[batch, *sides', in]`, `[*window, out, in]` → `[…, out]`."""
    if len(strides) == 1:
        window = strides * 2, padding, (1, *dilation)
        return convolve_transposed(x[:, None], kernel[None], (1, *sides), *window)[:, 0]
    if max(dilation) > 1 and _only_plain(x.dtype):
        kernel, dilation = _dilated(kernel, dilation), (1, 1)
    batch, filters, reach = tf.shape(x)[0], kernel.shape[-2], _reach(kernel, dilation)
    # Its gradient is the convolution that goes wrong for outputs one wide: here, the input.
    narrow = filters == 1 and strides[-2] == 1 < strides[-1] and x.shape[-2] in (None, 1)
    if not (narrow or (padding == "same" and _loose(x.dtype, sides, reach))):
        return tf.nn.conv2d_transpose(x, kernel, [batch, *sides, filters], strides, padding.upper(), dilations=dilation)
    x = _wider(x, 1) if narrow else x
    starts = [_around(*each)[0] if padding == "same" else 0 for each in zip(sides, reach, strides, strict=True)]
    whole = [
        _larger((n - 1) * s + r, start + side)
        for n, s, r, start, side in zip(context.sizes(x)[1:-1], strides, reach, starts, sides, strict=True)
    ]
    y = tf.nn.conv2d_transpose(x, kernel, [batch, *whole, filters], strides, "VALID", dilations=dilation)
    (top, left), (height, width) = starts, sides
    return y[:, top : top + height, left : left + width]


def _only_plain(dtype):
    """Whether groups and dilation lack gradients: TensorFlow has them in oneDNN and on GPUs."""
    if dtype == tf.float64:
        return True
    return not tf.config.list_logical_devices("GPU") and (dtype == tf.float16 or not _one_dnn())


@functools.cache
def _one_dnn():
    """Whether oneDNN computes convolutions here: tried, since TensorFlow decides by the processor and does not tell."""
    with tf.init_scope(), tf.device("CPU:0"):
        try:
            tf.raw_ops.Conv2DBackpropInput(
                input_sizes=[1, 1, 1, 2],
                filter=tf.zeros([1, 1, 1, 2]),
                out_backprop=tf.zeros([1, 1, 1, 2]),
                strides=[1, 1, 1, 1],
                padding="VALID",
            )
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
    return True


def _reach(kernel, dilation):
    """How many pixels a dilated kernel spans on each side."""
    return [(k - 1) * d + 1 for k, d in zip(kernel.shape[:-2], dilation, strict=True)]


def _one_wide(x, reach, strides, padding):
    """Whether the output may be one wide."""
    width = x.shape[-2]
    return width is None or (width <= strides[-1] if padding == "same" else width < reach[-1] + strides[-1])


def _loose(dtype, sides, reach):
    """Whether "same" may leave taps without a gradient: in bfloat16, if a window exceeds the image."""
    return dtype == tf.bfloat16 and any(isinstance(n, int) and n < r for n, r in zip(sides, reach, strict=True))


def _around(side, reach, stride):
    """The zeros before and after that "same" means: max((⌈side / stride⌉ − 1)·stride + reach − side, 0) in all."""
    total = _larger(reach - 1 - (side - 1) % stride, 0)
    return total // 2, total - total // 2


def _larger(a, b):
    """The larger of two numbers, an int if both are."""
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else tf.maximum(a, b)


def _padded(x, reach, strides):
    """`x` with zeros around it, so that "valid" computes what "same" would."""
    around = [_around(*each) for each in zip(context.sizes(x)[1:-1], reach, strides, strict=True)]
    return tf.pad(x, [(0, 0), *around, (0, 0)])


def _wider(x, columns):
    """`x` with columns of zeros on the right."""
    return tf.pad(x, [(0, 0)] * (x.shape.rank - 2) + [(0, columns), (0, 0)])


def _ungrouped(kernel, groups):
    """`[*window, in / groups, out]` → `[*window, in, out]`: one block for each group, zeros beside them."""
    *window, channels, filters = kernel.shape
    blocks = tf.reshape(kernel, [*window, 1, channels, groups, filters // groups])
    own = tf.eye(groups, dtype=kernel.dtype)[:, None, :, None]
    return tf.reshape(blocks * own, [*window, groups * channels, filters])


def _dilated(kernel, dilation):
    """`[*window, in, out]` → `[(k − 1)·d + 1 for k of the window, in, out]`: zeros between the taps."""
    reach, shape = _reach(kernel, dilation), kernel.shape.as_list()
    for axis, gap in enumerate(dilation):
        taps = tf.reshape(kernel, [math.prod(shape[: axis + 1]), 1, -1])
        shape[axis] *= gap
        kernel = tf.reshape(tf.pad(taps, [(0, 0), (0, gap - 1), (0, 0)]), shape)
    return kernel[tuple(map(slice, reach))]
