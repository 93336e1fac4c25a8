"""What a schedule is, and what all of them share."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

import tensorflow as tf

from optim.domain import FINITE, Domain

Setting = float | Callable[[tf.Tensor], tf.Tensor]


def evaluate(setting: Setting, step: tf.Tensor) -> tf.Tensor:
    """Value of a number or of a schedule at `step`, a float64 scalar tensor."""
    value = setting(step) if callable(setting) else setting
    # tf.cast would take a Python number through float32.
    return tf.cast(value, tf.float64) if tf.is_tensor(value) else tf.constant(value, tf.float64)


class Schedule:
    """What the schedules of this package share: checked arguments, and arithmetic in float64."""

    domains: ClassVar[Mapping[str, Domain]]

    def __post_init__(self):
        for name, domain in self.domains.items():
            domain.require(name, getattr(self, name))

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Value at `step`, an integer scalar: a float64 scalar tensor."""
        return self._at(tf.cast(step, tf.float64))

    def _at(self, step: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError


def since(schedule: Setting, start: float, step: tf.Tensor) -> tf.Tensor:
    """`schedule` with `start` as its step 0, where it stays before; `step` is a float64 scalar."""
    return evaluate(schedule, tf.cast(tf.maximum(step - start, 0.0), tf.int64))


def completed(periods: tf.Tensor) -> tf.Tensor:
    """⌊periods⌋, where a number that only rounding keeps below a whole one counts as that.

    Graphs divide by a constant by multiplying with its inverse, and 49 · (1/49) is below 1.
    """
    return tf.floor(periods * (1.0 + 2.0**-48))


def begun(periods: tf.Tensor) -> tf.Tensor:
    """⌈periods⌉, where a number that only rounding puts above a whole one counts as that; see `completed`."""
    return tf.math.ceil(periods * (1.0 - 2.0**-48))


def require_setting(name: str, setting: Setting) -> None:
    """Raise TypeError or ValueError unless `setting` is a schedule or a finite number."""
    if not callable(setting):
        FINITE.require(name, setting)


def require_parts(name: str, parts: Sequence, boundaries: Sequence[float], domain: Domain) -> None:
    """Raise TypeError or ValueError unless `boundaries`, of `domain`, rise strictly and lie between `parts`."""
    for i, boundary in enumerate(boundaries):
        domain.require(f"boundaries[{i}]", boundary)
    if len(parts) != len(boundaries) + 1:
        raise ValueError(
            f"{name} must be one longer than boundaries, got {len(parts)} {name} and {len(boundaries)} boundaries"
        )
    if any(low >= high for low, high in pairwise(boundaries)):
        raise ValueError(f"boundaries must rise strictly, got {boundaries}")
