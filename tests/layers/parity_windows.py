"""Parity cases of layers with windows and of those that arrange, crop, pad and enlarge: see `parity`.

Where Keras asks TensorFlow for what it computes wrongly or not at all on a processor, a geometry beside it is drawn;
`test_convolution.py` compares all geometries with NumPy.
"""

import keras
import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

import layers


def has_all(dtype):
    """Whether TensorFlow has all geometries here: in oneDNN, which it leaves off on processors without AVX-512."""
    return dtype != "float64" and ONE_DNN


def tried():
    try:
        tf.nn.depthwise_conv2d(tf.zeros([1, 2, 2, 1]), tf.zeros([1, 1, 1, 1]), [1, 1, 2, 1], "VALID")
    except tf.errors.InvalidArgumentError:
        return False
    return True


ONE_DNN = tried()
small = st.integers(1, 4)
activations = st.sampled_from([None, "relu", "tanh", "softmax"])

# They take any dtype.
ARRANGING = (
    layers.Flatten, layers.Reshape, layers.Permute,
    layers.ZeroPadding1D, layers.ZeroPadding2D, layers.Cropping1D, layers.Cropping2D,
)  # fmt: skip


def per_side(draw, rank, most):
    """One number, or one for each side."""
    numbers = st.integers(1, most)
    return draw(st.one_of(numbers, st.tuples(*[numbers] * rank)))


def window(draw, rank, *, paddings=("valid", "same"), both=False):
    """Kernel, strides, padding and dilation; strides with dilation only if `both`."""
    kernel, dilation = per_side(draw, rank, 3), draw(st.one_of(st.just(1), st.tuples(*[st.integers(1, 2)] * rank)))
    strides = 1 if np.max(dilation) > 1 and not both else per_side(draw, rank, 3)
    return kernel, {"strides": strides, "padding": draw(st.sampled_from(paddings)), "dilation_rate": dilation}


def apart(strides):
    """Strides that are not (…, 1, s > 1)."""
    return strides[::-1] if np.ndim(strides) and len(strides) > 1 and strides[-2] == 1 < strides[-1] else strides


def sides(draw, rank, kernel, options):
    """Sizes that the window fits into."""
    reach = 1 + (np.broadcast_to(kernel, rank) - 1) * options.get("dilation_rate", 1)
    least = reach if options["padding"] == "valid" else np.ones(rank, int)
    return [int(side) + draw(st.integers(0, 4 if rank < 3 else 2)) for side in least]


def ends(draw, dtype):
    return {"activation": draw(activations), "use_bias": draw(st.booleans()), "dtype": dtype}


def convolution(ours, theirs, rank, paddings=("valid", "same"), groups=1):
    def case(draw, dtype):
        channels, filters = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
        kernel, options = window(draw, rank, paddings=paddings)
        if channels == groups:
            options["strides"] = apart(options["strides"])
        if rank == 3 and options["padding"] == "same":
            options["strides"] = tuple(np.minimum(options["strides"], np.broadcast_to(kernel, 3)).tolist())
        options |= {"groups": groups, **ends(draw, dtype)}
        shape = [*sides(draw, rank, kernel, options), channels]
        return ours(channels, filters, kernel, **options), theirs(filters, kernel, **options), shape

    return case


def transposed(ours, theirs, rank):
    def case(draw, dtype):
        channels, filters = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        kernel, options = window(draw, rank)
        if filters == 1:
            options["strides"] = apart(options["strides"])
        if not has_all(dtype):  # Keras has no dilation there
            options["dilation_rate"] = 1
        strides = np.broadcast_to(options["strides"], rank)
        reach = 1 + (np.broadcast_to(kernel, rank) - 1) * options["dilation_rate"]
        least = (reach % 2 == 0) & (options["padding"] == "same")
        if np.all(least < strides) and draw(st.booleans()):
            given = [draw(st.integers(int(low), int(stride) - 1)) for low, stride in zip(least, strides, strict=True)]
            options["output_padding"] = tuple(given)
        options |= ends(draw, dtype)
        shape = [*(draw(small) for _ in range(rank)), channels]
        return ours(channels, filters, kernel, **options), theirs(filters, kernel, **options), shape

    return case


def depthwise(ours, theirs, rank, *, separable=False):
    def case(draw, dtype):
        channels, filters = draw(st.integers(1, 3)), [draw(st.integers(1, 3))] * separable
        kernel, options = window(draw, rank, both=True)
        options["strides"] = apart(options["strides"])
        if not has_all(dtype) and np.max(options["dilation_rate"]) == 1:  # Keras has only equal ones there
            options["strides"] = int(np.max(options["strides"]))
        options |= {"depth_multiplier": draw(st.integers(1, 2)), **ends(draw, dtype)}
        shape = [*sides(draw, rank, kernel, options), channels]
        return ours(channels, *filters, kernel, **options), theirs(*filters, kernel, **options), shape

    return case


def pooling(ours, theirs, rank):
    def case(draw, dtype):
        size = per_side(draw, rank, 4)
        options = {"padding": draw(st.sampled_from(["valid", "same"]))}
        shape = [*sides(draw, rank, size, options), draw(small)]
        options["strides"] = draw(st.one_of(st.none(), st.integers(1, 4), st.tuples(*[small] * rank)))
        return ours(size, **options), theirs(size, dtype=dtype, **options), shape

    return case


