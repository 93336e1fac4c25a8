"""Cases of the parity suite: our layer, Keras' layer, and the shape of one example.

`CASES[layer]` is a function `(draw, dtype)` that returns the three; the suite gives both layers equal random weights.
`ELSEWHERE[layer]` is the test file that compares a layer whose inputs are not one floating tensor.
"""

import keras
import numpy as np
import parity_attention
import parity_norms
import parity_recurrent
import parity_windows
from hypothesis import strategies as st

import layers

small = st.integers(1, 4)
activations = st.sampled_from([None, "relu", "tanh", "softmax"])


def dense(draw, dtype):
    inputs, units, inner = draw(small), draw(small), draw(st.lists(small, max_size=2))
    options = {"activation": draw(activations), "use_bias": draw(st.booleans()), "dtype": dtype}
    return layers.Dense(inputs, units, **options), keras.layers.Dense(units, **options), [*inner, inputs]


def batch_norm(draw, dtype):
    channels, inner = draw(small), draw(st.lists(small, max_size=3))
    options = {
        "momentum": draw(st.sampled_from([0.0, 0.5, 0.99])), "epsilon": draw(st.sampled_from([1e-5, 1e-3])),
        "center": draw(st.booleans()), "scale": draw(st.booleans()), "dtype": dtype,
    }  # fmt: skip
    ours, theirs = layers.BatchNorm(channels, **options), keras.layers.BatchNormalization(**options)
    return ours, theirs, [*inner, channels]


def flatten(draw, dtype):
    return layers.Flatten(), keras.layers.Flatten(dtype=dtype), draw(st.lists(small, max_size=3))


def dropout(draw, dtype):
    # Keras draws other masks: here the identity, the laws of the masks in test_dropout.py.
    training_is_identity = draw(st.booleans())
    rate = 0.0 if training_is_identity else draw(st.floats(0, 0.9))
    return layers.Dropout(rate), keras.layers.Dropout(rate, dtype=dtype), [draw(small)]


def sequential(draw, dtype):
    parts = [parity_windows.CASES[layers.Conv2D](draw, dtype)]
    parts.append((layers.Flatten(), keras.layers.Flatten(dtype=dtype), None))
    features = int(np.prod(parts[0][1].compute_output_shape([1, *parts[0][2]])))
    parts.append((layers.BatchNorm(features, dtype=dtype), keras.layers.BatchNormalization(dtype=dtype), None))
    ours, theirs = [part[0] for part in parts], [part[1] for part in parts]
    return layers.Sequential(ours), keras.Sequential(theirs), parts[0][2]


CASES = {
    layers.Dense: dense,
    layers.Flatten: flatten,
    layers.Dropout: dropout,
    layers.BatchNorm: batch_norm,
    layers.Sequential: sequential,
}

ELSEWHERE = {}

CASES |= parity_norms.CASES
ELSEWHERE |= parity_norms.ELSEWHERE
CASES |= parity_attention.CASES
ELSEWHERE |= parity_attention.ELSEWHERE
CASES |= parity_recurrent.CASES
ELSEWHERE |= parity_recurrent.ELSEWHERE
CASES |= parity_windows.CASES
