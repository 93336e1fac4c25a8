"""Mistakes in the gradients of layers, by inputs and by variables."""

import functools

import numpy as np
import tensorflow as tf
from planted import at, changed, gradient_of, in_layer, replaced
from points import distinct, normal

import engine
import layers

stop = tf.stop_gradient
X, SEQUENCES, IMAGES, PLANE = normal(4, 4), normal(4, 2, 3, scale=2.0), normal(2, 6, 6, 2), distinct(2, 4, 4, 2)


def times(factor):
    return lambda g: g * factor


def instead(function):
    """The gradient by x of another function."""
    return replaced("x", lambda x, g: gradient_of(function)(g, None, x)[0])


def summed(*axes, part=Ellipsis):
    """A bias's gradient, summed over those axes of `upstream[part]`."""
    return replaced("bias", lambda x, g: tf.reduce_sum(g[part], axes))


# fmt: off
tanh = functools.partial(layers.Dense, 4, 3, activation="tanh")
for mistake, spoil, blamed in [
    ("sign of the input", changed("x", tf.negative), "x"),
    ("a factor of 1.01", changed("kernel", times(1.01)), "kernel"),
    ("a factor of 1 + 1e-6", changed("bias", times(1 + 1e-6)), "bias"),
    ("everything doubled", lambda found, x, g: {name: 2 * value for name, value in found.items()}, None),
    ("one column off by 1%", changed("kernel", times([1, 1.01, 1])), "kernel"),
    ("one row off by 0.01%", changed("kernel", times([[1], [1], [1], [1.0001]])), "kernel"),
    ("bias forgotten", changed("bias", tf.zeros_like), "bias"),
    ("bias without a gradient", changed("bias", lambda g: None), "bias"),
    ("bias a mean over the batch", changed("bias", times(0.25)), "bias"),
    ("bias without the activation's own", summed(0), "bias"),
    ("rounded to float32", changed("x", lambda g: tf.cast(tf.cast(g, tf.float32), g.dtype)), "x"),
]:
    in_layer(f"dense: {mistake}", tanh, X, spoil, blamed)
in_layer("dense: not a number", tanh, X, changed("x", at((1, 2), times(np.nan))), None, (1, 2))

square = functools.partial(layers.Dense, 4, 4)
in_layer("dense: transposed kernel", square, X, changed("kernel", tf.transpose), "kernel")
in_layer("dense: bias summed over units", square, X, summed(1), "bias")
in_layer("dense: last example left out", square, X,
    replaced("kernel", lambda x, g: tf.matmul(x[:-1], g[:-1], transpose_a=True)), "kernel")
in_layer("dense: first position of a sequence only", functools.partial(layers.Dense, 3, 4), SEQUENCES,
    replaced("kernel", lambda x, g: tf.matmul(x[:, 0], g[:, 0], transpose_a=True)), "kernel")

ONE = (123, 321)
MANY, wide = normal(2, 250), functools.partial(layers.Dense, 250, 400)
for mistake, change in {"off by 1%": times(1.01), "of the wrong sign": tf.negative, "0": tf.zeros_like}.items():
    in_layer(f"dense: one weight of 100,000 {mistake}", wide, MANY, changed("kernel", at(ONE, change)), "kernel", ONE)
in_layer("flatten: one input of 100,000 off by 1%", layers.Flatten, normal(10, 100, 100),
    changed("x", at((7, 11, 13), times(1.01))), "x", (7, 11, 13))
in_layer("flatten: column by column", layers.Flatten, SEQUENCES[:, :, :2],
    changed("x", lambda g: tf.transpose(g, [0, 2, 1])), "x")

CORNERS, BEFORE = np.eye(3)[:, :, None, None].clip(0.5), np.arange(6) < 5
for mistake, options, spoil, blamed in [
    ("kernel upside down", {"padding": "same"}, changed("kernel", lambda g: g[::-1, ::-1]), "kernel"),
    ("filters moved by one", {"padding": "same"}, changed("kernel", lambda g: tf.roll(g, 1, 3)), "kernel"),
    ("height and width exchanged", {}, changed("kernel", lambda g: tf.transpose(g, [1, 0, 2, 3])), "kernel"),
    ("input moved by one row", {"padding": "same"}, changed("x", lambda g: tf.roll(g, 1, 1)), "x"),
    ("last row of the input forgotten", {}, changed("x", times(BEFORE[:, None, None])), "x"),
    ("bias of the first column", {}, summed(0, 1, part=np.s_[:, :, 0]), "bias"),
    ("groups exchanged", {"groups": 2}, changed("kernel", lambda g: tf.roll(g, 2, 3)), "kernel"),
    ("half of some taps", {"dilation_rate": 2}, changed("kernel", times(CORNERS)), "kernel"),
    ("a stride's last column", {"strides": 2, "padding": "same"}, changed("x", times(BEFORE[:, None])), "x"),
]:
    in_layer(f"conv: {mistake}", functools.partial(layers.Conv2D, 2, 4, 3, **options), IMAGES, spoil, blamed)


