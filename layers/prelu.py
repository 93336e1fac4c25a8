"""The activation that learns its slope."""

import tensorflow as tf

from layers import checks
from layers.base import Layer


class PReLU(Layer):
    """x where x > 0, else alpha·x, with a slope for each channel: `[batch, …, channels]` → the same.

    The gradient at 0 is alpha. Field: `alpha: [channels]` (Keras' with `shared_axes` of all but the last).
    Source: He et al. 2015, equation 1, whose alpha starts at 0.25 where Keras' starts at 0.

    >>> PReLU(2, alpha_initializer="ones")(tf.constant([[-1.0, 2.0]])).numpy().tolist()
    [[-1.0, 2.0]]
    """

    def __init__(self, channels, *, alpha_initializer="zeros", dtype=tf.float32):
        super().__init__(dtype)
        self.channels = checks.positive(self, "channels", channels)
        self.alpha = self.variable("alpha", [self.channels], alpha_initializer)

    def last_dimension(self, size):
        """`channels`, of an input of `channels`."""
        self.expect(size, self.channels)
        return self.channels

    def __call__(self, x):
        """x where x > 0, else alpha·x."""
        x = self.take(x, size=self.channels)
        return tf.where(x > 0, x, tf.cast(self.alpha, x.dtype) * x)
