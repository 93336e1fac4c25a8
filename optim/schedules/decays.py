"""Schedules that fall, by one formula from their first step on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from optim.domain import ABOVE_0, COUNT, FINITE, FROM_0
from optim.schedules.schedule import Schedule, begun, completed, require_parts


@dataclass(frozen=True)
class constant(Schedule):
    """`value` at every step."""

    value: float

    domains = {"value": FINITE}

    def _at(self, step):
        return tf.constant(self.value, tf.float64)


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
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for i, value in enumerate(self.values):
            FINITE.require(f"values[{i}]", value)
        require_parts("values", self.values, self.boundaries, FINITE)

    def _at(self, step):
        passed = tf.math.count_nonzero(step > tf.constant(self.boundaries, tf.float64))
        return tf.gather(tf.constant(self.values, tf.float64), passed)


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
        return self.initial_value * tf.pow(tf.constant(self.decay_rate, tf.float64), _periods(self, step))


@dataclass(frozen=True)
class inverse_time(Schedule):
    """Inverse time decay: initial_value / (1 + decay_rate · step / decay_steps).

    With `staircase` the quotient is rounded down: the value falls once in `decay_steps` steps.
    """

    initial_value: float
    decay_steps: float
    decay_rate: float
    staircase: bool = False

    domains = {"initial_value": FINITE, "decay_steps": ABOVE_0, "decay_rate": FROM_0}

    def _at(self, step):
        return self.initial_value / (1.0 + self.decay_rate * _periods(self, step))


def _periods(schedule: exponential | inverse_time, step: tf.Tensor) -> tf.Tensor:
    periods = step / schedule.decay_steps
    return completed(periods) if schedule.staircase else periods


@dataclass(frozen=True)
class inverse_sqrt(Schedule):
    """Linear warm-up, then decay with the root of time: peak · min(n / warmup_steps, √(warmup_steps / n)).

    n = step + 1: the first update is number 1, as in the paper, and the highest value that of number
    `warmup_steps`. The paper's factor is peak = 1 / √(d_model · warmup_steps).
    Source: Vaswani et al., Attention Is All You Need (arXiv 1706.03762), eq. 3.
    """

    peak: float
    warmup_steps: int

    domains = {"peak": FINITE, "warmup_steps": COUNT}

    def _at(self, step):
        share = (step + 1.0) / self.warmup_steps
        return self.peak * tf.minimum(share, tf.sqrt(1.0 / share))


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
        end = tf.constant(self.decay_steps, tf.float64)
        if self.cycle:
            end *= tf.maximum(begun(step / self.decay_steps), 1.0)
        # Not 1 − step / n, whose root is far from 0 where the quotient only rounds to 1.
        left = tf.maximum(end - step, 0.0) / end
        return (self.initial_value - self.end_value) * tf.pow(left, self.power) + self.end_value


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
