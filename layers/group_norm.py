"""Normalisation of each example's groups of channels over its positions."""

import tensorflow as tf

from layers import checks
from layers.base import Layer
from layers.normalization import at_least_float32


class GroupNorm(Layer):
    """gamma·(x − mean) / √(variance + epsilon) + beta, by example and group: `[batch, …, channels]` → the same.

    The channels fall into `groups` of neighbours; mean and (biased) variance are over all positions and the
    channels of a group, in two passes in at least float32. Training and inference are the same, and no example
    sees another. With as many groups as channels, an input without positions, `[batch, channels]`, is refused: each
    value would be its own mean.

    Fields, all `[channels]`: `gamma` (None without `scale`), `beta` (None without `center`).
    Source: Wu and He 2018, equations 1, 2 and 7.

    >>> GroupNorm(6, groups=3)(tf.zeros([2, 5, 5, 6])).shape
    TensorShape([2, 5, 5, 6])
    """

    def __init__(
        self,
        channels,
        groups=32,
        *,
        epsilon=1e-3,
        center=True,
        scale=True,
        beta_initializer="zeros",
        gamma_initializer="ones",
        dtype=tf.float32,
    ):
        super().__init__(dtype)
        self.channels = checks.positive(self, "channels", channels)
        self.groups = checks.positive(self, "groups", groups)
        if self.channels % self.groups:
            raise ValueError(f"{self!r}: groups must divide channels, found {self.groups} and {self.channels}")
        self.epsilon = checks.above_zero(self, "epsilon", epsilon)
        self.gamma = self.variable("gamma", [self.channels], gamma_initializer) if scale else None
        self.beta = self.variable("beta", [self.channels], beta_initializer) if center else None

    def last_dimension(self, size):
        """`channels`, of an input of `channels`."""
        self.expect(size, self.channels)
        return self.channels

    def __call__(self, x):
        """Normalises each example by its own groups."""
        x = self.take(x, size=self.channels)
        if x.shape.rank == 2 and self.groups == self.channels:
            raise ValueError(f"{self!r} expects an input with positions, [batch, ..., channels], found {x.shape}")
        wide, shape = at_least_float32(x.dtype), tf.shape(x)
        # [batch, positions, groups, channels of one]
        split = [shape[0], tf.reduce_prod(shape[1:-1]), self.groups, self.channels // self.groups]
        y = tf.reshape(tf.cast(x, wide), split)
        y -= tf.reduce_mean(y, [1, 3], keepdims=True)
        y *= tf.math.rsqrt(tf.reduce_mean(tf.square(y), [1, 3], keepdims=True) + self.epsilon)
        y = tf.ensure_shape(tf.reshape(y, shape), x.shape)
        if self.gamma is not None:
            y *= tf.cast(self.gamma, wide)
        if self.beta is not None:
            y += tf.cast(self.beta, wide)
        return tf.cast(y, x.dtype)


class InstanceNorm(GroupNorm):
    """gamma·(x − mean) / √(variance + epsilon) + beta, by example and channel: `[batch, …, channels]` → the same.

    Mean and variance are over the positions alone: `GroupNorm` with as many groups as channels.

    Fields as `GroupNorm`'s. Source: Ulyanov, Vedaldi and Lempitsky 2016, equation 5.

    >>> InstanceNorm(3)(tf.zeros([2, 5, 5, 3])).shape
    TensorShape([2, 5, 5, 3])
    """

    def __init__(
        self,
        channels,
        *,
        epsilon=1e-3,
        center=True,
        scale=True,
        beta_initializer="zeros",
        gamma_initializer="ones",
        dtype=tf.float32,
    ):
        super().__init__(
            channels,
            channels,
            epsilon=epsilon,
            center=center,
            scale=scale,
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            dtype=dtype,
        )
