"""Normalisation of each example, or each position of it, over its features."""

import tensorflow as tf

from layers import checks
from layers.base import Layer
from layers.normalization import at_least_float32


class LayerNorm(Layer):
    """gamma·(x − mean) / √(variance + epsilon) + beta, over the last axes of each example: `[…, *features]` → the same.

    features: the size of the last axis, or the sizes of the last axes, such as `(height, width, channels)`.
    Mean and (biased) variance are over those axes together, in two passes (mean, then centred squares) in at
    least float32, so they stay right at mean 1000 and variance 1. Training and inference are the same.

    Fields, of the shape of the last axes: `gamma` (None without `scale`), `beta` (None without `center`).
    Source: Ba, Kiros and Hinton 2016, equation 3 and section 3.1.

    >>> norm = LayerNorm(4)
    >>> y = norm(tf.constant([[1.0, 2.0, 3.0, 4.0]]))
    >>> [round(float(value), 3) for value in y[0]]
    [-1.341, -0.447, 0.447, 1.341]
    """

    def __init__(
        self,
        features,
        *,
        epsilon=1e-3,
        center=True,
        scale=True,
        beta_initializer="zeros",
        gamma_initializer="ones",
        dtype=tf.float32,
    ):
        super().__init__(dtype)
        self.features = _sizes(self, features)
        self.epsilon = checks.above_zero(self, "epsilon", epsilon)
        self.gamma = self.variable("gamma", self.features, gamma_initializer) if scale else None
        self.beta = self.variable("beta", self.features, beta_initializer) if center else None

    def last_dimension(self, size):
        """The last of `features`, of an input of the same."""
        self.expect(size, self.features[-1])
        return self.features[-1]

    def __call__(self, x):
        """Normalises over the last axes."""
        x = _take(self, x)
        wide = at_least_float32(x.dtype)
        y, axes = tf.cast(x, wide), list(range(-len(self.features), 0))
        y -= tf.reduce_mean(y, axes, keepdims=True)
        y *= tf.math.rsqrt(tf.reduce_mean(tf.square(y), axes, keepdims=True) + self.epsilon)
        if self.gamma is not None:
            y *= tf.cast(self.gamma, wide)
        if self.beta is not None:
            y += tf.cast(self.beta, wide)
        return tf.cast(y, x.dtype)


class RMSNorm(Layer):
    """scale·x / √(mean(x²) + epsilon), over the last axes of each example: `[…, *features]` → the same.

    features: the size of the last axis, or the sizes of the last axes. The mean is over those axes together, in at
    least float32. Training and inference are the same.

    Field: `scale`, of the shape of the last axes. Source: Zhang and Sennrich 2019, equation 4.

    >>> y = RMSNorm(2)(tf.constant([[3.0, 4.0]]))
    >>> [round(float(value), 3) for value in y[0]]
    [0.849, 1.131]
    """

    def __init__(self, features, *, epsilon=1e-6, dtype=tf.float32):
        super().__init__(dtype)
        self.features = _sizes(self, features)
        self.epsilon = checks.above_zero(self, "epsilon", epsilon)
        self.scale = self.variable("scale", self.features, "ones")

    def last_dimension(self, size):
        """The last of `features`, of an input of the same."""
        self.expect(size, self.features[-1])
        return self.features[-1]

    def __call__(self, x):
        """Divides by the root of the mean square over the last axes."""
        x = _take(self, x)
        wide = at_least_float32(x.dtype)
        y, axes = tf.cast(x, wide), list(range(-len(self.features), 0))
        y *= tf.math.rsqrt(tf.reduce_mean(tf.square(y), axes, keepdims=True) + self.epsilon)
        return tf.cast(y * tf.cast(self.scale, wide), x.dtype)


def _sizes(layer, features):
    """One positive integer or several, as a tuple."""
    several = tuple(features) if isinstance(features, (tuple, list, tf.TensorShape)) else (features,)
    if not several:
        raise ValueError(f"{layer!r}: features must name at least one axis, found {features!r}")
    return tuple(checks.positive(layer, "features", size) for size in several)


def _take(layer, x):
    """`x` as a floating tensor of a batch of what `layer.features` says."""
    x, axes = layer.take(x), len(layer.features)
    if x.shape.rank <= axes or not x.shape[-axes:].is_compatible_with(layer.features):
        expected = ", ".join(map(str, layer.features))
        raise ValueError(f"{layer!r} expects an input of shape [batch, ..., {expected}], found {x.shape.as_list()}")
    return x if x.shape[-axes:].is_fully_defined() else tf.ensure_shape(x, [*x.shape[:-axes], *layer.features])
