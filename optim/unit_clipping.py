"""Adaptive gradient clipping: what a unit learns in a step is limited by what it weighs."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from optim.decay import Mask
from optim.domain import ABOVE_0
from optim.per_variable import PerVariable
from optim.schedules import Setting
from optim.sparse import deduplicate


def clip_units(gradient, variable, *, clipping, epsilon):
    """Limits each unit's gradient: gᵢ ← gᵢ · min(1, λ max(‖wᵢ‖, ε) / ‖gᵢ‖).

    A unit is an index on the last axis, as in kernels [in, out] and [height, width, in, out]; tensors of rank 0 and 1
    are one unit. `gradient` may hold some of the variable's rows, when the others are 0. λ is `clipping`.
    """
    limit = clipping * tf.maximum(_norm(*_scaled_norms(variable)), epsilon)
    largest, scaled = _scaled_norms(gradient)
    within = (scaled == 0) | (_norm(largest, scaled) <= limit)
    # No division by 0, nor a gradient of one.
    factor = tf.cast(limit / tf.cast(tf.where(scaled == 0, tf.ones_like(scaled), scaled), tf.float64), largest.dtype)
    clipped = tf.cast(tf.cast(gradient, largest.dtype) / largest * factor, gradient.dtype)
    return tf.where(within, gradient, clipped)


def _scaled_norms(tensor: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    # ‖x‖ = m · ‖x / m‖ with m = max |x|: in float32 the squares of 1e30 and 1e-30 are infinity and 0.
    axes = list(range(max(tensor.shape.rank - 1, min(tensor.shape.rank, 1))))
    wide = tensor if tensor.dtype == tf.float64 else tf.cast(tensor, tf.float32)
    largest = tf.reduce_max(tf.abs(wide), axes, keepdims=True)
    # Where all is 0, or there is nothing (−infinity), or so little that processors may take it for 0.
    largest = tf.where(largest < np.finfo(wide.dtype.as_numpy_dtype).tiny, tf.ones_like(largest), largest)
    squares = tf.reduce_sum(tf.square(wide / largest), axes, keepdims=True)
    # The root has no derivative at 0.
    roots = tf.sqrt(tf.where(squares == 0, tf.ones_like(squares), squares))
    return largest, tf.where(squares == 0, tf.zeros_like(roots), roots)


def _norm(largest: tf.Tensor, scaled: tf.Tensor) -> tf.Tensor:
    return tf.cast(largest, tf.float64) * tf.cast(scaled, tf.float64)


@dataclass(frozen=True)
class agc(PerVariable):
    """Adaptive gradient clipping: `clip_units`, by the norms of units.

    `clipping` (λ) and `epsilon`, for units that weigh next to nothing, are above 0, or schedules. `mask` tells from a
    variable's path whether it is clipped: the paper leaves out the last layer. None clips all.
    A unit within its limit comes out bit for bit, slices come out as slices, those of the same row summed, and what is
    not finite does not become finite. The units of transposed and depthwise kernels are on other axes than the last.
    Source: Brock et al., High-Performance Large-Scale Image Recognition Without Normalization (arXiv 2102.06171),
    eq. 3.

    >>> kernel = tf.Variable([[3.0, 0.0], [4.0, 0.0]])
    >>> agc(0.1, epsilon=2.0)([tf.constant([[0.6, 0.0], [0.8, 2.0]])], [kernel])[0].numpy().round(7)
    array([[0.3, 0. ],
           [0.4, 0.2]], dtype=float32)
    """

    clipping: Setting = 0.01
    epsilon: Setting = 1e-3
    mask: Mask = None

    domains = {"clipping": ABOVE_0, "epsilon": ABOVE_0}

    def transform(self, gradient, variable, place, **coefficients):
        """See `clip_units`."""
        weights = tf.convert_to_tensor(variable)
        if not isinstance(gradient, tf.IndexedSlices):
            return clip_units(gradient, weights, **coefficients)
        rows = deduplicate(gradient)
        return tf.IndexedSlices(clip_units(rows.values, weights, **coefficients), rows.indices, rows.dense_shape)
