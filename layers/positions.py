"""Positions in a sequence: learned, sinusoidal, and rotary."""

import numbers

import numpy as np
import tensorflow as tf

from layers import checks
from layers.base import Layer
from layers.enforcement import enforce


class PositionEmbedding(Layer):
    """x + embeddings[start + t] at each time t: `[batch, time, features]` → the same, a learned vector each.

    A sequence that ends beyond `max_length` is refused: where its length is known a ValueError before anything runs,
    else like an index outside the vocabulary of `Embedding`.
    Field: `embeddings: [max_length, features]`. Source: Gehring et al. 2017, section 3.1.

    >>> PositionEmbedding(512, 64)(tf.zeros([2, 100, 64])).shape
    TensorShape([2, 100, 64])
    """

    def __init__(self, max_length, features, *, embeddings_initializer="random_uniform", dtype=tf.float32):
        super().__init__(dtype)
        self.max_length = checks.positive(self, "max_length", max_length)
        self.features = checks.positive(self, "features", features)
        self.embeddings = self.variable("embeddings", [self.max_length, self.features], embeddings_initializer)

    def last_dimension(self, size):
        """`features`, of an input of `features`."""
        self.expect(size, self.features)
        return self.features

    def __call__(self, x, start=0):
        """x + embeddings[start : start + time]; start: an integer, or an integer scalar tensor."""
        x, start = self.take(x, rank=3, size=self.features), _start(self, start)
        time, message = lengths(x)[1], f"positions must lie in [0, {self.max_length})"
        if isinstance(start, int) and isinstance(time, int):
            if not 0 <= start <= self.max_length - time:
                raise ValueError(f"{self!r}: {message}, found {start} to {start + time - 1}")
            return x + tf.cast(self.embeddings[start : start + time], x.dtype)
        start, time = tf.convert_to_tensor(start, tf.int64), tf.cast(time, tf.int64)
        fits = (start >= 0) & (start + time <= self.max_length)
        found = tf.stack([start, start + time - 1])
        # Not a slice: XLA would compile it anew for every start.
        rows = enforce(self, fits, message, found, lambda: tf.gather(self.embeddings, start + tf.range(time)))
        return x + tf.cast(rows, x.dtype)


class SinusoidalPositions(Layer):
    """x + p at each time t: `[batch, time, features]` → the same, with no variables and no longest length.

        p[t, 2i] = sin(angle),  p[t, 2i + 1] = cos(angle),  angle = (start + t) / max_wavelength^(2i / features)

    Angles are computed in float64: in float32, the thousandth position would be off by 1e-4.
    Source: Vaswani et al. 2017, section 3.5.

    >>> SinusoidalPositions(4)(tf.zeros([1, 2, 4])).numpy()[0, 0].tolist()
    [0.0, 1.0, 0.0, 1.0]
    """

    def __init__(self, features, *, max_wavelength=10000):
        super().__init__()
        self.features = checks.positive(self, "features", features)
        self.max_wavelength = checks.above_zero(self, "max_wavelength", max_wavelength)

    def last_dimension(self, size):
        """`features`, of an input of `features`."""
        self.expect(size, self.features)
        return self.features

    def __call__(self, x, start=0):
        """x + p[start : start + time]; start: an integer, or an integer scalar tensor."""
        x, start = self.take(x, rank=3, size=self.features), _start(self, start)
        angles = _angles(start, lengths(x)[1], self.features, self.max_wavelength)
        waves = tf.reshape(tf.stack([tf.sin(angles), tf.cos(angles)], -1), [-1, 2 * angles.shape[1]])
        return x + tf.cast(waves[:, : self.features], x.dtype)


class RotaryPositions(Layer):
    """Each pair of features turned by an angle that grows with time: `[batch, time, …, key_dim]` → the same.

        y[2i]     = x[2i]·cos(angle) − x[2i + 1]·sin(angle)
        y[2i + 1] = x[2i]·sin(angle) + x[2i + 1]·cos(angle),  angle = (start + t) / max_wavelength^(2i / key_dim)

    So the product of a query and a key depends only on how far apart they are. Computed in at least float32, the
    angles in float64. Source: Su et al. 2021, "RoFormer", section 3.2.2 and equation 34.

    >>> RotaryPositions(2)(tf.ones([1, 2, 2])).numpy()[0, 0].tolist()
    [1.0, 1.0]
    """

    def __init__(self, key_dim, *, max_wavelength=10000):
        super().__init__()
        self.key_dim = checks.positive(self, "key_dim", key_dim)
        if self.key_dim % 2:
            raise ValueError(f"{self!r}: key_dim must be even, features turn in pairs, found {key_dim}")
        self.max_wavelength = checks.above_zero(self, "max_wavelength", max_wavelength)

    def last_dimension(self, size):
        """`key_dim`, of an input of `key_dim`."""
        self.expect(size, self.key_dim)
        return self.key_dim

    def __call__(self, x, start=0):
        """x, turned by its positions; start: an integer, or an integer scalar tensor."""
        x, start = self.take(x, size=self.key_dim), _start(self, start)
        if x.shape.rank < 3:
            raise ValueError(f"{self!r} expects an input of rank at least 3, found {x.shape}")
        wide, shape = tf.float64 if x.dtype == tf.float64 else tf.float32, lengths(x)
        angles = _angles(start, shape[1], self.key_dim, self.max_wavelength)
        between = [1] * (x.shape.rank - 3)
        angles = tf.reshape(angles, [shape[1], *between, self.key_dim // 2])
        cosine, sine = tf.cast(tf.cos(angles), wide), tf.cast(tf.sin(angles), wide)
        pairs = tf.reshape(tf.cast(x, wide), [*shape[:-1], self.key_dim // 2, 2])
        even, odd = pairs[..., 0], pairs[..., 1]
        turned = tf.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1)
        return tf.cast(tf.reshape(turned, shape), x.dtype)


def _start(layer, start):
    """`start` as an int, or as an int64 scalar tensor."""
    if isinstance(start, numbers.Integral) and not isinstance(start, bool):
        return int(start)
    if isinstance(start, (tf.Tensor, tf.Variable, np.ndarray)):
        tensor = tf.convert_to_tensor(start)
        if tensor.dtype.is_integer and tensor.shape.rank in (0, None):
            return tf.cast(tensor, tf.int64)
        start = f"{tensor.dtype.name} {tensor.shape}"
    raise ValueError(f"{layer!r}: start must be an integer or an integer scalar tensor, found {start}")


def lengths(x):
    """The sizes of `x`, each a number where it is known, else a tensor."""
    sizes = tf.unstack(tf.shape(x)) if None in x.shape.as_list() else x.shape
    return [size if known is None else known for known, size in zip(x.shape, sizes, strict=True)]


def _angles(start, time, features, max_wavelength):
    """float64 `[time, ⌈features / 2⌉]`: (start + t) / max_wavelength^(2i / features)."""
    positions = tf.cast(tf.convert_to_tensor(start, tf.int64) + tf.range(tf.cast(time, tf.int64)), tf.float64)
    exponents = tf.range(0, features, 2, tf.float64) / features
    return positions[:, None] * tf.constant(max_wavelength, tf.float64) ** -exponents
