"""One table for all activations: the formula, its derivative, far out and in every dtype."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import layers
from layers import activations

# Every kink, both tails, where float16 and exp overflow; 60 values in rows of 6.
X = np.concatenate([np.arange(-24, 25) / 4, [-1e4, 1e4, -90, 90, -40, 40, -10, 10, 20, 1e-8, -0.0]]).reshape(10, 6)
KINKS = np.isin(X, [0, -0.5, 0.5, -1, 1, -3, 3, 6])
ALPHA, LAMBDA = 1.6732632423543772, 1.0507009873554805
erfc = np.vectorize(math.erfc)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def bell(x):
    return np.exp(-np.square(x) / 2) / math.sqrt(2 * math.pi)


def phi(x):
    return erfc(-x / math.sqrt(2)) / 2


def mish_slope(x):
    t = np.tanh(np.logaddexp(0, x))
    return t + x * (1 - t**2) * sigmoid(x)


def expm1(x):
    return np.expm1(np.minimum(x, 0))


# The value, and the derivative with our choice at kinks.
ELEMENTWISE = {
    "linear": (lambda x: x, lambda x: 1),
    "relu": (lambda x: np.maximum(x, 0), lambda x: x > 0),
    "relu6": (lambda x: np.clip(x, 0, 6), lambda x: (x > 0) & (x < 6)),
    "leaky_relu": (lambda x: np.where(x > 0, x, 0.2 * x), lambda x: np.where(x > 0, 1, 0.2)),
    "elu": (lambda x: np.where(x > 0, x, expm1(x)), lambda x: 1 + expm1(x)),
    "selu": (
        lambda x: LAMBDA * np.where(x > 0, x, ALPHA * expm1(x)),
        lambda x: LAMBDA * np.where(x > 0, 1, ALPHA * (1 + expm1(x))),
    ),
    "celu": (lambda x: np.where(x > 0, x, expm1(x)), lambda x: 1 + expm1(x)),
    "gelu": (lambda x: x * phi(x), lambda x: phi(x) + x * bell(x)),
    "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * sigmoid(-x))),
    "mish": (lambda x: x * np.tanh(np.logaddexp(0, x)), mish_slope),
    "softplus": (lambda x: np.logaddexp(0, x), sigmoid),
    "softsign": (lambda x: x / (1 + np.abs(x)), lambda x: (1 + np.abs(x)) ** -2.0),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "log_sigmoid": (lambda x: -np.logaddexp(0, -x), lambda x: sigmoid(-x)),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "exponential": (np.exp, np.exp),
    "hard_sigmoid": (lambda x: np.clip((x + 3) / 6, 0, 1), lambda x: (np.abs(x) < 3) / 6),
    "hard_silu": (
        lambda x: x * np.clip((x + 3) / 6, 0, 1),
        lambda x: np.clip((x + 3) / 6, 0, 1) + x * (np.abs(x) < 3) / 6,
    ),
    "hard_tanh": (lambda x: np.clip(x, -1, 1), lambda x: np.abs(x) <= 1),
    "tanh_shrink": (lambda x: x - np.tanh(x), lambda x: np.tanh(x) ** 2),
    "hard_shrink": (lambda x: np.where(np.abs(x) > 0.5, x, 0), lambda x: np.abs(x) > 0.5),
    "soft_shrink": (lambda x: x - np.clip(x, -0.5, 0.5), lambda x: np.abs(x) > 0.5),
}
ELEMENTWISE |= {"swish": ELEMENTWISE["silu"], "hard_swish": ELEMENTWISE["hard_silu"]}
GATES = {"glu": "sigmoid", "reglu": "relu", "geglu": "gelu", "swiglu": "silu"}


def softmax(x):
    exponential = np.exp(x - x.max(-1, keepdims=True))
    return exponential / exponential.sum(-1, keepdims=True)


def oracle(name, x, weights):
    """The value, and the gradient of Σ value·weights, in float64."""
    x = np.asarray(x, np.float64)
    with np.errstate(over="ignore"):
        if name in ELEMENTWISE:
            value, slope = ELEMENTWISE[name]
            return value(x), weights * slope(x)
        if name in GATES:
            (a, b), w = np.split(x, 2, -1), weights[..., : x.shape[-1] // 2]
            gate, slope = ELEMENTWISE[GATES[name]]
            return a * gate(b), np.concatenate([w * gate(b), w * a * slope(b)], -1)
        s = softmax(x)
        if name == "softmax":
            return s, s * (weights - (weights * s).sum(-1, keepdims=True))
        centred = x - x.max(-1, keepdims=True)
        return centred - np.log(np.exp(centred).sum(-1, keepdims=True)), weights - s * weights.sum(-1, keepdims=True)


def differentiate(function, x, weights):
    """The value, and the gradient of Σ value·weights."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return y, tape.gradient(y, x, tf.constant(weights[..., : y.shape[-1]], y.dtype))


WEIGHTS = np.cos(np.arange(X.size)).reshape(X.shape)
ALL = {**activations.BY_NAME, **activations.GATED}
every_activation = pytest.mark.parametrize("name", ALL)


@every_activation
def test_the_value_and_the_gradient_are_those_of_the_formula(name):
    for found, expected in zip(differentiate(ALL[name], X, WEIGHTS), oracle(name, X, WEIGHTS), strict=True):
        # A few units in the last place, of what is as large as 1 or as the value; 2·1e4 comes into log_softmax.
        np.testing.assert_allclose(found, expected, 1e-12, 1e-13)


# In units of 1 + |expected|: a few roundings of 24, 11 and 8 bits.
ROUNDING = {"float32": 2**-21, "float16": 2**-8, "bfloat16": 2**-5}


