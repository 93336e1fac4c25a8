"""The gradient of one's own layer, checked: once at a point, and as a property test over shapes and values.

    python examples/check_my_layer.py
    pytest examples/check_my_layer.py

The layer has a gradient by hand. `Wrong` has one with a slip, so that you see what a check says of it.
"""

import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import layers
from engine import testing
from engine.testing import laws


@tf.custom_gradient
def swish(x, beta):
    """x·σ(βx), with β for each feature (Ramachandran et al. 2017, section 5); its backward pass keeps one tensor."""
    gate = tf.sigmoid(beta * x)

    def gradient(upstream):
        slope = gate * (1 - gate)
        of_beta = tf.reduce_sum(upstream * x * x * slope, axis=list(range(x.shape.rank - 1)))
        return upstream * (gate + beta * x * slope), of_beta

    return x * gate, gradient


class Swish(layers.Layer):
    """`swish` with a β that is learned: `[…, features]` → the same."""

    function = staticmethod(swish)

    def __init__(self, features, *, dtype=tf.float32):
        super().__init__(dtype)
        self.features = features
        self.beta = self.variable("beta", [features], "ones")

    def last_dimension(self, size):
        """`features`."""
        self.expect(size, self.features)
        return self.features

    def __call__(self, x):
        """x·σ(βx)."""
        x = self.take(x)
        return self.function(x, tf.cast(self.beta, x.dtype))


@tf.custom_gradient
def slipped(x, beta):
    """`swish`, whose gradient by β lacks a factor x."""
    value, gradient = x * tf.sigmoid(beta * x), tf.sigmoid(beta * x)
    slope = gradient * (1 - gradient)
    axes = list(range(x.shape.rank - 1))
    return value, lambda up: (up * (gradient + beta * x * slope), tf.reduce_sum(up * x * slope, axis=axes))


class Wrong(Swish):
    """`Swish` with the slip."""

    function = staticmethod(slipped)


def check(layer, x):
    """The report of the gradient check, and three laws of layers; each raises an error that names what is not so."""
    report = testing.check_gradients(layer, x)
    laws.same_in_graph_and_xla(layer, x)
    laws.batch_is_its_examples(layer, x)
    laws.float32_follows_float64(layer, x)
    return report


@settings(max_examples=5, deadline=None)
@given(rows=st.integers(1, 4), features=st.integers(1, 5), seed=st.integers(0, 99))
def test_gradient(rows, features, seed):
    """The property: at any point, in any shape."""
    testing.check_gradients(Swish(features), tf.random.stateless_normal([rows, features], [seed, 0]))


if __name__ == "__main__":
    x = tf.random.stateless_normal([4, 3], [0, 0])
    print(check(Swish(3), x))
    try:
        check(Wrong(3), x)
    except testing.GradientError as error:
        print("\n", error, sep="")
