"""The gradient cases of every public thing that can be differentiated: see `registry`."""

import functools

import cases_attention  # noqa: F401
import cases_losses  # noqa: F401
import cases_norms  # noqa: F401
import cases_recurrent  # noqa: F401
import cases_rules  # noqa: F401
import cases_transforms  # noqa: F401
import cases_windows  # noqa: F401
import numpy as np
import tensorflow as tf
from points import context, distinct, layer, normal
from registry import add

import layers
from layers.nets.residual import Bottleneck

Dense, Conv2D, BatchNorm = layers.Dense, layers.Conv2D, layers.BatchNorm

layer("layers.Dense", "tanh", lambda: Dense(4, 3, activation="tanh"), [5, 4], order=2)
layer("layers.Dense", "no-bias-rank-4", lambda: Dense(3, 2, use_bias=False), [2, 2, 3, 3])
layer("layers.Dense", "softmax-rank-3", lambda: Dense(3, 4, activation="softmax"), [2, 3, 3])
layer("layers.Dense", "float32", lambda: Dense(4, 3, activation="tanh"), [5, 4], dtype="float32")
layer("layers.Dense", "float32-variables", lambda: Dense(4, 3, activation="tanh"), [5, 4], dtype=None)

layer("layers.Conv2D", "valid", lambda: Conv2D(2, 3, 3, activation="tanh"), [2, 5, 6, 2])
layer("layers.Conv2D", "same-strides", lambda: Conv2D(2, 3, (3, 2), strides=2, padding="same"), [2, 5, 6, 2], order=2)
layer("layers.Conv2D", "strides-that-leave-rows", lambda: Conv2D(1, 2, 2, strides=3), [2, 7, 6, 1])
layer("layers.Conv2D", "dilation", lambda: Conv2D(2, 2, 2, dilation_rate=(2, 1), padding="same"), [1, 5, 5, 2], order=2)
layer("layers.Conv2D", "groups", lambda: Conv2D(4, 6, 2, groups=2, use_bias=False), [2, 4, 3, 4], order=2)
layer("layers.Conv2D", "window-of-the-image", lambda: Conv2D(2, 2, (4, 3)), [2, 4, 3, 2])

for pool, values in (("MaxPool2D", distinct), ("AveragePool2D", normal)):
    Pool = getattr(layers, pool)
    layer(f"layers.{pool}", "plain", Pool, [2, 5, 4, 2], values=values)
    layer(f"layers.{pool}", "overlapping", lambda Pool=Pool: Pool(3, 1), [1, 5, 5, 2], values=values, order=2)
    layer(f"layers.{pool}", "same", lambda Pool=Pool: Pool((3, 2), 2, "same"), [2, 5, 5, 1], values=values)
layer("layers.GlobalAveragePool2D", "plain", layers.GlobalAveragePool2D, [2, 3, 4, 3], order=2)
layer("layers.Flatten", "rank-4", layers.Flatten, [2, 3, 2, 2], order=2)

plain = functools.partial(BatchNorm, 3, momentum=0.9, epsilon=1e-2)
layer("layers.BatchNorm", "inference", plain, [4, 2, 3], training=False, order=2)
layer("layers.BatchNorm", "training", plain, [5, 2, 3], training=True, order=2)
layer("layers.BatchNorm", "fused-float32", plain, [6, 2, 2, 3], training=True, dtype="float32")
layer("layers.BatchNorm", "bare", lambda: BatchNorm(3, center=False, scale=False), [6, 3], training=True)
layer("layers.BatchNorm", "padding-rows", plain, [5, 3], training=context(valid_rows=tf.constant(4)))
# Another replica that holds the same rows: sums are twice this one's.
twins = {"replicas": 2, "all_reduce": lambda tensor: 2 * tensor}
layer("layers.BatchNorm", "replicas", plain, [5, 3], training=context(**twins))
layer("layers.BatchNorm", "replicas-apart", lambda: plain(sync=False), [5, 3], training=context(**twins))


def frozen():
    norm = plain()
    norm.trainable = False
    return norm


layer("layers.BatchNorm", "frozen", frozen, [4, 3], training=True, wrt="inputs")

layer("layers.Dropout", "training", lambda: layers.Dropout(0.4), [4, 6], training=context(), order=2)
layer("layers.Dropout", "inference", lambda: layers.Dropout(0.4), [4, 6], training=False)


def stack():
    return layers.Sequential([Dense(4, 5, activation="tanh"), layers.Dropout(0.3), tf.sin, BatchNorm(5), Dense(5, 2)])


def tied():
    return layers.Sequential([shared := Dense(3, 3, activation="tanh"), shared])


