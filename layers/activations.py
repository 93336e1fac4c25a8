"""Activations: functions of a floating tensor of any shape that keep its dtype.

Those in `BY_NAME` keep the shape too, and a layer takes them as its `activation`. Those in `GATED` halve the last
dimension, and stand after a layer: `Sequential([Dense(8, 2 * 16), activations.swiglu])`.

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


def relu6(x):
    """min(max(x, 0), 6); the gradient at 0 and at 6 is 0: Howard et al. 2017, after Krizhevsky 2010."""
    return tf.nn.relu6(x)


def leaky_relu(x, negative_slope=0.2):
    """x where x > 0, else negative_slope·x: Maas et al. 2013 (with another default slope, Keras')."""
    return tf.where(x > 0, x, tf.constant(negative_slope, x.dtype) * x)


def elu(x, alpha=1.0):
    """x where x > 0, else alpha·(exp(x) − 1): Clevert et al. 2016, equation 15."""
    y = tf.nn.elu(x)
    return y if alpha == 1 else tf.where(x > 0, y, tf.constant(alpha, x.dtype) * y)


def selu(x):
    """λx where x > 0, else λα(exp(x) − 1), λ = 1.0507…, α = 1.6733…: Klambauer et al. 2017, equation 2."""
    # Not tf.nn.selu: its gradient at 0 is λ on a processor, and λα under XLA.
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def celu(x, alpha=1.0):
    """x where x > 0, else alpha·(exp(x/alpha) − 1), of slope 1 at 0 for any alpha: Barron 2017, equation 2."""
    alpha = tf.constant(alpha, x.dtype)
    return tf.where(x > 0, x, alpha * tf.math.expm1(tf.minimum(x, 0) / alpha))


def gelu(x, approximate=False):
    """x·Φ(x) with the normal distribution function Φ: Hendrycks and Gimpel 2016.

    `approximate`: 0.5x(1 + tanh(√(2/π)·(x + 0.044715x³))), their second formula.
    """
    # Not tf.nn.gelu: its constants pass through float32, which costs half the digits of float64.
    if approximate:
        # From 8 on the tanh is ±1 in any dtype; a cube of 1e4 would be infinite in float16.
        cut = tf.clip_by_value(x, tf.constant(-8, x.dtype), tf.constant(8, x.dtype))
        return 0.5 * x * (1 + tf.tanh(math.sqrt(2 / math.pi) * (cut + 0.044715 * cut**3)))
    x = tf.convert_to_tensor(x)
    # In half precision erfc takes five times as long as in float32. (erf takes a quarter of that, and 1 + erf loses the
    # digits of small values.)
    wide = tf.cast(x, tf.float32) if x.dtype.size < 4 else x
    return tf.cast(0.5 * wide * tf.math.erfc(-math.sqrt(0.5) * wide), x.dtype)


def silu(x):
    """x·sigmoid(x), also called swish: Elfwing et al. 2018; Ramachandran et al. 2017."""
    return x * tf.sigmoid(x)


def mish(x):
    """x·tanh(softplus(x)): Misra 2020, equation 1."""
    return x * tf.tanh(tf.math.softplus(x))


def softplus(x):
    """log(1 + exp(x)), without overflow: Dugas et al. 2001."""
    return tf.math.softplus(x)


def softsign(x):
    """x / (1 + |x|): Bergstra et al. 2009; Glorot and Bengio 2010, section 3."""
    return _softsign(x)


# tf.nn.softsign has no second derivative; that of the quotient's parts cancels far from 0.
@tf.custom_gradient
def _softsign(x):
    return x / (1 + tf.abs(x)), lambda gradient: gradient / tf.square(1 + tf.abs(x))


def sigmoid(x):
    """1 / (1 + exp(−x))."""
    return tf.sigmoid(x)


def log_sigmoid(x):
    """log(sigmoid(x)) = −softplus(−x), without overflow."""
    return -tf.math.softplus(-x)


def tanh(x):
    """The hyperbolic tangent."""
    return tf.tanh(x)


def exponential(x):
    """exp(x), which is infinite from 89 on in float32."""
    return tf.exp(x)


def hard_sigmoid(x):
    """min(max(x + 3, 0), 6) / 6: Howard et al. 2019, section 5.2 (Courbariaux et al. 2015 with other slopes)."""
    return tf.nn.relu6(x + 3) / 6


def hard_silu(x):
    """x·hard_sigmoid(x), also called hard_swish: Howard et al. 2019, section 5.2."""
    return x * hard_sigmoid(x)


def hard_tanh(x):
    """min(max(x, −1), 1); the gradient at ±1 is 1: Collobert et al. 2011, section 3.2."""
    return tf.clip_by_value(x, tf.constant(-1, x.dtype), tf.constant(1, x.dtype))


def tanh_shrink(x):
    """x − tanh(x)."""
    return x - tf.tanh(x)


def hard_shrink(x, threshold=0.5):
    """x where |x| > threshold, else 0: Donoho and Johnstone 1994, equation 14."""
    return tf.where(tf.abs(x) > tf.constant(threshold, x.dtype), x, tf.zeros([], x.dtype))


def soft_shrink(x, threshold=0.5):
    """x − sign(x)·threshold where |x| > threshold, else 0: Donoho and Johnstone 1994, equation 15."""
    return tf.sign(x) * tf.nn.relu(tf.abs(x) - tf.constant(threshold, x.dtype))


def softmax(x):
    """exp(xᵢ) / Σⱼ exp(xⱼ) over the last dimension, without overflow."""
    return tf.nn.softmax(x)


def log_softmax(x):
    """xᵢ − log Σⱼ exp(xⱼ) over the last dimension, without overflow."""
    return tf.nn.log_softmax(x)


def glu(x):
    """a·sigmoid(b), a and b the halves of the last dimension: `[…, 2n]` → `[…, n]`: Dauphin et al. 2017, equation 1."""
    return _gated(x, sigmoid)


def reglu(x):
    """a·relu(b), a and b the halves of the last dimension: `[…, 2n]` → `[…, n]`: Shazeer 2020, equation 5."""
    return _gated(x, relu)


def geglu(x):
    """a·gelu(b), a and b the halves of the last dimension: `[…, 2n]` → `[…, n]`: Shazeer 2020, equation 5."""
    return _gated(x, gelu)


def swiglu(x):
    """a·silu(b), a and b the halves of the last dimension: `[…, 2n]` → `[…, n]`: Shazeer 2020, equation 5."""
    return _gated(x, silu)


def _gated(x, activation):
    size = x.shape[-1]
    if size is None or size % 2:
        raise ValueError(f"a gate halves an even last dimension, found an input of {x.shape}")
    value, gate = tf.split(x, 2, -1)
    return value * activation(gate)


BY_NAME = {
    activation.__name__: activation
    for activation in (
        linear, relu, relu6, leaky_relu, elu, selu, celu, gelu, silu, mish, softplus, softsign, sigmoid, log_sigmoid,
        tanh, exponential, hard_sigmoid, hard_silu, hard_tanh, tanh_shrink, hard_shrink, soft_shrink, softmax,
        log_softmax,
    )
}  # fmt: skip
BY_NAME |= {"swish": silu, "hard_swish": hard_silu}

GATED = {gate.__name__: gate for gate in (glu, reglu, geglu, swiglu)}


def get(activation):
    """The activation of that name, the function itself, or `linear` for None. Those in `GATED` are refused.

    A layer with an `activation` says how large its output is, and a gate would halve that.
    """
    gate = next((name for name, gate in GATED.items() if activation in (name, gate)), None)
    if gate:
        raise ValueError(
            f"activation {gate!r} halves the last dimension: call layers.activations.{gate} after the layer"
        )
    return linear if activation is None else checks.lookup("activation", activation, BY_NAME)
