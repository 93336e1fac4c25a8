"""Activations: functions of a floating tensor of any shape that keep its shape and dtype.

>>> get("leaky_relu")(tf.constant([-1.0, 2.0])).numpy().tolist()
[-0.20000000298023224, 2.0]
"""

import math

import tensorflow as tf

from layers import checks


def linear(x):
    """x."""
    return x


def relu(x):
    """max(x, 0); the gradient at 0 is 0."""
    return tf.nn.relu(x)


def leaky_relu(x, negative_slope=0.2):
    """x where x > 0, else negative_slope·x: Maas et al. 2013 (with another default slope, Keras')."""
    return tf.where(x > 0, x, tf.constant(negative_slope, x.dtype) * x)


def elu(x):
    """x where x > 0, else exp(x) − 1: Clevert et al. 2016, equation 15."""
    return tf.nn.elu(x)


def selu(x):
    """λx where x > 0, else λα(exp(x) − 1), λ = 1.0507…, α = 1.6733…: Klambauer et al. 2017, equation 2."""
    return tf.nn.selu(x)


def gelu(x, approximate=False):
    """x·Φ(x) with the normal distribution function Φ: Hendrycks and Gimpel 2016.

    `approximate`: 0.5x(1 + tanh(√(2/π)·(x + 0.044715x³))), their second formula.
    """
    # Not tf.nn.gelu: its constants pass through float32, which costs half the digits of float64.
    if approximate:
        return 0.5 * x * (1 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * tf.math.erfc(-math.sqrt(0.5) * x)


def silu(x):
    """x·sigmoid(x), also called swish: Elfwing et al. 2018; Ramachandran et al. 2017."""
    return x * tf.sigmoid(x)


def softplus(x):
    """log(1 + exp(x)), without overflow: Dugas et al. 2001."""
    return tf.math.softplus(x)


def sigmoid(x):
    """1 / (1 + exp(−x))."""
    return tf.sigmoid(x)


def tanh(x):
    """The hyperbolic tangent."""
    return tf.tanh(x)


def softmax(x):
    """exp(xᵢ) / Σⱼ exp(xⱼ) over the last dimension, without overflow."""
    return tf.nn.softmax(x)


def log_softmax(x):
    """xᵢ − log Σⱼ exp(xⱼ) over the last dimension, without overflow."""
    return tf.nn.log_softmax(x)


BY_NAME = {
    activation.__name__: activation
    for activation in (
        linear, relu, leaky_relu, elu, selu, gelu, silu, softplus, sigmoid, tanh, softmax, log_softmax
    )
}  # fmt: skip


def get(activation):
    """The activation of that name, the function itself, or `linear` for None."""
    return linear if activation is None else checks.lookup("activation", activation, BY_NAME)
