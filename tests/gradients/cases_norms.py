"""Gradient cases of normalisation, noise, activations and regularizers."""

import functools

import numpy as np
import tensorflow as tf
from points import context, layer, normal, settled
from registry import add

import engine
import layers

Dense, Conv2D = layers.Dense, layers.Conv2D


def bare(kind, *sizes):
    return functools.partial(kind, *sizes, epsilon=1e-2, center=False, scale=False)


for name, sizes, shape in (
    ("LayerNorm", [4], [3, 2, 4]),
    ("RMSNorm", [4], [3, 2, 4]),
    ("GroupNorm", [6, 2], [3, 4, 6]),
    ("InstanceNorm", [3], [2, 5, 3]),
):
    norm = functools.partial(getattr(layers, name), *sizes)
    layer(f"layers.{name}", "plain", norm, shape, order=2)
    layer(f"layers.{name}", "float32", norm, shape, dtype="float32")
layer("layers.LayerNorm", "bare", bare(layers.LayerNorm, 4), [3, 4], order=2)
layer("layers.LayerNorm", "two-axes", lambda: layers.LayerNorm(features=(2, 3)), [3, 2, 3])
layer("layers.RMSNorm", "two-axes", lambda: layers.RMSNorm(features=(2, 3), epsilon=1e-2), [3, 2, 3])
layer("layers.GroupNorm", "bare", bare(layers.GroupNorm, 4, 4), [3, 2, 2, 4])
layer("layers.GroupNorm", "one-group-rank-2", lambda: layers.GroupNorm(4, groups=1), [3, 4])
layer("layers.InstanceNorm", "bare", bare(layers.InstanceNorm, 3), [2, 3, 2, 3])

for name, options in (("WeightNorm", {}), ("SpectralNorm", {"power_iterations": 3})):
    wrapper = getattr(layers, name)
    dense = functools.partial(lambda wrap, options: wrap(Dense(4, 3, activation="tanh"), **options), wrapper, options)
    images = functools.partial(lambda wrap: wrap(Conv2D(2, 3, 2, use_bias=False)), wrapper)
    layer(f"layers.{name}", "dense", dense, [5, 4], order=2)
    layer(f"layers.{name}", "convolution", images, [2, 4, 3, 2])
    layer(f"layers.{name}", "float32", dense, [5, 4], dtype="float32")
# In training the vectors turn with the kernel, and the gradient takes them for constants: what moves is x.
layer(
    "layers.SpectralNorm", "training", lambda: layers.SpectralNorm(Dense(4, 3)), [5, 4], training=context(),
    wrt="inputs", order=2,
)  # fmt: skip

for name, shape in (
    ("SpatialDropout1D", [4, 3, 2]),
    ("SpatialDropout2D", [3, 2, 3, 2]),
    ("StochasticDepth", [6, 2]),
    ("AlphaDropout", [4, 6]),
    ("GaussianDropout", [4, 6]),
    ("GaussianNoise", [4, 6]),
):
    noise = functools.partial(getattr(layers, name), 0.4)
    layer(f"layers.{name}", "training", noise, shape, training=context(), order=2)
    layer(f"layers.{name}", "inference", noise, shape, training=False)


def from_0(x):
    """How far each value is from 0."""
    return tf.abs(x)


def of_the_input(x, *_):
    return tf.reduce_min(tf.abs(x))


layer("layers.PReLU", "normal", lambda: layers.PReLU(3), [4, 3], order=2, distance_to_kink=of_the_input)
layer("layers.PReLU", "rank-4", lambda: layers.PReLU(channels=2), [2, 3, 2, 2], distance_to_kink=of_the_input)

activations = layers.activations
for name in ("mish", "softsign", "log_sigmoid", "exponential", "tanh_shrink", "glu", "geglu", "swiglu"):
    smooth = getattr(activations, name)
    # The second derivative of softsign jumps at 0.
    kinks = {"distance_to_kink": from_0} if name == "softsign" else {}
    add(f"layers.activations.{name}", "normal", lambda f=smooth: (f, normal(3, 4)), order=2, **kinks)
    add(f"layers.activations.{name}", "wide-with-zeros", lambda f=smooth: (f, np.round(normal(2, 3, 4, scale=4.0))))


def from_points(*points):
    """How far each value is from the nearest of the points."""
    return lambda x: tf.reduce_min(tf.stack([tf.abs(x - point) for point in points]), 0)


KINKED = {
    "relu6": (activations.relu6, (0, 6)),
    "celu": (functools.partial(activations.celu, alpha=0.7), (0,)),
    "elu": (functools.partial(activations.elu, alpha=0.7), (0,)),
    "hard_sigmoid": (activations.hard_sigmoid, (-3, 3)),
    "hard_silu": (activations.hard_silu, (-3, 3)),
    "hard_tanh": (activations.hard_tanh, (-1, 1)),
    "hard_shrink": (activations.hard_shrink, (-0.5, 0.5)),
    "soft_shrink": (activations.soft_shrink, (-0.5, 0.5)),
}
for name, (function, points) in KINKED.items():
    kinks = from_points(*points)
    point = normal(4, 4, scale=3.0)
    add(f"layers.activations.{name}", "wide", lambda f=function, x=point: (f, x), distance_to_kink=kinks, order=2)
add(
    "layers.activations.reglu", "normal", lambda: (activations.reglu, normal(3, 4)),
    distance_to_kink=lambda x: tf.reduce_min(tf.abs(x[:, 2:])), order=2,
)  # fmt: skip


def penalised(penalty):
    """A function of the kernels of a model, and of a number that scales it: there must be an input."""

    def make():
        model = settled(layers.Sequential([Dense(3, 4), layers.Flatten(), Dense(4, 2)]))
        return functools.partial(lambda model, scale: scale * penalty(model), model), np.array(0.7)

    return make


regularizers = engine.regularizers
for name, label, penalty in (
    ("L1", "kernels", regularizers.L1(0.3)),
    ("L2", "everything", regularizers.L2(0.3, "*")),
    ("L1L2", "kernels", regularizers.L1L2(0.2, 0.3)),
    ("Orthogonal", "rows", regularizers.Orthogonal(0.3)),
    ("Orthogonal", "columns", regularizers.Orthogonal(0.3, "columns")),
):
    unseen = () if label == "everything" else ("layers.0.bias", "layers.2.bias")
    add(f"engine.regularizers.{name}", label, penalised(penalty), disconnected=unseen)