def padded(x):
    """Means over windows of 2 in which the padding, below and to the right, counts as zeros."""
    return tf.nn.avg_pool2d(tf.pad(x, [[0, 0], [0, 1], [0, 1], [0, 0]]), 2, 1, "VALID")


for mistake, build, spoil in [
    ("max-pool: everyone wins", layers.MaxPool2D, instead(layers.AveragePool2D())),
    ("max-pool: the smallest wins", layers.MaxPool2D, instead(lambda x: -layers.MaxPool2D()(-x))),
    ("average pool: padding counts", functools.partial(layers.AveragePool2D, 2, 1, "same"), instead(padded)),
    ("global average: a sum", layers.GlobalAveragePool2D, changed("x", times(16))),
]:
    in_layer(mistake, build, PLANE, spoil, "x")


def normalised(x, centre=tf.identity, spread=tf.identity, epsilon=0.1, axes=(0, 1)):
    """Batch norm; mean and variance pass through functions that may stop gradients."""
    mean = centre(tf.reduce_mean(x, axes, keepdims=True))
    variance = spread(tf.reduce_mean(tf.square(x - mean), axes, keepdims=True))
    return (x - mean) * tf.math.rsqrt(variance + epsilon)


plain = functools.partial(layers.BatchNorm, 3, epsilon=0.1, scale=False)
for mistake, options in {
    "without the term of the mean": {"centre": stop},
    "without the term of the variance": {"spread": stop},
    "statistics held fixed": {"centre": stop, "spread": stop},
    "epsilon forgotten": {"epsilon": 1e-3},
    "statistics of one axis": {"axes": [0]},
}.items():
    spoil = instead(functools.partial(normalised, **options))
    in_layer(f"batch norm: {mistake}", plain, SEQUENCES, spoil, "x", training=True)
in_layer("batch norm: stale statistics", plain, SEQUENCES, instead(plain(dtype=tf.float64)), "x", training=True)
scaled = functools.partial(layers.BatchNorm, 3)
in_layer("batch norm: gamma of what is not normalised", scaled, SEQUENCES,
    replaced("gamma", lambda x, g: tf.reduce_sum(x * g, [0, 1])), "gamma", training=True)
in_layer("batch norm: padding rows pass gradients", scaled, SEQUENCES,
    lambda found, x, g: {**found, "x": tf.concat([found["x"][:3], g[3:]], 0)}, "x",
    training=engine.StepContext(0, 0, valid_rows=tf.constant(3)))

STEP, drop = engine.StepContext(1, 2), functools.partial(layers.Dropout, 0.4)
FIRST, SECOND = (STEP.uniform([4, 4]) >= 0.4 for _ in range(2))
FIXED = engine.StepContext(1, 2)
for mistake, rule in {
    "mask forgotten": lambda x, g: g / 0.6,
    "mask of another draw": lambda x, g: tf.where(SECOND, g / 0.6, 0),
    "not scaled": lambda x, g: tf.where(FIRST, g, 0),
    "mask inverted": lambda x, g: tf.where(FIRST, 0, g / 0.6),
}.items():
    in_layer(f"dropout: {mistake}", drop, X, replaced("x", rule), "x", training=FIXED)

network = functools.partial(layers.nets.convnet, (6, 6, 2), 3, (3,), (4,))
in_layer("convnet: first kernel by a factor of 1.01", network, IMAGES,
    changed("layers.0.kernel", times(1.01)), "layers.0.kernel")
in_layer("convnet: one bias of the first layer off by 1%", network, IMAGES,
    changed("layers.0.bias", at((1,), times(1.01))), "layers.0.bias", (1,))
# fmt: on
