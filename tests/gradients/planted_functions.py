"""Mistakes in the gradients of activations, losses, updates and arithmetic, of the first and the second order."""

import functools

import numpy as np
import tensorflow as tf
from planted import at, gradient_of, in_function, with_backward
from points import normal

import optim
from engine import losses
from layers import activations as f

stop = tf.stop_gradient
X, SQUARE, VECTOR, POSITIVE = (
    normal(4, 4),
    normal(4, 4, seed=4),
    normal(4, seed=5),
    0.5 + np.square(normal(4, 4, seed=6)),
)


def sums(g):
    return tf.reduce_sum(g, -1, keepdims=True)


def rows(g):
    return g[:, tf.newaxis]


# fmt: off
# Activations: function, wrong rule, right rule (None: the function's own).
for mistake, function, wrong, right in [
    ("relu: passes what is negative", f.relu, lambda g, y, x: g, lambda g, y, x: tf.where(x > 0, g, 0)),
    ("leaky relu: slope 0.02", f.leaky_relu, lambda g, y, x: tf.where(x > 0, g, 0.02 * g), None),
    ("elu: 1 missing", f.elu, lambda g, y, x: tf.where(x > 0, g, g * y), lambda g, y, x: tf.where(x > 0, g, g * y + g)),
    ("selu: scaled on one side", f.selu, gradient_of(lambda x: tf.where(x > 0, x, f.selu(x))), None),
    ("gelu: of the approximation", f.gelu, gradient_of(lambda x: f.gelu(x, approximate=True)), None),
    ("silu: a term missing", f.silu, gradient_of(lambda x: x * stop(tf.sigmoid(x))), None),
    ("softplus: mirrored", f.softplus, lambda g, y, x: g * f.sigmoid(-x), lambda g, y, x: g * f.sigmoid(x)),
    ("sigmoid: of the input", f.sigmoid, lambda g, y, x: g * x * (1 - x), lambda g, y, x: g * y * (1 - y)),
    ("tanh: not squared", f.tanh, lambda g, y, x: g * (1 - y), lambda g, y, x: g * (1 - y * y)),
    ("softmax: its diagonal only", f.softmax, lambda g, y, x: g * y * (1 - y), lambda g, y, x: y * (g - sums(g * y))),
    ("softmax: over the batch", f.softmax, lambda g, y, x: y * (g - tf.reduce_sum(g * y, 0)), None),
    ("log-softmax: a mean", f.log_softmax, lambda g, y, x: g - sums(g) / 4 * tf.exp(y),
        lambda g, y, x: g - sums(g) * tf.exp(y)),
    ("sine: 1% off where negative", tf.sin, lambda g, y, x: g * tf.where(x < 0, 1.01 * tf.cos(x), tf.cos(x)), None),
    ("slice: off by one", lambda x: x[:, 1:], lambda g, y, x: tf.pad(g, [[0, 0], [0, 1]]),
        lambda g, y, x: tf.pad(g, [[0, 0], [1, 0]])),
    ("running sum: forwards twice", tf.cumsum, lambda g, y, x: tf.cumsum(g),
        lambda g, y, x: tf.cumsum(g, reverse=True)),
    ("norm: held fixed", lambda x: x / tf.norm(x), gradient_of(lambda x: x / stop(tf.norm(x))), None),
    ("maximum: everyone wins", lambda x: tf.reduce_max(x, 1), lambda g, y, x: rows(g) * tf.ones_like(x), None),
]:
    in_function(mistake, function, wrong, X, right=right, blamed=0)
in_function("relu: 1.5 at 0", f.relu, lambda g, y, x: tf.where(x == 0, 1.5 * g, tf.where(x > 0, g, 0)),
    np.array([[1.0, 0.0, -1.0]]), blamed=0, index=(0, 1), distance_to_kink=tf.abs)

# Losses.
LABELS = tf.constant([2, 0, 1, 2])
YES = f.sigmoid(normal(4, 4, seed=2))
sparse = functools.partial(losses.sparse_categorical_crossentropy, LABELS)
binary = functools.partial(losses.binary_crossentropy, YES)
absolute = functools.partial(losses.mean_absolute_error, SQUARE)