layer("layers.Sequential", "dropout-and-batch-norm", stack, [6, 4], training=context())
layer("layers.Sequential", "shared-layer", tied, [4, 3], order=2)
layer(
    "layers.chain", "sized", lambda: layers.chain((4,), functools.partial(Dense, units=2), tf.sigmoid), [3, 4], order=2
)
# Eagerly, a second run is hidden from tapes, and with it from forward mode.
recomputed = functools.partial(layer, "layers.recompute", skips=("adjoint",))
recomputed("dense", lambda: layers.recompute(Dense(4, 3, activation="tanh")), [5, 4], order=2)
recomputed("dropout-and-batch-norm", lambda: layers.recompute(stack()), [6, 4], training=context())
recomputed("nested", lambda: layers.recompute(layers.Sequential([layers.recompute(tied())])), [4, 3])

nets = layers.nets
layer(
    "layers.nets.mlp", "tanh", lambda: nets.mlp((2, 3), 3, (5, 4), "tanh", dropout=0.3), [4, 2, 3], training=context()
)
layer("layers.nets.convnet", "plain", lambda: nets.convnet((8, 8, 1), 3, (2, 3), (4,), kernel_size=2), [3, 8, 8, 1])
layer(
    "layers.nets.convnet", "batch-norm",
    lambda: nets.convnet((6, 6, 2), 2, (3,), (4,), dropout=0.2, batch_norm=True), [4, 6, 6, 2], training=context(),
)  # fmt: skip
deep = functools.partial(nets.ResNet, 2, (1, 1), (2, 3))
layer("layers.nets.ResNet", "small", lambda: deep(small=True, projection=False), [3, 5, 5, 2], training=context())
layer(
    "layers.nets.ResNet", "bottlenecks",
    lambda: nets.ResNet(2, (1,), (2,), Bottleneck, pooling="max", use_bias=True), [2, 5, 4, 2], training=False,
)  # fmt: skip
lite = functools.partial(nets.EfficientNetLite, 2, stem=2, stages=((2, 3, 1, 2, 2),), features=2, dropout=0.5)
fast = functools.partial(nets.FastCifar, 1, 3, filters=(9,))
layer("layers.nets.FastCifar", "training", fast, [2, 5, 5, 1], values=distinct, training=context())
layer("layers.nets.FastCifar", "views", functools.partial(fast, views=6), [1, 5, 5, 1], values=distinct, training=False)
layer("layers.Whitening", "rotation", lambda: layers.Whitening(2, (2, 1), epsilon=1e-3), [2, 4, 3, 2], order=2)
layer("layers.nets.EfficientNetLite", "training", lite, [3, 3, 2, 2], training=context())
layer(
    "layers.nets.Classifier", "dropout-and-pixels",
    lambda: nets.Classifier(layers.GlobalAveragePool2D(), Dense(2, 3), dropout=0.3, pixels=nets.Pixels((1.0, 2.0), 99)),
    [4, 3, 3, 2], training=context(),
)  # fmt: skip
for name in ("caffe_pixels", "lite_pixels"):
    layer(f"layers.nets.{name}", "plain", getattr(nets, name), [2, 3, 2, 3])
layer("layers.nets.Pixels", "plain", lambda: nets.Pixels((1.0, 2.0), 3.0, bgr=True), [2, 3, 2, 2])

activations = layers.activations
for name in ("linear", "gelu", "silu", "softplus", "sigmoid", "tanh", "softmax", "log_softmax"):
    smooth = getattr(activations, name)
    add(f"layers.activations.{name}", "normal", lambda f=smooth: (f, normal(3, 4)), order=2)
    add(f"layers.activations.{name}", "wide-with-zeros", lambda f=smooth: (f, np.round(normal(2, 3, 4, scale=4.0))))
add(
    "layers.activations.gelu",
    "approximate",
    lambda: (lambda x: activations.gelu(x, approximate=True), normal(3, 4)),
    order=2,
)
for name in ("relu", "leaky_relu", "elu", "selu"):
    kinked = getattr(activations, name)
    add(f"layers.activations.{name}", "normal", lambda f=kinked: (f, normal(3, 4)), distance_to_kink=tf.abs, order=2)
# Their gradient has the kink, or has none at 0, where it is that of the left side.
zeros = np.array([[0.0, -1.5, 0.7], [2.0, 0.0, -0.2]])
for name in ("relu", "leaky_relu", "elu", "selu"):
    kinked = getattr(activations, name)
    add(f"layers.activations.{name}", "at-zero", lambda f=kinked: (f, zeros), distance_to_kink=tf.abs)
