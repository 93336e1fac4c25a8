"""A first layer that is computed from the data, not learned."""

import numpy as np
import tensorflow as tf

from layers import checks, windows
from layers.base import Layer
from layers.initializers import orthogonal


class Whitening(Layer):
    """Patches of images without their correlations: a convolution whose kernel is made from images, not trained.

    `[batch, height, width, in_channels]` → `[batch, height − k + 1, width − k + 1, filters]` with windows of
    `kernel_size` k and `filters` = 2·k·k·in_channels. For patches p of mean m and covariance V diag(λ) Vᵀ, the first
    half of the outputs is

        diag(λ + ε·λ̄)^−½ Vᵀ (p − m),   λ̄ the mean of λ,

    of mean 0 and, but for ε, covariance I over the images that `fit` was given; largest λ first. The second half is its
    negative, so that after an activation both signs are there. Until `fit` is called, a random rotation stands for V,
    and 0 and 1 for m and λ.

    Fields: `kernel: [k, k, in_channels, filters]`, not trainable; `bias: [filters]`, which starts at what takes the
    means away, and is trained. `kernel_size` is one number or (height, width); `epsilon` (ε), positive, keeps
    directions in which images hardly differ from becoming noise.
    Source: Page, "How to train your ResNet 8: Bag of tricks", 2019; Jordan, arXiv 2404.00498, section 3.1, where ε is
    5e-4 for pixels of variance 1.

    >>> images = tf.random.stateless_uniform([64, 8, 8, 3], [0, 0])
    >>> whitening = Whitening(3).fit(images)
    >>> patches = tf.reshape(whitening(images)[..., :12], [-1, 12])
    >>> bool(tf.reduce_all(tf.abs(tf.matmul(patches, patches, True) / len(patches) - tf.eye(12)) < 0.01))
    True
    """

    def __init__(self, in_channels, kernel_size=2, *, epsilon=5e-4, dtype=tf.float32):
        super().__init__(dtype)
        self.in_channels = checks.positive(self, "in_channels", in_channels)
        self.kernel_size = checks.sides(self, "kernel_size", kernel_size, 2)
        self.epsilon = checks.above_zero(self, "epsilon", epsilon)
        self.padding = "valid"
        self.size = self.kernel_size[0] * self.kernel_size[1] * self.in_channels
        self.filters = 2 * self.size
        shape = [*self.kernel_size, self.in_channels, self.filters]
        self.kernel = self.variable("kernel", shape, _rotation, trainable=False)
        self.bias = self.variable("bias", [self.filters], "zeros")

    def fit(self, images):
        """Makes kernel and bias from floating images `[count, height, width, in_channels]`; returns the layer.

        The eigenvectors are computed in float64, each with the sign that makes its largest number positive. ValueError
        for images that are smaller than a window, and for those that are all of one colour.
        """
        images = self._images(images)
        patches = tf.cast(
            tf.image.extract_patches(images, [1, *self.kernel_size, 1], [1] * 4, [1] * 4, "VALID"), "float64"
        )
        patches = tf.reshape(patches, [-1, self.size]).numpy()
        mean = patches.mean(axis=0)
        centred = patches - mean
        values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
        # Below that, what is left of equal patches is rounding.
        if not values.mean() > 1e-20 * np.mean(mean**2):
            raise ValueError(
                f"{self!r}.fit: the images must differ within themselves or from each other, all are alike"
            )
        vectors = vectors * np.sign(vectors[np.argmax(np.abs(vectors), axis=0), np.arange(self.size)])
        half = vectors / np.sqrt(values + self.epsilon * values.mean())
        kernel = np.concatenate([half, -half], axis=1)
        self.kernel.assign(kernel.reshape(self.kernel.shape).astype(self.dtype.as_numpy_dtype))
        self.bias.assign((-mean @ kernel).astype(self.dtype.as_numpy_dtype))
        return self

    def last_dimension(self, size):
        """`filters`, of an input of `in_channels`."""
        self.expect(size, self.in_channels)
        return self.filters

    def __call__(self, x):
        """x ⋆ kernel + bias."""
        x = self._images(x)
        y = windows.convolve(x, tf.cast(self.kernel, x.dtype), (1, 1), self.padding, (1, 1), 1)
        return tf.nn.bias_add(y, tf.cast(self.bias, x.dtype))

    def _images(self, x):
        x = self.take(x, rank=4, size=self.in_channels)
        checks.window(self, x, self.kernel_size)
        return x


def _rotation(shape, dtype):
    half = orthogonal()([*shape[:-1], shape[-1] // 2], dtype)
    return tf.concat([half, -half], axis=-1)
