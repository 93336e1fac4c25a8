"""The dense layer."""

import tensorflow as tf

from layers import activations, checks
from layers.base import Layer


class Dense(Layer):
    """activation(x·kernel + bias): `[…, in_features]` → `[…, units]`, of rank 2 or more.

    Fields: `kernel: [in_features, units]`, `bias: [units]` or None.
    `activation` is a name (see `layers.activations`), a function, or None; initializers likewise.

    >>> dense = Dense(784, 128, activation="relu")
    >>> dense
    Dense(784, 128, activation='relu')
    >>> dense(tf.zeros([32, 784])).shape
    TensorShape([32, 128])
    """

    def __init__(
        self,
        in_features,
        units,
        *,
        activation=None,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        dtype=tf.float32,
    ):
        super().__init__(dtype)
        self.in_features = checks.positive(self, "in_features", in_features)
        self.units = checks.positive(self, "units", units)
        self.activation = activations.get(activation)
        self.kernel = self.variable("kernel", [self.in_features, self.units], kernel_initializer)
        self.bias = self.variable("bias", [self.units], bias_initializer) if use_bias else None

    def last_dimension(self, size):
        """`units`, of an input of `in_features`."""
        self.expect(size, self.in_features)
        return self.units

    def __call__(self, x):
        """activation(x·kernel + bias)."""
        x = self.take(x)
        kernel = tf.cast(self.kernel, x.dtype)
        y = x @ kernel if x.shape.rank == 2 else tf.tensordot(x, kernel, 1)
        if self.bias is not None:
            y = tf.nn.bias_add(y, tf.cast(self.bias, x.dtype))
        return self.activation(y)