def softmax_minus(shift=0, scale=1.0, keep=1.0):
    return lambda g, y, z: scale * rows(g) * (f.softmax(z) - keep * tf.one_hot(LABELS + shift, 4, dtype=z.dtype))


for mistake, function, wrong, right in [
    ("cross-entropy: label off by one", sparse, softmax_minus(shift=1), softmax_minus()),
    ("cross-entropy: divided by the batch", sparse, softmax_minus(scale=0.25), softmax_minus()),
    ("cross-entropy: labels of 0.99", sparse, softmax_minus(keep=0.99), softmax_minus()),
    ("binary cross-entropy: a sum", binary, lambda g, y, z: rows(g) * (f.sigmoid(z) - YES),
        lambda g, y, z: rows(g) * (f.sigmoid(z) - YES) / 4),
    ("absolute error: no sign", absolute, lambda g, y, z: rows(g) * tf.ones_like(z) / 4,
        lambda g, y, z: rows(g) * tf.sign(z - SQUARE) / 4),
]:
    in_function(mistake, function, wrong, X, right=right, blamed=0)

# Functions of two tensors.
for mistake, function, wrong, right, blamed, second in [
    ("squared error: no 2", losses.mean_squared_error,
        lambda g, y, a, b: [rows(g) * (a - b) / 4, rows(g) * (b - a) / 4],
        lambda g, y, a, b: [rows(g) * (a - b) / 2, rows(g) * (b - a) / 2], None, SQUARE),
    ("squared error: sign of the labels", losses.mean_squared_error, lambda g, y, a, b: [rows(g) * (b - a) / 2] * 2,
        None, 0, SQUARE),
    ("product: weights not transposed", tf.matmul, lambda g, y, x, w: [g @ w, tf.transpose(x) @ g],
        lambda g, y, x, w: [g @ tf.transpose(w), tf.transpose(x) @ g], 0, SQUARE),
    ("product: factors exchanged", tf.matmul, lambda g, y, x, w: [g @ tf.transpose(w), tf.transpose(g) @ x],
        None, 1, SQUARE),
    ("broadcasting: over the wrong axis", tf.multiply, lambda g, y, x, a: [g * a, tf.reduce_sum(g * x, 1)],
        lambda g, y, x, a: [g * a, tf.reduce_sum(g * x, 0)], 1, VECTOR),
    ("broadcasting: a mean", tf.add, lambda g, y, x, a: [g, tf.reduce_mean(g, 0)],
        lambda g, y, x, a: [g, tf.reduce_sum(g, 0)], 1, VECTOR),
    ("division: sign of the divisor", tf.divide, lambda g, y, a, b: [g / b, g * a / b**2],
        lambda g, y, a, b: [g / b, -g * a / b**2], 1, POSITIVE),
    ("concatenation: parts exchanged", lambda a, b: tf.concat([a, b], 0), lambda g, y, a, b: [g[4:], g[:4]],
        lambda g, y, a, b: [g[:4], g[4:]], None, SQUARE),
    ("shared weights: counted once", lambda x, w: f.tanh(f.tanh(x @ w) @ w),
        gradient_of(lambda x, w: f.tanh(f.tanh(x @ stop(w)) @ w)), None, 1, SQUARE),
    ("two outputs: the second forgotten", lambda x, w: (x @ w, tf.sin(w)),
        lambda g, y, x, w: [g[0] @ tf.transpose(w), tf.transpose(x) @ g[0]], None, 1, SQUARE),
]:
    in_function(mistake, function, wrong, X, second, right=right, blamed=blamed)

