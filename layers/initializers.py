"""Initial values of variables: `initializer(shape, dtype, seed=None)` gives a tensor.

With `seed=None` one seed is drawn from TensorFlow's global generator, so `tf.random.set_seed(s)` before
building makes a model reproducible; all else is stateless. A layer takes an initializer by name,
or as a function: `"he_normal"`, `truncated_normal(stddev=0.02)`, or your own.

>>> glorot_uniform([2, 3], tf.float64, seed=1).shape
TensorShape([2, 3])
>>> get("orthogonal")
orthogonal(gain=1.0)
"""

import dataclasses
import math
import numbers

import tensorflow as tf

from layers import checks, context

# The standard deviation of a standard normal cut at ±2.
CUT_NORMAL_STDDEV = 0.87962566103423978

MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")


def zeros(shape, dtype=tf.float32, seed=None):
    """All 0."""
    return tf.zeros(shape, dtype)


def ones(shape, dtype=tf.float32, seed=None):
    """All 1."""
    return tf.ones(shape, dtype)


def glorot_uniform(shape, dtype=tf.float32, seed=None):
    """Uniform with variance 2 / (fan_in + fan_out): Glorot and Bengio 2010, equation 16."""
    return variance_scaling(1.0, "fan_avg", "uniform")(shape, dtype, seed)


def glorot_normal(shape, dtype=tf.float32, seed=None):
    """Truncated normal with variance 2 / (fan_in + fan_out): Glorot and Bengio 2010, equation 12."""
    return variance_scaling(1.0, "fan_avg")(shape, dtype, seed)


def he_uniform(shape, dtype=tf.float32, seed=None):
    """Uniform with variance 2 / fan_in: He et al. 2015, equation 10."""
    return variance_scaling(2.0, distribution="uniform")(shape, dtype, seed)


def he_normal(shape, dtype=tf.float32, seed=None):
    """Truncated normal with variance 2 / fan_in: He et al. 2015, equation 10."""
    return variance_scaling(2.0)(shape, dtype, seed)


def lecun_uniform(shape, dtype=tf.float32, seed=None):
    """Uniform with variance 1 / fan_in: LeCun et al. 1998, "Efficient BackProp", equation 16."""
    return variance_scaling(distribution="uniform")(shape, dtype, seed)


def lecun_normal(shape, dtype=tf.float32, seed=None):
    """Truncated normal with variance 1 / fan_in: LeCun et al. 1998, "Efficient BackProp", equation 16."""
    return variance_scaling()(shape, dtype, seed)


@dataclasses.dataclass(frozen=True)
class constant:
    """All `value`: a number, or an array that broadcasts to the shape."""

    value: float = 0.0

    def __call__(self, shape, dtype=tf.float32, seed=None):
        """The value, `shape` times."""
        return tf.broadcast_to(tf.constant(self.value, dtype), shape)


@dataclasses.dataclass(frozen=True)
class random_uniform:
    """Uniform in [minval, maxval)."""

    minval: float = -0.05
    maxval: float = 0.05

    def __call__(self, shape, dtype=tf.float32, seed=None):
        """A draw of `shape`."""
        return tf.cast(tf.random.stateless_uniform(shape, _seed(seed), self.minval, self.maxval, _wide(dtype)), dtype)


@dataclasses.dataclass(frozen=True)
class random_normal:
    """Normal."""

    mean: float = 0.0
    stddev: float = 0.05

    def __call__(self, shape, dtype=tf.float32, seed=None):
        """A draw of `shape`."""
        return tf.cast(tf.random.stateless_normal(shape, _seed(seed), self.mean, self.stddev, _wide(dtype)), dtype)


@dataclasses.dataclass(frozen=True)
class truncated_normal:
    """Normal, drawn again beyond two `stddev`, which is that of the uncut normal (0.88 times it remain)."""

    mean: float = 0.0
    stddev: float = 0.05

    def __call__(self, shape, dtype=tf.float32, seed=None):
        """A draw of `shape`."""
        draw = tf.random.stateless_truncated_normal(shape, _seed(seed), self.mean, self.stddev, _wide(dtype))
        return tf.cast(draw, dtype)