def global_pooling(ours, theirs, rank):
    def case(draw, dtype):
        keepdims = draw(st.booleans())
        shape = [draw(small) for _ in range(rank + 1)]
        return ours(keepdims=keepdims), theirs(keepdims=keepdims, dtype=dtype), shape

    return case


def margins(draw, rank, most):
    numbers = st.integers(0, most)
    pairs = st.tuples(numbers, numbers)
    return draw(st.one_of(numbers, pairs, *[st.tuples(pairs, pairs)] * (rank == 2)))


def zero_padding(ours, theirs, rank):
    def case(draw, dtype):
        padding = margins(draw, rank, 2)
        return ours(padding), theirs(padding, dtype=dtype), [draw(small) for _ in range(rank + 1)]

    return case


def cropping(ours, theirs, rank):
    def case(draw, dtype):
        # Two at each end: 5 leave one.
        shape = [*(draw(st.integers(5, 7)) for _ in range(rank)), draw(small)]
        given = margins(draw, rank, 2)
        return ours(given), theirs(given, dtype=dtype), shape

    return case


def up_sampling_1d(draw, dtype):
    size = draw(small)
    return layers.UpSampling1D(size), keras.layers.UpSampling1D(size, dtype=dtype), [draw(small), draw(small)]


def up_sampling_2d(draw, dtype):
    # Keras interpolates float64 in float32: test_resizing.py has that.
    interpolations = ["nearest"] if dtype == "float64" else ["nearest", "bilinear"]
    options = {"size": per_side(draw, 2, 4), "interpolation": draw(st.sampled_from(interpolations))}
    shape = [draw(small), draw(small), draw(small)]
    return layers.UpSampling2D(**options), keras.layers.UpSampling2D(dtype=dtype, **options), shape


def reshape(draw, dtype):
    shape = draw(st.lists(small, min_size=1, max_size=3))
    target = draw(st.permutations([*shape, *([1] * draw(st.integers(0, 1)))]))
    if draw(st.booleans()):
        target[draw(st.integers(0, len(target) - 1))] = -1
    return layers.Reshape(tuple(target)), keras.layers.Reshape(tuple(target), dtype=dtype), shape


def permute(draw, dtype):
    shape = draw(st.lists(small, min_size=1, max_size=3))
    dims = tuple(draw(st.permutations(range(1, len(shape) + 1))))
    return layers.Permute(dims), keras.layers.Permute(dims, dtype=dtype), shape


KERAS = keras.layers
grouped_conv_2d = convolution(layers.Conv2D, KERAS.Conv2D, 2, groups=2)
CASES = {
    layers.Conv1D: convolution(layers.Conv1D, KERAS.Conv1D, 1, ("valid", "same", "causal")),
    layers.Conv2D: convolution(layers.Conv2D, KERAS.Conv2D, 2),
    layers.Conv3D: convolution(layers.Conv3D, KERAS.Conv3D, 3),
    layers.Conv1DTranspose: transposed(layers.Conv1DTranspose, KERAS.Conv1DTranspose, 1),
    layers.Conv2DTranspose: transposed(layers.Conv2DTranspose, KERAS.Conv2DTranspose, 2),
    layers.DepthwiseConv1D: depthwise(layers.DepthwiseConv1D, KERAS.DepthwiseConv1D, 1),
    layers.DepthwiseConv2D: depthwise(layers.DepthwiseConv2D, KERAS.DepthwiseConv2D, 2),
    layers.SeparableConv1D: depthwise(layers.SeparableConv1D, KERAS.SeparableConv1D, 1, separable=True),
    layers.SeparableConv2D: depthwise(layers.SeparableConv2D, KERAS.SeparableConv2D, 2, separable=True),
    layers.MaxPool1D: pooling(layers.MaxPool1D, KERAS.MaxPooling1D, 1),
    layers.MaxPool2D: pooling(layers.MaxPool2D, KERAS.MaxPooling2D, 2),
    layers.AveragePool1D: pooling(layers.AveragePool1D, KERAS.AveragePooling1D, 1),
    layers.AveragePool2D: pooling(layers.AveragePool2D, KERAS.AveragePooling2D, 2),
    layers.GlobalMaxPool1D: global_pooling(layers.GlobalMaxPool1D, KERAS.GlobalMaxPooling1D, 1),
    layers.GlobalMaxPool2D: global_pooling(layers.GlobalMaxPool2D, KERAS.GlobalMaxPooling2D, 2),
    layers.GlobalAveragePool1D: global_pooling(layers.GlobalAveragePool1D, KERAS.GlobalAveragePooling1D, 1),
    layers.GlobalAveragePool2D: global_pooling(layers.GlobalAveragePool2D, KERAS.GlobalAveragePooling2D, 2),
    layers.ZeroPadding1D: zero_padding(layers.ZeroPadding1D, KERAS.ZeroPadding1D, 1),
    layers.ZeroPadding2D: zero_padding(layers.ZeroPadding2D, KERAS.ZeroPadding2D, 2),
    layers.Cropping1D: cropping(layers.Cropping1D, KERAS.Cropping1D, 1),
    layers.Cropping2D: cropping(layers.Cropping2D, KERAS.Cropping2D, 2),
    layers.UpSampling1D: up_sampling_1d,
    layers.UpSampling2D: up_sampling_2d,
    layers.Reshape: reshape,
    layers.Permute: permute,
}
