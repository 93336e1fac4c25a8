"""Random cases of functions whose gradients are right: `random_case(seed)`, the same one for every seed.

Values come in sizes from 1e-3 to 1e3 (for what has no scale of its own, from 1e-12 to 1e12), with zeros and
repetitions; what has kinks is kept away from them by a margin.
"""

import functools

import numpy as np
import tensorflow as tf
from points import context, settled
from registry import Case

import layers
import optim
from engine import losses

MAKERS = []


def maker(function):
    """A function of two generators, of the design and of the numbers, that returns (callable, inputs, options)."""
    MAKERS.append(function)
    return function


def random_case(seed):
    """Case number `seed`. Ten in a row share the design, as TensorFlow's forward mode traces every new shape."""
    design, numbers = np.random.default_rng([seed // 10, 4]), np.random.default_rng([seed, 5])
    make = choose(design, *MAKERS)
    order = 2 if design.random() < 0.1 and make is not narrow else 1
    function, inputs, options = make(design, numbers)
    return Case(make.__name__, str(seed), lambda: (function, inputs), order, (), options)


def shape(rng, rank=None, most=4):
    """A shape of rank 1 to 4, or of that rank."""
    return tuple(int(n) for n in rng.integers(1, most + 1, rng.integers(1, 5) if rank is None else rank))


def values(rng, size, scale=None):
    """Normal numbers of a random scale, at times with zeros, repetitions, or sizes that differ a thousandfold."""
    x = rng.normal(size=size) * (10.0 ** rng.uniform(-3, 1) if scale is None else scale)
    kind = rng.integers(6)
    if kind == 0:
        x = np.where(rng.random(size) < 0.3, 0.0, x)
    if kind == 1:
        x = rng.choice(x.ravel(), size)
    if kind == 2:
        x = x * 10.0 ** rng.uniform(-3, 0, size)
    return x


def apart(rng, size):
    """Numbers of a random scale whose distances, and those from 0, are not small beside it."""
    count = int(np.prod(size))
    steps = rng.permutation(2 * count)[:count].reshape(size) - count + 0.5
    return steps / count * 10.0 ** rng.uniform(-3, 3)


def trained(rng):
    """The argument `training`: a context, or none."""
    return {"training": context()} if rng.random() < 0.6 else {"training": False}


def choose(rng, *items):
    return items[rng.integers(len(items))]


SMOOTH = ("linear", "gelu", "silu", "softplus", "sigmoid", "tanh", "softmax", "log_softmax")


@maker
def smooth_activation(rng, numbers):
    return getattr(layers.activations, choose(rng, *SMOOTH)), values(numbers, shape(rng)), {}


@maker
def kinked_activation(rng, numbers):
    function = getattr(layers.activations, choose(rng, "relu", "leaky_relu", "elu", "selu"))
    return function, apart(numbers, shape(rng)), choose(rng, {}, {"distance_to_kink": tf.abs})


@maker
def dense(rng, numbers):
    features, *rest = shape(rng, most=3)
    layer = layers.Dense(
        features, int(rng.integers(1, 6)), activation=choose(rng, *SMOOTH), use_bias=rng.random() < 0.7
    )
    return settled(layer, int(numbers.integers(1000))), values(numbers, (*rest, 2, features)), {}


@maker
def convolution(rng, numbers):
    groups = int(rng.integers(1, 3))
    kernel, dilation = (tuple(int(n) for n in rng.integers(1, 3 + i, 2)) for i in (1, 0))
    strides = tuple(int(n) for n in rng.integers(1, 4, 2)) if dilation == (1, 1) else 1
    layer = layers.Conv2D(
        2 * groups, groups * int(rng.integers(1, 3)), kernel, strides=strides, dilation_rate=dilation, groups=groups,
        padding=choose(rng, "valid", "same"), activation=choose(rng, "linear", "tanh"),
    )  # fmt: skip
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [int(n + rng.integers(0, 4)) for n in reach]
    return settled(layer, int(numbers.integers(1000))), values(numbers, (2, *size, 2 * groups)), {}


@maker
def pool(rng, numbers):
    kind = choose(rng, layers.MaxPool2D, layers.AveragePool2D)
    layer = kind(int(rng.integers(1, 4)), int(rng.integers(1, 3)), choose(rng, "valid", "same"))
    return layer, apart(numbers, (2, *rng.integers(3, 6, 2), 2)), {}


@maker
def batch_norm(rng, numbers):
    channels = int(rng.integers(1, 4))
    layer = layers.BatchNorm(channels, epsilon=0.1, center=rng.random() < 0.7, scale=rng.random() < 0.7)
    rows = tf.constant(int(rng.integers(2, 5)))
    training = choose(rng, False, True, context(), context(valid_rows=rows))
    x = values(numbers, (5, *shape(rng, 1), channels), 1.0)
    return settled(layer, int(numbers.integers(1000))), x, {"training": training}


@maker
def stack(rng, numbers):
    act = choose(rng, "tanh", "gelu", "softplus")
    inner = layers.Sequential([layers.Dense(3, 4, activation=act), layers.Dropout(0.3), layers.BatchNorm(4)])
    inner = layers.recompute(inner) if rng.random() < 0.3 else inner
    model = layers.Sequential([inner, layers.Dense(4, 2)])
    return settled(model, int(numbers.integers(1000))), values(numbers, (4, 3), 1.0), trained(rng)


@maker
def loss(rng, numbers):
    size = (*shape(rng, int(rng.integers(1, 3))), int(rng.integers(2, 5)))
    outputs = values(numbers, size, 10.0 ** numbers.uniform(-3, 1.3))
    kind = choose(rng, "sparse", "categorical", "binary", "squared", "absolute")
    if kind == "sparse":
        return losses.sparse_categorical_crossentropy, (numbers.integers(0, size[-1], size[:-1]), outputs), {}
    if kind == "categorical":
        given = tf.constant(numbers.dirichlet(np.ones(size[-1]), size[:-1]))
        return functools.partial(losses.categorical_crossentropy, given), outputs, {}
    if kind == "binary":
        return losses.binary_crossentropy, (numbers.integers(0, 2, size), outputs), {}
    if kind == "squared":
        return losses.mean_squared_error, (values(numbers, size), outputs), {}
    return losses.mean_absolute_error, (np.zeros(size, int), apart(numbers, size)), {}


@maker
def update(rng, numbers):
    size = shape(rng)
    g, x, m = (values(numbers, size, 10.0 ** numbers.uniform(-3, 1)) for _ in range(3))
    if rng.random() < 0.4:
        momentum = optim.SGD(momentum=0.9, nesterov=rng.random() < 0.5)
        return functools.partial(momentum.update, "x", learning_rate=0.1, momentum=0.9), (g, x, m), {}
    rates = {"alpha": 0.1, "rate_1": 0.1, "rate_2": 0.1, "epsilon": 1e-3}
    v = np.mean(np.square(g)) * numbers.uniform(0.5, 2, size) + 1e-6
    return functools.partial(optim.Adam().update, "x", **rates), (g, x, m, v), {}


@maker
def clipping(rng, numbers):
    clip = choose(rng, optim.clip_by_norm, optim.clip_by_global_norm)
    first, second = numbers.normal(size=shape(rng)), numbers.normal(size=shape(rng))
    limit = choose(rng, 0.3, 30.0) * np.sqrt(first.size)
    return lambda *g: clip(limit)(list(g), []), (first, second), {}


SCALE_FREE = (
    lambda a, b: a * b,
    lambda a, b: a - 2 * b,
    lambda a, b: tf.einsum("ij,kj->ik", a, b),
    lambda a, b: tf.concat([tf.cumsum(a, 1), b[:, ::-1]], 0),
    lambda a, b: tf.norm(a) * b,
    lambda a, b: (tf.gather(a, [0, 1, 0]), tf.reduce_prod(b, 0)),
    lambda a, b: a[:, :1] * b + tf.reduce_mean(b, 1, keepdims=True) * a,
    lambda a, b: tf.math.unsorted_segment_sum(a * b, [1, 0], 3),
    lambda a, b: {"sum": tf.reduce_sum(tf.square(a)), "rest": [b, tf.pad(b * b, [[1, 0], [0, 2]])]},
)


@maker
def scale_free(rng, numbers):
    """Polynomials: every input of a size of its own."""
    sizes = 10.0 ** numbers.uniform(-12, 12, 2)
    return choose(rng, *SCALE_FREE), tuple(values(numbers, (2, 3), size) for size in sizes), {}


def root(x):
    """√x by Newton's method, in a loop."""
    return tf.while_loop(lambda i, y: i < 8, lambda i, y: (i + 1, 0.5 * (y + x / y)), (0, tf.ones_like(x)))[1]


POSITIVE = (
    tf.math.log,
    tf.math.lgamma,
    tf.math.rsqrt,
    root,
    lambda x: x**2.5,
    lambda x: x / tf.reduce_sum(x),
    lambda x: tf.math.reduce_logsumexp(x, 0),
    lambda x: tf.exp(-x) * tf.sin(x),
    lambda x: tf.math.atan2(x, x[::-1] + 1),
    lambda x: tf.math.erf(x) + tf.math.log1p(x),
    lambda x: tf.linalg.inv(tf.linalg.diag(x) + 0.1),
)


@maker
def positive(rng, numbers):
    return choose(rng, *POSITIVE), np.exp(numbers.normal(size=shape(rng))), {}


ORDERED = (
    tf.sort,
    tf.abs,
    lambda x: tf.maximum(x, 0.1 * x[..., ::-1]),
    lambda x: tf.reduce_max(x, -1),
    lambda x: tf.where(x > 0, tf.square(x), x),
    lambda x: tf.math.top_k(x, 1).values,
    lambda x: tf.sign(x) * tf.square(x),
)


@maker
def ordered(rng, numbers):
    return choose(rng, *ORDERED), apart(numbers, shape(rng)), {}


@maker
def narrow(rng, numbers):
    """In float32, with numbers of the size of 1."""
    layer = choose(rng, layers.Dense(3, 2, activation="tanh"), layers.BatchNorm(3), layers.Conv2D(3, 2, 2))
    rank = 4 if isinstance(layer, layers.Conv2D) else 2
    x = numbers.normal(size=(*rng.integers(3, 6, rank - 1), 3))
    return settled(layer, int(numbers.integers(1000))), x, {"dtype": "float32", "training": True}
