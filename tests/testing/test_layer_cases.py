"""Every layer is drawn with inputs that fit it, shrinks to the smallest, and prints what makes it again."""

import inspect
import re

import numpy as np
import pytest
import tensorflow as tf
from draws import drawn, smallest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
import layers
from engine.testing import strategies
from engine.testing.strategies import LayerCase

LAYERS = {
    name: getattr(layers, name)
    for name in layers.__all__
    if inspect.isclass(getattr(layers, name)) and issubclass(getattr(layers, name), layers.Layer)
}
# What has no sizes to draw says which parameter it lacks.
NOT_DRAWN = {
    "Bidirectional": "parameter 'layer'",
    "RNN": "parameter 'cell'",
    **dict.fromkeys(("GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"), "called with inputs, states"),
    "Layer": "cannot be called",
    "Lambda": "parameter 'function'",
    "MultiHeadAttention": "parameter 'num_heads'",
    "Parallel": "parameter 'branches'",
    "PositionEmbedding": "parameter 'max_length'",
    "Residual": "parameter 'block'",
    "RotaryPositions": "parameter 'key_dim'",
    "Sequential": "parameter 'layers'",
    "TransformerDecoderBlock": "parameter 'num_heads'",
    "TransformerEncoderBlock": "parameter 'num_heads'",
    "SpectralNorm": "parameter 'layer'",
    "WeightNorm": "parameter 'layer'",
    "Whitening": "over how many dimensions its kernel_size goes",
    "Permute": "parameter 'dims'",
    "Reshape": "parameter 'target_shape'",
}


@pytest.mark.parametrize("name", sorted(set(LAYERS) - set(NOT_DRAWN)))
def test_every_layer_is_drawn_with_inputs_and_replays_from_its_repr(name):
    known = {**vars(layers), "LayerCase": LayerCase}
    reprs = set()

    @settings(max_examples=20)
    @given(strategies.layer_cases(LAYERS[name]))
    def check(case):
        layer, x = case
        assert isinstance(layer, LAYERS[name])
        y = layer(x)
        assert tf.size(y) > 0
        reprs.add(repr(case))
        again, same = eval(repr(case), known)
        assert again is not layer
        np.testing.assert_array_equal(same, x)
        assert engine.weights_sha256(again) == engine.weights_sha256(layer)

    check()
    assert len(reprs) > 10


@pytest.mark.parametrize("name", sorted(NOT_DRAWN))
def test_a_layer_that_cannot_be_drawn_says_what_is_missing(name):
    with pytest.raises(TypeError, match=f"{name}.*{NOT_DRAWN[name]}"):
        strategies.layer_cases(LAYERS[name])


# One for each way in which sizes are drawn.
SHRUNK = ["BatchNorm", "Conv2D", "Conv3D", "Dense", "DepthwiseConv1D", "Embedding", "Flatten", "GRU", "GroupNorm"]


@pytest.mark.parametrize("name", [*SHRUNK, "MaxPool1D", "SpatialDropout2D", "ZeroPadding1D"])
def test_layers_shrink_to_the_smallest(name):
    case = smallest(strategies.layer_cases(LAYERS[name]))
    assert set(case.input_shape) == {1}
    numbers = [value for value in tf.nest.flatten(dict(case.arguments)) if type(value) is int]
    assert set(numbers) <= {0, 1}
    assert case.seed == 0


def test_a_failing_layer_shrinks_to_what_it_takes_to_fail():
    case = smallest(strategies.layer_cases(layers.Conv2D), lambda case: case.arguments["dilation_rate"][1] == 2)
    assert case.arguments["dilation_rate"] == (1, 2)
    assert case.arguments["kernel_size"] == (1, 1)
    assert case.input_shape == (1, 1, 1, 1)


def test_what_is_given_takes_the_place_of_what_is_drawn():
    cases = drawn(strategies.layer_cases(layers.Dense, units=7, activation=st.sampled_from(["relu", "elu"])), 20)
    assert {case.arguments["units"] for case in cases} == {7}
    assert {case.arguments["activation"] for case in cases} == {"relu", "elu"}
    stacks = st.builds(lambda units: [layers.Dense(3, units), layers.Flatten()], st.integers(1, 3))
    for layer, x in drawn(strategies.layer_cases(layers.Sequential, layers=stacks, input_shape=(2, 3)), 5):
        assert layer(x).shape[0] == 2
    with pytest.raises(TypeError, match="Dense has no parameter 'unit'"):
        strategies.layer_cases(layers.Dense, unit=7)


def test_layers_of_others_are_drawn_by_their_parameters():
    class Lookup(tf.Module):
        def __init__(self, input_dim, output_dim):
            super().__init__()
            self.table = tf.Variable(tf.zeros([input_dim, output_dim]))

        def __call__(self, ids):
            return tf.gather(self.table, ids)

    class Smooth1D(tf.Module):
        def __init__(self, channels, kernel_size, padding="same"):
            super().__init__()
            self.padding, self.kernel = padding.upper(), tf.Variable(tf.zeros([*kernel_size, channels, channels]))

        def __call__(self, x):
            return tf.nn.conv1d(x, self.kernel, 1, self.padding)

    class Recurrent(tf.Module):
        def __init__(self, in_features, units):
            super().__init__()
            self.kernel = tf.Variable(tf.zeros([in_features, units]))

        def __call__(self, x):
            if x.shape.rank != 3:
                raise ValueError("expects [batch, time, features]")
            return x @ self.kernel

    for layer, ids in drawn(strategies.layer_cases(Lookup), 20):
        assert ids.dtype == tf.int32
        assert int(tf.reduce_max(ids)) < layer.table.shape[0]
        assert np.any(layer(ids))
    for layer, x in drawn(strategies.layer_cases(Smooth1D), 20):
        assert layer(x).shape.rank == 3
    assert {x.shape.rank for _, x in drawn(strategies.layer_cases(Recurrent), 20)} == {3}


def test_what_is_missing_in_layers_of_others_is_named():
    class Heads(tf.Module):
        def __init__(self, in_features, heads):
            super().__init__()

        def __call__(self, x):
            return x

    class Attention(Heads):
        def __call__(self, query, value):
            return query + value

    class Window(tf.Module):
        def __init__(self, kernel_size):
            super().__init__()

        def __call__(self, x):
            return x

    class Refuses(Window):
        def __init__(self, rate):
            super().__init__(1)

        def __call__(self, x):
            raise ValueError("nothing pleases")

    with pytest.raises(TypeError, match=re.escape("parameter 'heads': give one, layer_cases(Heads, heads=…)")):
        strategies.layer_cases(Heads)
    with pytest.raises(TypeError, match="called with query, value"):
        strategies.layer_cases(Attention, heads=2)
    with pytest.raises(TypeError, match="over how many dimensions its kernel_size goes"):
        strategies.layer_cases(Window)
    with pytest.raises(TypeError, match="takes no input of rank 2, 3, 4"):
        smallest(strategies.layer_cases(Refuses))
    with pytest.raises(TypeError, match="needs a class"):
        strategies.layer_cases(layers.Dense(1, 1))


def test_inputs_hold_no_ties_and_no_zeros():
    for _, x in drawn(strategies.layer_cases(layers.MaxPool2D), 20):
        values = np.sort(np.append(x.numpy().ravel(), 0))
        assert np.diff(values).min() >= 1.9 / values.size
        assert np.abs(values).max() <= 2
