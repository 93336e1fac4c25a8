"""Wrappers that reparametrise the kernel of a layer."""

import copy
import inspect
import math

import tensorflow as tf

from layers import checks, context, initializers
from layers.base import Layer
from layers.normalization import at_least_float32


class Reparametrised(Layer):
    """What the wrappers share: a layer that computes with another kernel than its own variable."""

    def __init__(self, layer):
        own = vars(layer).get("kernel") if isinstance(layer, Layer) else None
        if not (isinstance(own, tf.Variable) and own.shape.rank >= 2):
            raise TypeError(f"{self!r}: layer must be a layer with a variable `kernel` of rank 2 or more")
        super().__init__(layer.dtype)
        self.layer = layer
        self._takes_training = "training" in inspect.signature(layer).parameters

    def last_dimension(self, size):
        """That of the wrapped layer."""
        return self.layer.last_dimension(size)

    def _apply(self, kernel, x, training):
        """`layer(x)` with `kernel` in place of its variable."""
        # A shallow copy carries the tensor. The layer itself never changes, so nothing has to be put back after an
        # error, no tensor outlives its trace, and replicas, which are threads, don't meet. Past `setattr`, because
        # TensorFlow's tracking lists are those of the layer.
        stand_in = copy.copy(self.layer)
        vars(stand_in)["kernel"] = kernel
        return stand_in(x, training=training) if self._takes_training else stand_in(x)


class WeightNorm(Reparametrised):
    """`layer` with the kernel g·v / ‖v‖, the norm taken for each output unit: length and direction are learned apart.

    v is the layer's own variable `kernel`, and the norm is over all its axes but those of the outputs: the last, in a
    transposed convolution the last but one, in a depthwise one both (`kernel_outputs` of the layer). A direction of 0
    has the kernel 0. g starts at ‖v‖, so that the wrapped layer starts as the layer alone.

    Fields: `layer`, `g: [units]`. Source: Salimans and Kingma 2016, equation 2.

    >>> from layers import Dense
    >>> dense = Dense(3, 2)
    >>> norm, x = WeightNorm(dense), tf.ones([1, 3])
    >>> bool(tf.reduce_all(tf.abs(norm(x) - dense(x)) < 1e-6))
    True
    """

    def __init__(self, layer):
        super().__init__(layer)
        length = tf.norm(_matrix(self.layer, at_least_float32(self.dtype)), axis=0)
        self.g = self.variable("g", length.shape, lambda shape, dtype: tf.cast(length, dtype))

    def __call__(self, x, training=False):
        """The layer's output with the kernel g·v / ‖v‖."""
        x = self.take(x)
        wide = at_least_float32(x.dtype)
        v = tf.cast(self.layer.kernel, wide)
        outputs = {axis % v.shape.rank for axis in self.layer.kernel_outputs}
        inputs = [axis for axis in range(v.shape.rank) if axis not in outputs]
        square = tf.reduce_sum(tf.square(v), inputs, keepdims=True)
        # The root of 0 has no gradient.
        inverse = tf.math.rsqrt(tf.where(square > 0, square, tf.ones_like(square)))
        return self._apply(tf.reshape(tf.cast(self.g, wide), square.shape) * inverse * v, x, training)


class SpectralNorm(Reparametrised):
    """`layer` with the kernel W / σ, σ the largest singular value of W: it stretches no vector by more than 1.

    W is the layer's own variable `kernel`, read as a matrix `[inputs, units]` with the outputs as columns (as in
    `WeightNorm`). It is the matrix that stretches nothing, and so `Dense`: windows overlap, and a convolution of k×k
    pixels with strides of 1 may stretch an image by up to k. Each step of training turns u and v `power_iterations`
    times, whatever the batch and however it is cut, and σ = v·W·u:

        v ← u·Wᵀ / ‖u·Wᵀ‖,    u ← v·W / ‖v·W‖

    Gradients pass through σ with u and v as constants. In inference, and when the layer is frozen, u and v stay.
    Where σ is 0, as for a kernel of 0, W stays as it is.
    (Keras writes W / σ back over W at every step and keeps no v; here an optimizer moves W itself, as in the paper.)

    Fields: `layer`, and not trainable, at least float32, `vector_u: [1, units]`, `vector_v: [1, inputs]`.
    Source: Miyato et al. 2018, algorithm 1.

    >>> from layers import Dense
    >>> norm = SpectralNorm(Dense(3, 2, use_bias=False), power_iterations=20)
    >>> y = norm(tf.eye(3), training=True)
    >>> round(float(tf.linalg.svd(y, compute_uv=False)[0]), 4)
    1.0
    """

    def __init__(self, layer, power_iterations=1):
        super().__init__(layer)
        self.power_iterations = checks.positive(self, "power_iterations", power_iterations)
        w = _matrix(self.layer, at_least_float32(self.dtype))
        u, v = (initializers.random_normal()([1, size], w.dtype) for size in reversed(w.shape))
        u, v = self._turned(_unit(u, u), _unit(v, v), w)
        self.vector_u = self.variable("vector_u", u.shape, lambda *_: u, dtype=w.dtype, trainable=False)
        self.vector_v = self.variable("vector_v", v.shape, lambda *_: v, dtype=w.dtype, trainable=False)

    def __call__(self, x, training=False):
        """The layer's output with the kernel W / σ."""
        x = self.take(x)
        wide = at_least_float32(x.dtype)
        if training and self.trainable:
            self._follow(training)
        w = _matrix(self.layer, wide)
        u, v = tf.cast(self.vector_u, wide), tf.cast(self.vector_v, wide)
        sigma = tf.reduce_sum(v @ w * u)
        kernel = tf.cast(self.layer.kernel, wide) / tf.where(sigma == 0, tf.ones_like(sigma), sigma)
        return self._apply(kernel, x, training)

    def _follow(self, training):
        """Turns u and v towards the kernel, in the first slice of a step only."""
        now = context.once(training)
        if now is False:
            return
        w = _matrix(self.layer, self.vector_u.dtype)
        u, v = self._turned(self.vector_u, self.vector_v, w)
        for vector, turned in ((self.vector_u, u), (self.vector_v, v)):
            vector.assign(tf.where(now, turned, vector))

    def _turned(self, u, v, w):
        """(u, v) after the power iterations. A kernel of 0 leaves them where they were."""
        for _ in range(self.power_iterations):
            v = _unit(tf.matmul(u, w, transpose_b=True), v)
            u = _unit(v @ w, u)
        return u, v


def _unit(vector, otherwise):
    """vector / ‖vector‖, or `otherwise` for a vector of 0."""
    norm = tf.norm(vector)
    return tf.where(norm > 0, vector / tf.where(norm > 0, norm, tf.ones_like(norm)), otherwise)


def _matrix(layer, dtype):
    """The layer's kernel as a matrix `[inputs, units]`, its outputs as columns."""
    kernel, axes = tf.cast(layer.kernel, dtype), range(layer.kernel.shape.rank)
    outputs = [axis % len(axes) for axis in layer.kernel_outputs]
    order = [*(axis for axis in axes if axis not in outputs), *outputs]
    # Of a Dense kernel nothing moves.
    kernel = kernel if order == list(axes) else tf.transpose(kernel, order)
    return tf.reshape(kernel, [-1, math.prod(kernel.shape[-len(outputs) :])])