@dataclasses.dataclass(frozen=True)
class variance_scaling:
    """Mean 0 and variance scale / n, n the `mode`: "fan_in", "fan_out", or their mean "fan_avg" (see `fans`).

    distribution: "truncated_normal" (cut at two standard deviations of the uncut one, and of the right variance
    after it), "untruncated_normal" or "uniform".
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"

    def __post_init__(self):
        if not 0 < self.scale < math.inf:
            raise ValueError(f"variance_scaling: scale must be positive, found {self.scale!r}")
        for name, allowed in (("mode", MODES), ("distribution", DISTRIBUTIONS)):
            if getattr(self, name) not in allowed:
                expected, found = ", ".join(map(repr, allowed)), getattr(self, name)
                raise ValueError(f"variance_scaling: {name} must be one of {expected}, found {found!r}")

    def __call__(self, shape, dtype=tf.float32, seed=None):
        """A draw of `shape`."""
        fan_in, fan_out = fans(shape)
        count = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        stddev = math.sqrt(self.scale / count)
        draw = {
            "truncated_normal": truncated_normal(0.0, stddev / CUT_NORMAL_STDDEV),
            "untruncated_normal": random_normal(0.0, stddev),
            "uniform": random_uniform(-math.sqrt(3) * stddev, math.sqrt(3) * stddev),
        }[self.distribution]
        return draw(shape, dtype, seed)


@dataclasses.dataclass(frozen=True)
class identity:
    """`gain` on the diagonal, else 0, for a matrix of any two sizes."""

    gain: float = 1.0

    def __call__(self, shape, dtype=tf.float32, seed=None):
        """The matrix of `shape`."""
        if len(shape) != 2:
            raise ValueError(f"identity needs a shape of 2 dimensions, found {list(shape)}")
        return tf.constant(self.gain, dtype) * tf.eye(*shape, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class orthogonal:
    """`gain` times a uniformly drawn matrix with orthonormal columns, or rows if those are fewer.

    The last dimension makes the columns, all others the rows. Source: Saxe et al. 2014, section 3;
    the signs of R's diagonal make Q uniform: Mezzadri 2007, section 5.
    """

    gain: float = 1.0

    def __call__(self, shape, dtype=tf.float32, seed=None):
        """A draw of `shape`, of rank 2 or more."""
        if len(shape) < 2:
            raise ValueError(f"orthogonal needs a shape of at least 2 dimensions, found {list(shape)}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        normal = tf.random.stateless_normal([max(rows, columns), min(rows, columns)], _seed(seed), dtype=_wide(dtype))
        q, r = tf.linalg.qr(normal)
        q *= tf.sign(tf.linalg.diag_part(r))
        matrix = tf.transpose(q) if rows < columns else q
        return tf.cast(tf.reshape(self.gain * matrix, shape), dtype)


@dataclasses.dataclass(frozen=True)
class dirac:
    """A convolution that hands on its channels: filter i < in has 1 for channel i in the window's middle, else 0.

    Filters beyond the channels are uniform with variance 1 / (3 fan_in). Of an even side the middle is k / 2.
    Source: Zagoruyko and Komodakis 2017, "DiracNets", section 2; in part: Jordan, arXiv 2404.00498, section 3.2.
    """

    gain: float = 1.0

    def __call__(self, shape, dtype=tf.float32, seed=None):
        """The kernel of `shape`, [*window, in, out]."""
        if len(shape) < 2:
            raise ValueError(f"dirac needs a shape of at least 2 dimensions, found {list(shape)}")
        *window, channels, filters = shape
        middle = tf.one_hot(sum(k // 2 * math.prod(window[i + 1 :]) for i, k in enumerate(window)), math.prod(window))
        eye = tf.eye(channels, min(channels, filters), dtype=dtype)
        kernel = tf.cast(middle, dtype)[:, None, None] * (tf.constant(self.gain, dtype) * eye)
        if filters > channels:
            rest = variance_scaling(1 / 3, distribution="uniform")([*window, channels, filters - channels], dtype, seed)
            kernel = tf.concat([kernel, tf.reshape(rest, [-1, channels, filters - channels])], axis=-1)
        return tf.reshape(kernel, shape)


BY_NAME = {
    initializer.__name__: initializer
    for initializer in (
        zeros, ones, constant, glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform,
        lecun_normal, random_uniform, random_normal, truncated_normal, variance_scaling, orthogonal, identity,
        dirac,
    )
}  # fmt: skip


def get(initializer):
    """The initializer of that name, with its default parameters, or the function itself."""
    found = checks.lookup("initializer", initializer, BY_NAME)
    return found() if isinstance(found, type) else found


def fans(shape):
    """(fan_in, fan_out) of a kernel `[…window, in, out]`: connections of an output and of an input unit.

    As in Keras, a grouped convolution's fan_out counts the filters of all groups.

    >>> fans([3, 3, 16, 32])
    (144, 288)
    """
    if len(shape) < 2:
        size = max(1, math.prod(shape))
        return size, size
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def _wide(dtype):
    """The dtype to draw in: 8 bits of bfloat16 would leave 128 values to a uniform, all rounded down."""
    return tf.float64 if dtype == tf.float64 else tf.float32


def _seed(seed):
    """A seed `[2]` from None (a fresh one), an integer, or a pair."""
    if seed is None:
        return context.fresh_seed()
    return [seed, 0] if isinstance(seed, numbers.Integral) else seed
