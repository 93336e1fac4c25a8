"""Parity cases of recurrent layers (see `parity`), and what the tests of recurrent layers share."""

import functools

import keras
import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

import layers

small = st.integers(1, 4)
activations = st.sampled_from(["tanh", "tanh", "relu", None])
gates = st.sampled_from(["sigmoid", "sigmoid", "softmax"])
kinds = st.sampled_from(["SimpleRNN", "LSTM", "GRU"])


def recurrent(draw, dtype, name, inputs=None, **options):
    """(ours, Keras') of that name."""
    inputs, units = inputs or draw(small), draw(small)
    options = {
        "activation": draw(activations), "use_bias": draw(st.booleans()), "go_backwards": draw(st.booleans()),
        "return_sequences": draw(st.booleans()), "dtype": dtype, **options,
    }  # fmt: skip
    if name == "SimpleRNN":
        pass
    elif name == "LSTM":
        options |= {"recurrent_activation": draw(gates), "unit_forget_bias": draw(st.booleans())}
    else:
        options |= {"recurrent_activation": draw(gates), "reset_after": draw(st.booleans())}
    return getattr(layers, name)(inputs, units, **options), getattr(keras.layers, name)(units, **options)


def paired(ours, theirs):
    """`theirs`, with the variables of both side by side."""
    theirs.pairs = lambda ours: [
        (getattr(mine, weight.name), weight)
        for mine, other in zip(cells(ours), cells(theirs), strict=True)
        for weight in other.weights
    ]
    return theirs


def cells(layer):
    """The cells of a layer, ours or Keras'."""
    if hasattr(layer, "forward_layer"):
        return cells(layer.forward_layer) + cells(layer.backward_layer)
    return list(getattr(layer.cell, "cells", [layer.cell]))


def one(draw, dtype, name):
    ours, theirs = recurrent(draw, dtype, name)
    return ours, paired(ours, theirs), [draw(small), ours.in_features]


def rnn(draw, dtype):
    sizes = [draw(small) for _ in range(draw(st.integers(2, 4)))]
    names = [f"{draw(kinds)}Cell" for _ in sizes[1:]]
    options = {"return_sequences": draw(st.booleans()), "go_backwards": draw(st.booleans())}
    mine = [
        getattr(layers, name)(size, units, dtype=dtype)
        for name, size, units in zip(names, sizes, sizes[1:], strict=False)
    ]
    other = [getattr(keras.layers, name)(units, dtype=dtype) for name, units in zip(names, sizes[1:], strict=True)]
    # Given a list of cells, Keras keeps the states in float32.
    other = keras.layers.StackedRNNCells(other, dtype=dtype)
    ours, theirs = layers.RNN(mine, **options), keras.layers.RNN(other, dtype=dtype, **options)
    return ours, paired(ours, theirs), [draw(small), sizes[0]]


def bidirectional(draw, dtype):
    ours, theirs = recurrent(draw, dtype, draw(kinds), go_backwards=False)
    mode = draw(st.sampled_from(["concat", "sum", "mul", "ave"]))
    inputs = ours.in_features
    ours, theirs = layers.Bidirectional(ours, mode), keras.layers.Bidirectional(theirs, mode, dtype=dtype)
    return ours, paired(ours, theirs), [draw(small), inputs]


CASES = {
    layers.SimpleRNN: functools.partial(one, name="SimpleRNN"),
    layers.LSTM: functools.partial(one, name="LSTM"),
    layers.GRU: functools.partial(one, name="GRU"),
    layers.RNN: rnn,
    layers.Bidirectional: bidirectional,
}
ELSEWHERE = dict.fromkeys(
    (layers.SimpleRNNCell, layers.LSTMCell, layers.GRUCell, layers.StackedRNNCells), "test_recurrent_cells.py"
)


def normal(*shape, seed=0, dtype="float64"):
    return tf.constant(np.random.default_rng([seed, *shape]).normal(size=shape), dtype)


def fill(pairs, seed=0):
    """Gives both of each pair the same random numbers; the variables of ours and of Keras."""
    rng = np.random.default_rng(seed)
    for mine, other in pairs:
        value = rng.normal(size=mine.shape)
        mine.assign(value.astype(mine.dtype.name))
        other.assign(value)
    return [mine for mine, _ in pairs], [other.value for _, other in pairs]


def filled(layer, seed=0):
    """`layer` with random numbers in its variables."""
    rng = np.random.default_rng(seed)
    for variable in layer.variables:
        variable.assign(rng.normal(size=variable.shape).astype(variable.dtype.name))
    return layer


def differentiated(function, sources):
    """The outputs of `function()` and the gradients of a weighted sum of all of them by the sources."""
    with tf.GradientTape() as tape:
        tape.watch(sources)
        outputs = tf.nest.flatten(function())
        total = 0.0
        for y in outputs:
            weights = np.cos(np.arange(np.prod(y.shape))).reshape(y.shape)
            total += tf.reduce_sum(y * tf.constant(weights, y.dtype))
    return outputs, tape.gradient(total, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def agree(ours, theirs, relative=1e-12):
    for mine, other in zip(tf.nest.flatten(ours), tf.nest.flatten(theirs), strict=True):
        mine, other = np.asarray(mine, np.float64), np.asarray(other, np.float64)
        np.testing.assert_allclose(mine, other, rtol=0, atol=relative * (1 + np.abs(other).max()))


def build(name, options, package, dtype="float64"):
    """(cell, its variables in order) of our layers or Keras'."""
    if name == "StackedRNNCells":
        sizes = (("LSTMCell", 3, 2), ("GRUCell", 2, 4))
        parts = [getattr(package, kind)(*(size[1 - (package is layers) :]), dtype=dtype) for kind, *size in sizes]
        cell = package.StackedRNNCells(parts) if package is layers else package.StackedRNNCells(parts, dtype=dtype)
    else:
        cell = getattr(package, name)(*([3, 4] if package is layers else [4]), dtype=dtype, **options)
    return cell
