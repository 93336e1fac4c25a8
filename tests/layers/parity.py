"""Cases of the parity suite: our layer, Keras' layer, and the shape of one example.

`CASES[layer]` is a function `(draw, dtype)` that returns the three; the suite gives both layers equal random weights.
`ELSEWHERE[layer]` is the test file that compares a layer whose inputs are not one floating tensor.
"""

import keras
import numpy as np
from hypothesis import strategies as st

import layers

small = st.integers(1, 4)
pairs = st.one_of(small, st.tuples(small, small))
paddings = st.sampled_from(["valid", "same"])
activations = st.sampled_from([None, "relu", "tanh", "softmax"])


def dense(draw, dtype):
    inputs, units, inner = draw(small), draw(small), draw(st.lists(small, max_size=2))
    options = {"activation": draw(activations), "use_bias": draw(st.booleans()), "dtype": dtype}
    return layers.Dense(inputs, units, **options), keras.layers.Dense(units, **options), [*inner, inputs]


def conv_2d(draw, dtype, groups=1):
    channels, filters = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    kernel, strides, dilation = draw(pairs), draw(pairs), draw(st.one_of(st.just(1), pairs))
    if np.max(dilation) > 1:  # Keras refuses both
        strides = 1
    options = {
        "strides": strides, "padding": draw(paddings), "dilation_rate": dilation, "groups": groups,
        "activation": draw(activations), "use_bias": draw(st.booleans()), "dtype": dtype,
    }  # fmt: skip
    reach = 1 + (np.broadcast_to(kernel, 2) - 1) * dilation
    shape = [*(int(side) + draw(st.integers(0, 4)) for side in reach), channels]
    return (
        layers.Conv2D(channels, filters, kernel, **options),
        keras.layers.Conv2D(filters, kernel, **options),
        shape,
    )


def pool_2d(ours, theirs):
    def case(draw, dtype):
        size = draw(pairs)
        options = {"strides": draw(st.one_of(st.none(), pairs)), "padding": draw(paddings)}
        shape = [*(int(side) + draw(st.integers(0, 4)) for side in np.broadcast_to(size, 2)), draw(small)]
        return ours(size, **options), theirs(size, dtype=dtype, **options), shape

    return case


def batch_norm(draw, dtype):
    channels, inner = draw(small), draw(st.lists(small, max_size=3))
    options = {
        "momentum": draw(st.sampled_from([0.0, 0.5, 0.99])), "epsilon": draw(st.sampled_from([1e-5, 1e-3])),
        "center": draw(st.booleans()), "scale": draw(st.booleans()), "dtype": dtype,
    }  # fmt: skip
    ours, theirs = layers.BatchNorm(channels, **options), keras.layers.BatchNormalization(**options)
    return ours, theirs, [*inner, channels]


def global_average_pool_2d(draw, dtype):
    shape = [draw(small), draw(small), draw(small)]
    return layers.GlobalAveragePool2D(), keras.layers.GlobalAveragePooling2D(dtype=dtype), shape


def flatten(draw, dtype):
    return layers.Flatten(), keras.layers.Flatten(dtype=dtype), draw(st.lists(small, max_size=3))


def dropout(draw, dtype):
    # Keras draws other masks: here the identity, the laws of the masks in test_dropout.py.
    training_is_identity = draw(st.booleans())
    rate = 0.0 if training_is_identity else draw(st.floats(0, 0.9))
    return layers.Dropout(rate), keras.layers.Dropout(rate, dtype=dtype), [draw(small)]


def sequential(draw, dtype):
    parts = [conv_2d(draw, dtype)]
    parts.append((layers.Flatten(), keras.layers.Flatten(dtype=dtype), None))
    features = int(np.prod(parts[0][1].compute_output_shape([1, *parts[0][2]])))
    parts.append((layers.BatchNorm(features, dtype=dtype), keras.layers.BatchNormalization(dtype=dtype), None))
    ours, theirs = [part[0] for part in parts], [part[1] for part in parts]
    return layers.Sequential(ours), keras.Sequential(theirs), parts[0][2]


CASES = {
    layers.Dense: dense,
    layers.Conv2D: conv_2d,
    layers.MaxPool2D: pool_2d(layers.MaxPool2D, keras.layers.MaxPooling2D),
    layers.AveragePool2D: pool_2d(layers.AveragePool2D, keras.layers.AveragePooling2D),
    layers.GlobalAveragePool2D: global_average_pool_2d,
    layers.Flatten: flatten,
    layers.Dropout: dropout,
    layers.BatchNorm: batch_norm,
    layers.Sequential: sequential,
}

ELSEWHERE = {}
