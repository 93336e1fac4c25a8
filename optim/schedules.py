"""Schedules: pure functions from the step to the value of a hyper-parameter.

A schedule is called with an integer scalar, the step, which counts from 0, and returns a float64 scalar
tensor. Any function of that kind is one; those here are immutable, check their arguments when made, and
print as the call that makes them. Names and meanings are TensorFlow's where it has the schedule.

>>> decay = warmup(cosine(0.5, decay_steps=100), warmup_steps=10)
>>> decay
warmup(schedule=cosine(initial_value=0.5, decay_steps=100, alpha=0.0), warmup_steps=10, initial_value=0.0)
>>> [float(decay(step)) for step in (0, 5, 10, 60, 110)]
[0.0, 0.25, 0.5, 0.25, 0.0]
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import tensorflow as tf

from optim.domain import ABOVE_0, FINITE, WHOLE, Domain

__all__ = ["constant", "cosine", "exponential", "piecewise", "polynomial", "warmup", "warmup_cosine"]

Setting = float | Callable[[tf.Tensor], tf.Tensor]


def evaluate(setting: Setting, step: tf.Tensor) -> tf.Tensor:
    """Value of a number or of a schedule at `step`, a float64 scalar tensor."""
    value = setting(step) if callable(setting) else setting
    # tf.cast would take a Python number through float32.
    return tf.cast(value, tf.float64) if tf.is_tensor(value) else tf.constant(value, tf.float64)


class Schedule:
    """What the schedules of this file share: checked arguments, and arithmetic in float64."""

    domains: ClassVar[Mapping[str, Domain]]

    def __post_init__(self):
        for name, domain in self.domains.items():
            domain.require(name, getattr(self, name))

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Value at `step`, an integer scalar: a float64 scalar tensor."""
        return self._at(tf.cast(step, tf.float64))

    def _at(self, step: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class constant(Schedule):
    """`value` at every step."""

    value: float

    domains = {"value": FINITE}

    def _at(self, step):
        return tf.constant(self.value, tf.float64)


@dataclass(frozen=True)
class exponential(Schedule):
    """Exponential decay: initial_value · decay_rate^(step / decay_steps).

    With `staircase` the exponent is rounded down: the value falls once in `decay_steps` steps.
    """

    initial_value: float
    decay_steps: float
    decay_rate: float
    staircase: bool = False

    domains = {"initial_value": FINITE, "decay_steps": ABOVE_0, "decay_rate": ABOVE_0}

    def _at(self, step):
        exponent = step / self.decay_steps
        if self.staircase:
            exponent = tf.floor(exponent)
        return self.initial_value * tf.pow(tf.constant(self.decay_rate, tf.float64), exponent)


@dataclass(frozen=True)
class piecewise(Schedule):
    """Piecewise constant: values[i] for boundaries[i − 1] < step <= boundaries[i].

    A boundary is the last step of the value before it. `values` is one longer than `boundaries`, which rise
    strictly.
    """

    boundaries: Sequence[float]
    values: Sequence[float]

    def __post_init__(self):
        for name in ("boundaries", "values"):
            numbers = tuple(getattr(self, name))
            for i, number in enumerate(numbers):
                FINITE.require(f"{name}[{i}]", number)
            object.__setattr__(self, name, numbers)
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"values must be one longer than boundaries, got {len(self.values)} values and "
                f"{len(self.boundaries)} boundaries"
            )
        if any(low >= high for low, high in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ValueError(f"boundaries must rise strictly, got {self.boundaries}")

    def _at(self, step):
        passed = tf.math.count_nonzero(step > tf.constant(self.boundaries, tf.float64))
        return tf.gather(tf.constant(self.values, tf.float64), passed)


@dataclass(frozen=True)
class polynomial(Schedule):
    """Polynomial decay: (initial_value − end_value) · (1 − step / n)^power + end_value.

    n = decay_steps, where the decay ends and stays. With `cycle`, n is the lowest positive multiple of
    `decay_steps` that is not below the step: the value jumps up after each and decays again.
    """

    initial_value: float
    decay_steps: float
    end_value: float = 1e-4
    power: float = 1.0
    cycle: bool = False

    domains = {"initial_value": FINITE, "decay_steps": ABOVE_0, "end_value": FINITE, "power": ABOVE_0}

    def _at(self, step):
        if self.cycle:
            fraction = step / (self.decay_steps * tf.maximum(tf.math.ceil(step / self.decay_steps), 1.0))
        else:
            fraction = tf.minimum(step / self.decay_steps, 1.0)
        return (self.initial_value - self.end_value) * tf.pow(1.0 - fraction, self.power) + self.end_value


@dataclass(frozen=True)
class cosine(Schedule):
    """Half a cosine: initial_value · ((1 − alpha) · (1 + cos(π · step / decay_steps)) / 2 + alpha).

    After `decay_steps` the value stays at alpha · initial_value.
    Source: Loshchilov and Hutter, SGDR (arXiv 1608.03983), eq. 5, without restarts.
    """

    initial_value: float
    decay_steps: float
    alpha: float = 0.0

    domains = {"initial_value": FINITE, "decay_steps": ABOVE_0, "alpha": FINITE}

    def _at(self, step):
        wave = 0.5 * (1.0 + tf.cos(math.pi * tf.minimum(step / self.decay_steps, 1.0)))
        return self.initial_value * ((1.0 - self.alpha) * wave + self.alpha)


@dataclass(frozen=True)
class warmup(Schedule):
    """Linear warm-up in front of a schedule or a number.

    For step < warmup_steps: initial_value + (schedule(0) − initial_value) · step / warmup_steps;
    from there on schedule(step − warmup_steps). With `warmup_steps` = 0, the schedule itself.
    Source: Goyal et al. (arXiv 1706.02677), section 2.2.
    """

    schedule: Setting
    warmup_steps: int
    initial_value: float = 0.0

    domains = {"warmup_steps": WHOLE, "initial_value": FINITE}

    def __post_init__(self):
        super().__post_init__()
        if not callable(self.schedule):
            FINITE.require("schedule", self.schedule)

    def _at(self, step):
        after = tf.cast(tf.maximum(step - self.warmup_steps, 0.0), tf.int64)
        target = evaluate(self.schedule, tf.zeros_like(after))
        ramp = self.initial_value + (target - self.initial_value) * step / max(self.warmup_steps, 1)
        return tf.where(step < self.warmup_steps, ramp, evaluate(self.schedule, after))


def warmup_cosine(peak: float, warmup_steps: int, total_steps: int, alpha: float = 0.0) -> warmup:
    """Linear warm-up from 0 to `peak`, then half a cosine down to alpha · peak at `total_steps`."""
    FINITE.require("peak", peak)
    WHOLE.require("warmup_steps", warmup_steps)
    WHOLE.require("total_steps", total_steps)
    if warmup_steps >= total_steps:
        raise ValueError(f"total_steps must be above warmup_steps ({warmup_steps}), got {total_steps}")
    return warmup(cosine(peak, total_steps - warmup_steps, alpha), warmup_steps)
