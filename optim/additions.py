"""Gradient transforms that add something: less the mean, noise, a share of the weights.

What they add reaches every row: slices come out as the dense gradient.
"""

import hashlib
from dataclasses import dataclass

import tensorflow as tf

from optim.decay import Mask, decays_by_default
from optim.domain import ABOVE_0, FROM_0, WHOLE
from optim.per_variable import PerVariable
from optim.rule import Gradient
from optim.schedules import Setting
from optim.sparse import densify


def _dense(gradient: Gradient, variable: tf.Variable) -> tf.Tensor:
    if isinstance(gradient, tf.IndexedSlices):
        return densify(gradient, variable.shape[0])
    return tf.convert_to_tensor(gradient)


@dataclass(frozen=True)
class centralize(PerVariable):
    """Gradient centralization: gᵢ ← gᵢ − mean(gᵢ), over all that feeds unit i.

    A unit is an index on the last axis, as in kernels [in, out] and [height, width, in, out]. Gradients of rank 0
    and 1 come out as they are. The mean is at least float32.
    Source: Yong et al., Gradient Centralization (arXiv 2004.01461), eq. 1.

    >>> centralize()([tf.constant([[1.0, 2.0], [5.0, 2.0]])], [tf.Variable(tf.zeros([2, 2]))])[0].numpy()
    array([[-2.,  0.],
           [ 2.,  0.]], dtype=float32)
    """

    def transform(self, gradient, variable, place):
        """See the class."""
        if variable.shape.rank < 2:
            return gradient
        gradient = _dense(gradient, variable)
        wide = gradient if gradient.dtype == tf.float64 else tf.cast(gradient, tf.float32)
        mean = tf.reduce_mean(wide, list(range(variable.shape.rank - 1)), keepdims=True)
        return tf.cast(wide - mean, gradient.dtype)


@dataclass(frozen=True)
class add_noise(PerVariable):
    """Annealed noise: g ← g + N(0, σ²), with σ² = eta / (1 + step)^gamma.

    `eta`, above 0, and `gamma`, 0 or above, may be schedules. The noise depends on `seed`, a whole number below 2⁶³,
    the step and the variable's path (without a chain, its position), and on nothing else: a resumed run and every
    replica draw the same, in every dtype and under XLA.
    Source: Neelakantan et al., Adding Gradient Noise Improves Learning for Very Deep Networks (arXiv 1511.06807),
    where `eta` is 0.01, 0.3 or 1.
    """

    eta: Setting
    gamma: Setting = 0.55
    seed: int = 0

    domains = {"eta": ABOVE_0, "gamma": FROM_0}

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "seed", int(WHOLE.require("seed", self.seed)))

    def coefficients(self, step):
        """The deviation, and the key of the step."""
        found = super().coefficients(step)
        variance = found["eta"] * tf.pow(1.0 + tf.cast(step, tf.float64), -found["gamma"])
        return {
            "deviation": tf.sqrt(variance),
            "key": tf.stack([tf.constant(self.seed, tf.int64), tf.cast(step, tf.int64)]),
        }

    def transform(self, gradient, variable, place, *, deviation, key):
        """See the class."""
        gradient = _dense(gradient, variable)
        key = tf.random.fold_in(key, tf.constant(_number(place), tf.int64), alg="philox")
        return gradient + tf.cast(deviation * _normal(tf.shape(gradient), key), gradient.dtype)


def _number(place: str | int) -> int:
    """A position, or the first 64 bits of the SHA-256 of a path."""
    if isinstance(place, int):
        return place
    return int.from_bytes(hashlib.sha256(place.encode()).digest()[:8], "little", signed=True)


def _normal(shape: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Float64 standard normals: Φ⁻¹((bits + ½) / 2³²).

    The bits are drawn as whole numbers, by a generator by name: XLA draws other floats than TensorFlow's kernels.
    """
    bits = tf.random.stateless_uniform(shape, key, dtype=tf.int32, minval=None, maxval=None, alg="philox")
    return tf.math.ndtri((tf.cast(bits, tf.float64) + (2.0**31 + 0.5)) * 2.0**-32)


@dataclass(frozen=True)
class add_decayed_weights(PerVariable):
    """Weight decay through the gradient, as a penalty of w/2 · ‖x‖² would add it: g ← g + w x.

    `weight_decay` (w) is 0 or above, or a schedule. `mask` tells from a variable's path whether it decays: see
    `optim.decay`. A rule that adapts its step to the gradient adapts this with it; AdamW's decay is apart from that.
    """

    weight_decay: Setting
    mask: Mask = decays_by_default

    domains = {"weight_decay": FROM_0}

    def transform(self, gradient, variable, place, *, weight_decay):
        """See the class."""
        gradient = _dense(gradient, variable)
        return gradient + tf.cast(weight_decay, gradient.dtype) * tf.cast(variable, gradient.dtype)
