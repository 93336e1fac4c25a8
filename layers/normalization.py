"""Normalisation."""

import functools

import tensorflow as tf

from layers import checks, context
from layers.base import Layer


class BatchNorm(Layer):
    """gamma·(x − mean) / √(variance + epsilon) + beta, by channel: `[batch, …, channels]` → the same.

    In training, mean and (biased) variance are those of the whole batch: over all dimensions but the
    last, all replicas, without padding rows; and `moving = momentum·moving + (1 − momentum)·batch`
    follows them. In inference, and when the layer is frozen, the moving statistics take their place.
    Statistics are taken in two passes (mean, then centred squares) in at least float32, so they
    stay right at mean 1000 and variance 1. If no row of the batch is valid, nothing moves.
    Padding rows come out as 0 and pass no gradient, whatever is in them or comes back to them.

    With `sync=False` each replica normalises by the mean and variance of its own slice: nothing waits for the other
    replicas on the way, but outputs and gradients depend on how the batch was cut, and a slice of one value
    a channel comes out as beta. The moving statistics stay equal on all replicas: they follow the means over
    replicas, weighted by counts, of the slices' means and variances. That mean is the batch's; that variance is
    the one within slices, which the spread of the slices' means does not enter.

    Fields, all `[channels]`: `gamma` (None without `scale`), `beta` (None without `center`), and not
    trainable `moving_mean`, `moving_variance`, which are at least float32 too.
    Source: Ioffe and Szegedy 2015, algorithms 1 and 2; across replicas: Zhang et al. 2018, section 3.

    >>> norm = BatchNorm(3)
    >>> y = norm(tf.random.normal([32, 5, 5, 3], 7.0), training=True)
    >>> bool(tf.reduce_all(tf.abs(tf.reduce_mean(y, [0, 1, 2])) < 1e-4))
    True
    """

    def __init__(
        self,
        channels,
        *,
        momentum=0.99,
        epsilon=1e-3,
        center=True,
        scale=True,
        beta_initializer="zeros",
        gamma_initializer="ones",
        moving_mean_initializer="zeros",
        moving_variance_initializer="ones",
        sync=True,
        dtype=tf.float32,
    ):
        super().__init__(dtype)
        self.channels = checks.positive(self, "channels", channels)
        if not 0 <= momentum <= 1:
            raise ValueError(f"{self!r}: momentum must lie in [0, 1], found {momentum!r}")
        self.epsilon = checks.above_zero(self, "epsilon", epsilon)
        self.momentum, self.sync = float(momentum), bool(sync)
        shape, wide = [self.channels], at_least_float32(self.dtype)
        self.gamma = self.variable("gamma", shape, gamma_initializer) if scale else None
        self.beta = self.variable("beta", shape, beta_initializer) if center else None
        self.moving_mean = self.variable("moving_mean", shape, moving_mean_initializer, dtype=wide, trainable=False)
        self.moving_variance = self.variable(
            "moving_variance", shape, moving_variance_initializer, dtype=wide, trainable=False
        )

    def last_dimension(self, size):
        """`channels`, of an input of `channels`."""
        self.expect(size, self.channels)
        return self.channels

    def __call__(self, x, training=False):
        """Normalises by the batch's statistics in training, else by the moving ones."""
        x = self.take(x, size=self.channels)
        wide = at_least_float32(x.dtype)
        gamma = tf.ones([self.channels], wide) if self.gamma is None else tf.cast(self.gamma, wide)
        beta = tf.zeros([self.channels], wide) if self.beta is None else tf.cast(self.beta, wide)
        if not (training and self.trainable):
            mean, variance = tf.cast(self.moving_mean, wide), tf.cast(self.moving_variance, wide)
            y = (tf.cast(x, wide) - mean) * (gamma * tf.math.rsqrt(variance + self.epsilon)) + beta
            return tf.cast(y, x.dtype)
        alone = context.valid_rows(training) is None and (context.replicas(training) == 1 or not self.sync)
        # TensorFlow's fused op has no float64; elsewhere it is two to three times faster.
        if alone and wide == tf.float32:
            return self._fused(x, gamma, beta, training)
        total = functools.partial(context.all_reduce, training) if self.sync else tf.identity
        centred, mean, variance, count, valid = _moments(tf.cast(x, wide), context.valid_rows(training), total)
        self._follow(mean, variance, count, training)
        y = centred * (gamma * tf.math.rsqrt(variance + self.epsilon)) + beta
        return tf.cast(_where(valid, y), x.dtype)

    def _fused(self, x, gamma, beta, training):
        """Training on all rows of one slice, in one op."""
        images = x if x.shape.rank == 4 else tf.reshape(x, [-1, 1, 1, self.channels])
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=images, scale=gamma, offset=beta, mean=[], variance=[], epsilon=self.epsilon, is_training=True
        )
        count = tf.cast(tf.size(x) // self.channels, tf.float32)
        # The op returns the unbiased variance, which divides by count − 1.
        self._follow(mean, variance * (tf.maximum(count - 1, 1) / count), count, training)
        return tf.reshape(y, tf.shape(x)) if images is not x else y

    def _follow(self, mean, variance, count, training):
        """Moves the moving statistics towards the batch's: once a step, and not if the batch was empty."""
        if context.replaying(training):
            return
        if context.replicas(training) > 1 and not self.sync:
            mean, variance, count = _weighted_means(mean, variance, count, training)
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            old = tf.cast(moving, batch.dtype)
            new = old * self.momentum + batch * (1 - self.momentum)
            moving.assign(tf.cast(tf.where(count > 0, new, old), moving.dtype))


def _moments(x, rows, total):
    """(x − mean, mean, variance, count, valid), over the first `rows` rows (None: all) and `total`'s replicas.

    valid: bool `[batch, 1, …]` or None; x − mean is 0 where it is False.
    """
    axes, shape = list(range(x.shape.rank - 1)), tf.shape(x)
    valid = None
    if rows is not None:
        valid = tf.reshape(tf.range(shape[0]) < rows, [-1] + [1] * len(axes))
    own = tf.cast((shape[0] if rows is None else rows) * tf.reduce_prod(shape[1:-1]), x.dtype)
    sums = total(tf.concat([tf.reduce_sum(_where(valid, x), axes), own[None]], 0))
    count = sums[-1]
    mean = tf.math.divide_no_nan(sums[:-1], count)
    centred = _where(valid, x - mean)
    squares = total(tf.reduce_sum(tf.square(centred), axes))
    return centred, mean, tf.math.divide_no_nan(squares, count), count, valid


def _weighted_means(mean, variance, count, training):
    """Means over the replicas of their slices' mean and variance, weighted by count; and the count of all."""
    own = tf.stop_gradient(tf.concat([count * mean, count * variance, count[None]], 0))
    means, variances, count = tf.split(context.all_reduce(training, own), [mean.shape[0], mean.shape[0], 1])
    return tf.math.divide_no_nan(means, count), tf.math.divide_no_nan(variances, count), count[0]


def _where(valid, x):
    """`x` in the valid rows, else 0 (a product with 0 would let NaN through)."""
    return x if valid is None else tf.where(valid, x, tf.zeros([], x.dtype))


def at_least_float32(dtype):
    """The dtype in which statistics of values of `dtype` are taken."""
    return tf.float64 if dtype == tf.float64 else tf.float32
