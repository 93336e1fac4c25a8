"""Dynamic loss scaling, which keeps float16 gradients within their range."""

import math

import tensorflow as tf


class LossScale(tf.Module):
    """A factor on the loss in the backward pass that finds its own size.

    Gradients of float16 activations vanish below 6e-8. They are computed of scale·Σwℓ (a sum over the slice, not a
    mean), and divided by the scale in float32. After `growth_interval` updates in a row whose gradients were finite,
    scale ← min(scale·factor, ceiling); after one that was not, scale ← max(scale/factor, floor), and that update is
    left out: no weight, slot, average, moving statistic or schedule moves, only the position in the data. The history
    counts `skipped_steps`, and its `loss_scale` is the one that the last step was computed with. What float16
    can't hold depends on how the batch is cut; in the other precisions nothing does.

    Both bounds and the initial value are above 0; powers of two scale without rounding.
    Source: Micikevicius et al. 2018, "Mixed precision training" (arXiv 1710.03740), section 3.2.
    """

    def __init__(
        self,
        initial: float = 2.0**15,
        *,
        growth_interval: int = 2000,
        factor: float = 2.0,
        floor: float = 1.0,
        ceiling: float = 2.0**24,
    ):
        super().__init__()
        if not 0 < floor <= initial <= ceiling < math.inf:
            raise ValueError(f"0 < floor <= initial <= ceiling must hold, got {floor}, {initial}, {ceiling}")
        if not (1 < factor < math.inf and growth_interval >= 1):
            raise ValueError(f"factor must be above 1 and growth_interval at least 1, got {factor}, {growth_interval}")
        self.growth_interval, self.factor, self.floor, self.ceiling = growth_interval, factor, floor, ceiling
        self.scale = tf.Variable(initial, dtype=tf.float32, trainable=False)
        self.good_steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    @property
    def exhausted(self) -> tf.Tensor:
        """Whether the scale can't fall further: what is not finite now is not the scale's doing."""
        return self.scale <= tf.constant(self.floor, tf.float32)

    def update(self, finite: tf.Tensor) -> None:
        """Grows or backs off. finite: whether the gradients of this step were."""
        good = self.good_steps + 1
        grown = tf.minimum(self.scale * self.factor, tf.constant(self.ceiling, tf.float32))
        backed_off = tf.maximum(self.scale / self.factor, tf.constant(self.floor, tf.float32))
        grows = tf.logical_and(finite, good >= self.growth_interval)
        self.scale.assign(tf.where(finite, tf.where(grows, grown, self.scale), backed_off))
        self.good_steps.assign(tf.where(tf.logical_and(finite, tf.logical_not(grows)), good, tf.zeros_like(good)))


def loss_scale_for(setting: str | LossScale, compute: tf.DType) -> LossScale | None:
    """A `LossScale` for "dynamic"; None for "none"; for "auto", the one where float16 is computed, else the other."""
    if isinstance(setting, LossScale):
        return setting
    if setting not in ("auto", "dynamic", "none"):
        raise ValueError(f'loss_scaling must be "auto", "dynamic", "none" or a LossScale, got {setting!r}')
    return LossScale() if setting == "dynamic" or (setting == "auto" and compute == tf.float16) else None