ROWS, SHAPE = tf.constant([1, 3, 1, 0]), tf.constant([4, 4])
for mistake, wrong in [
    ("gather: the last of two overwrites", lambda g, y, x: tf.tensor_scatter_nd_update(0 * x, ROWS[:, None], g)),
    ("gather: slices one row off", lambda g, y, x: tf.IndexedSlices(g, (ROWS + 1) % 4, SHAPE)),
    ("gather: a slice is lost", lambda g, y, x: tf.IndexedSlices(g[:3], ROWS[:3], SHAPE)),
]:
    in_function(mistake, lambda x: tf.gather(x, ROWS), wrong, X, blamed=0,
        right=lambda g, y, x: tf.IndexedSlices(g, ROWS, SHAPE))


# What arrives is bent, and not only handed on.
for mistake, wrong in [
    ("square: clips what arrives", lambda g, y, x: 2 * x * tf.clip_by_value(g, -10, 10)),
    ("square: drops what is small", lambda g, y, x: 2 * x * tf.where(tf.abs(g) > 1e-3, g, 0)),
]:
    in_function(mistake, tf.square, wrong, X, blamed=0, right=lambda g, y, x: 2 * x * g)


# Updates.
def adam(g, x, m, v, squared=tf.identity):
    """The new variable; what is squared into the second moment passes through `squared`."""
    values = {"alpha": 0.1, "rate_1": 0.1, "rate_2": 0.2, "epsilon": 0.01}
    v = optim.Adam().update("x", squared(g), x, m, v, **values)[2]
    return optim.Adam().update("x", g, x, m, v, **{**values, "rate_2": 0.0})[0]


in_function("adam: second moment held fixed", adam, gradient_of(functools.partial(adam, squared=stop)),
    X, SQUARE, normal(4, 4, seed=7), POSITIVE, blamed=0)
in_function("clipping: as if nothing were clipped", lambda x: optim.clip_by_norm(1.0)([x], [])[0], lambda g, y, x: g, X)
in_function("clipping: norm held fixed", lambda x: optim.clip_by_norm(1.0)([x], [])[0],
    lambda g, y, x: g / tf.norm(x), X, blamed=0)

# Right in the first order and wrong in the second.
def slope(curvature):
    """3x², with a derivative that is `curvature(6x)`."""
    return with_backward(lambda x: 3 * x**2, lambda g, y, x: g * curvature(6 * x))


CROWD = normal(100, 100)
for mistake, function, wrong, right, inputs in [
    ("second order: frozen", tf.tanh, lambda g, y, x: g * stop(1 - tf.tanh(x)**2),
        lambda g, y, x: g * (1 - tf.tanh(x)**2), [X]),
    ("second order: none at all", tf.square, lambda g, y, x: stop(2 * g * x), None, [X]),
    ("second order: what arrives is no constant", tf.square, lambda g, y, x: 2 * stop(g) * x, None, [X]),
    ("second order: by a factor of 1.01", lambda x: x**3, lambda g, y, x: g * slope(lambda c: 1.01 * c)(x),
        lambda g, y, x: g * slope(tf.identity)(x), [X]),
    ("second order: one of 10,000", lambda x: x**3, lambda g, y, x: g * slope(at((42, 24), lambda c: 1.01 * c))(x),
        None, [CROWD]),
    ("second order: a cross term", tf.multiply, lambda g, y, a, b: [g * stop(b), g * a], None, [X, SQUARE]),
    ("second order: softmax held fixed", f.softmax, lambda g, y, x: stop(f.softmax(x)) * (g - sums(g * f.softmax(x))),
        None, [X]),
    # No plant: TensorFlow's own, which forgets that the gradient by logits is one of the labels too.
    ("second order: labels of cross-entropy", lambda p, z: -tf.reduce_sum(f.softmax(p) * f.log_softmax(z), -1),
        gradient_of(lambda p, z: tf.nn.softmax_cross_entropy_with_logits(f.softmax(p), z)), None, [X, SQUARE]),
]:
    in_function(mistake, function, wrong, *inputs, right=right, order=2)
# Squares of an input to exp: what arrives depends on x too.
in_function("second order: what arrives held fixed", lambda x: tf.exp(tf.square(x)),
    lambda g, y, x: 2 * x * stop(g * tf.exp(x**2)), X / 2, right=lambda g, y, x: 2 * x * g * tf.exp(x**2), order=2)
# fmt: on