@every_activation
@pytest.mark.parametrize("dtype", ROUNDING)
def test_other_dtypes_are_kept_and_round_that_at_1e4_too(name, dtype):
    # A gate's products of 1e4 and 90 are too large for float16.
    x = np.clip(X, -200, 200) if dtype == "float16" and name in GATES else X
    x, weights = tf.constant(x, dtype), np.sign(WEIGHTS)
    found = differentiate(ALL[name], x, weights)
    for value, exact in zip(found, oracle(name, tf.cast(x, tf.float64), weights), strict=True):
        assert value.dtype == dtype
        # Where the true value exceeds the dtype, infinite is right.
        expected = tf.cast(tf.constant(exact, tf.float64), dtype)
        value, expected = np.asarray(tf.cast(value, tf.float64)), np.asarray(tf.cast(expected, tf.float64))
        np.testing.assert_array_equal(np.isfinite(value), np.isfinite(expected))
        finite = np.isfinite(expected)
        np.testing.assert_allclose(value[finite], expected[finite], ROUNDING[dtype], ROUNDING[dtype])


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
@every_activation
def test_keras_has_the_same(name):
    theirs = getattr(keras.activations, name, None)
    if name in ("reglu", "geglu", "swiglu"):
        assert theirs is None
        return
    away = [~np.isin(X, [1e4, 90]) & ~KINKS, ~KINKS]
    for found, other, where in zip(
        differentiate(ALL[name], X, WEIGHTS), differentiate(keras.activations.get(name), X, WEIGHTS), away, strict=True
    ):
        where = where[..., : found.shape[-1]] & np.isfinite(other)
        # Keras' gelu and leaky_relu have their constants in float32.
        np.testing.assert_allclose(found.numpy()[where], other.numpy()[where], 2e-7, 2e-7)


def test_xla_computes_the_same():
    def run(x):
        return {name: differentiate(function, x, WEIGHTS) for name, function in ALL.items()}

    found = tf.function(run, jit_compile=True, autograph=False)(tf.constant(X))
    for name, pair in run(tf.constant(X)).items():
        for mine, other in zip(pair, found[name], strict=True):
            np.testing.assert_allclose(other, mine, 1e-11, 1e-12, err_msg=name)


@pytest.mark.parametrize("alpha", [0.25, 2.0])
def test_the_slopes_of_elu_and_celu_are_their_parameters(alpha):
    x = tf.constant(X)
    np.testing.assert_allclose(activations.elu(x, alpha), np.where(X > 0, X, alpha * expm1(X)), 1e-14)
    np.testing.assert_allclose(activations.celu(x, alpha), np.where(X > 0, X, alpha * expm1(X / alpha)), 1e-14)
    _, gradient = differentiate(lambda x: activations.celu(x, alpha), x, np.ones_like(X))
    np.testing.assert_allclose(gradient, np.exp(np.minimum(X, 0) / alpha), 1e-13, 1e-13)


@pytest.mark.parametrize("threshold", [0.0, 1.25])
def test_shrinking_takes_what_is_within_the_threshold(threshold):
    x = tf.constant(X)
    np.testing.assert_array_equal(activations.hard_shrink(x, threshold), np.where(np.abs(X) > threshold, X, 0))
    np.testing.assert_array_equal(activations.soft_shrink(x, threshold), X - np.clip(X, -threshold, threshold))


def test_approximate_gelu_is_its_formula_and_finite_everywhere():
    def slope(x):
        z = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        inner = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
        return 0.5 * (1 + np.tanh(z)) + 0.5 * x * (1 - np.tanh(z) ** 2) * inner

    expected = 0.5 * X * (1 + np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3)))
    y, gradient = differentiate(lambda x: activations.gelu(x, approximate=True), X, np.ones_like(X))
    np.testing.assert_allclose(y, expected, 1e-12, 1e-13)
    np.testing.assert_allclose(gradient, slope(X), 1e-12, 1e-13)
    for dtype in ("bfloat16", "float16"):
        for value in differentiate(lambda x: activations.gelu(x, approximate=True), tf.constant(X, dtype), 1 + 0 * X):
            assert np.isfinite(tf.cast(value, tf.float32)).all()


def test_gates_refuse_what_has_no_halves_and_layers_refuse_gates():
    with pytest.raises(ValueError, match=r"a gate halves an even last dimension, found an input of \(2, 3\)"):
        activations.glu(tf.ones([2, 3]))
    for name, gate in activations.GATED.items():
        for given in (name, gate):
            with pytest.raises(ValueError, match=f"activation '{name}' halves the last dimension: call layers.activ"):
                layers.Dense(2, 4, activation=given)
    assert layers.Sequential([layers.Dense(3, 8), activations.swiglu])(tf.ones([2, 3])).shape == [2, 4]


def test_get_takes_names_functions_and_none_and_lists_the_names():
    assert activations.get("relu") is activations.relu
    assert activations.get("swish") is activations.silu
    assert activations.get(tf.nn.relu) is tf.nn.relu
    assert activations.get(None) is activations.linear
    with pytest.raises(ValueError, match="unknown activation 'swoosh': expected a function or one of celu, "):
        activations.get("swoosh")


def test_prelu_of_images_is_that_of_keras_with_shared_axes():
    ours, theirs = layers.PReLU(2), keras.layers.PReLU(shared_axes=[1, 2])
    x = tf.random.stateless_normal([3, 4, 5, 2], [1, 2])
    theirs.build(x.shape)
    ours.alpha.assign([0.3, -1.5])
    theirs.alpha.assign(tf.reshape(ours.alpha, [1, 1, 2]))
    np.testing.assert_array_equal(ours(x), theirs(x))
    np.testing.assert_array_equal(ours(tf.zeros([1, 2])), [[0, 0]])
