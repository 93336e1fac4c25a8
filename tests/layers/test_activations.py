import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from layers import activations

X = np.concatenate([np.linspace(-6, 6, 41), [-1e4, 1e4, -0.0, 1e-8]]).reshape(9, 5)
ALPHA, LAMBDA = 1.6732632423543772, 1.0507009873554805
erf = np.vectorize(math.erf)


def softmax(x):
    exponential = np.exp(x - x.max(-1, keepdims=True))
    return exponential / exponential.sum(-1, keepdims=True)


FORMULAS = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: LAMBDA * np.where(x > 0, x, ALPHA * np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
    "silu": lambda x: x / (1 + np.exp(-np.clip(x, -700, None))),
    "softplus": lambda x: np.logaddexp(0, x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-np.clip(x, -700, None))),
    "tanh": np.tanh,
    "softmax": softmax,
    "log_softmax": lambda x: x - x.max(-1, keepdims=True)
    - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)),
}  # fmt: skip
every_activation = pytest.mark.parametrize("name", activations.BY_NAME)


@every_activation
def test_the_formula_holds_in_float64(name):
    # 1e-14: a few units in the last place of values near 1; ±1e4 and 0 are among the inputs.
    np.testing.assert_allclose(activations.get(name)(tf.constant(X)), FORMULAS[name](X), 1e-13, 1e-14)


@every_activation
def test_the_gradient_is_that_of_keras_and_finite_everywhere(name):
    x, weights = tf.constant(X), np.cos(np.arange(X.size)).reshape(X.shape)

    def gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(function(x) * weights)
        return tape.gradient(y, x).numpy()

    ours = gradient(activations.get(name))
    assert np.isfinite(ours).all()
    # Keras' gelu and leaky_relu have their constants in float32.
    np.testing.assert_allclose(ours, gradient(keras.activations.get(name)), 0, 2e-8)


@every_activation
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_the_dtype_is_kept_and_large_inputs_stay_finite(name, dtype):
    y = activations.get(name)(tf.constant(X, dtype))
    assert y.dtype == dtype
    assert np.isfinite(tf.cast(y, tf.float32)).all()


def test_approximate_gelu_is_its_formula():
    x = X[:8]
    expected = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(activations.gelu(tf.constant(x), approximate=True), expected, 1e-12, 1e-14)


def test_get_takes_names_functions_and_none_and_lists_the_names():
    assert activations.get("relu") is activations.relu
    assert activations.get(tf.nn.relu) is tf.nn.relu
    assert activations.get(None) is activations.linear
    with pytest.raises(ValueError, match="unknown activation 'swoosh': expected a function or one of elu, "):
        activations.get("swoosh")
