"""Schedules that rise and fall again: restarts and cycles."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import tensorflow as tf

from optim.domain import ABOVE_0, COUNT, FINITE, FROM_1, Domain
from optim.schedules.schedule import Schedule, completed

_TO_1 = Domain("a number above 0 and at most 1", lambda x: 0 < x <= 1)
_BELOW_HALF = Domain("a number above 0 and below 0.5", lambda x: 0 < x < 0.5)
_Mode = Literal["triangular", "triangular2", "exp_range"]


@dataclass(frozen=True)
class cosine_restarts(Schedule):
    """Half cosines, one after the other: initial_value · ((1 − alpha) · m_mulⁱ · (1 + cos(π · share)) / 2 + alpha).

    Period i is first_decay_steps · t_mulⁱ steps long, and `share` is how much of it has passed. `t_mul`, at
    least 1, lengthens the periods; `m_mul` scales what they start from.
    Source: Loshchilov and Hutter, SGDR (arXiv 1608.03983), eq. 5; `t_mul` is their T_mult.
    """

    initial_value: float
    first_decay_steps: float
    t_mul: float = 2.0
    m_mul: float = 1.0
    alpha: float = 0.0

    domains = {
        "initial_value": FINITE,
        "first_decay_steps": ABOVE_0,
        "t_mul": FROM_1,
        "m_mul": ABOVE_0,
        "alpha": FINITE,
    }

    def _at(self, step):
        period, start, length = self._period(step)
        wave = 0.5 * (1.0 + tf.cos(math.pi * tf.maximum(step - start, 0.0) / length))
        height = tf.pow(tf.constant(self.m_mul, tf.float64), period)
        return self.initial_value * ((1.0 - self.alpha) * height * wave + self.alpha)

    def _period(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Number, first step and length of the present period."""
        first, ratio = (tf.constant(number, tf.float64) for number in (self.first_decay_steps, self.t_mul))
        if self.t_mul == 1:
            period = completed(step / first)
            return period, period * first, first

        def start(period):
            return first * (tf.pow(ratio, period) - 1.0) / (ratio - 1.0)

        period = tf.floor(tf.math.log1p(step / first * (ratio - 1.0)) / tf.math.log(ratio))
        # The logarithm is one off at most. A step at a restart must not be put before it by rounding, which would
        # be off by the whole height of the wave.
        late = step * (1.0 + 1e-12)
        period += tf.cast(late >= start(period + 1.0), tf.float64) - tf.cast(late < start(period), tf.float64)
        return period, start(period), first * tf.pow(ratio, period)


@dataclass(frozen=True)
class cyclic(Schedule):
    """Straight lines up and down: initial_value + (maximal_value − initial_value) · scale · (1 − |x − 2k − 1|).

    x = step / step_size, and k = ⌊x / 2⌋ counts the cycles, each of which takes 2 · step_size steps. `scale` is

    - 1, with the mode "triangular";
    - 2⁻ᵏ, with "triangular2": each cycle is half as high as the one before;
    - gammaˢᵗᵉᵖ, with "exp_range", the only mode that has a `gamma`.

    Source: Smith, Cyclical Learning Rates for Training Neural Networks (arXiv 1506.01186), section 3.1.
    """

    initial_value: float
    maximal_value: float
    step_size: float
    mode: _Mode = "triangular"
    gamma: float = 1.0

    domains = {"initial_value": FINITE, "maximal_value": FINITE, "step_size": ABOVE_0, "gamma": _TO_1}

    def __post_init__(self):
        super().__post_init__()
        if self.mode not in get_args(_Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(_Mode))}, got {self.mode!r}")
        if self.gamma != 1 and self.mode != "exp_range":
            raise ValueError(f"gamma must be 1 in the mode {self.mode}, got {self.gamma}: it is for exp_range")

    def _at(self, step):
        cycle = completed(step / (2.0 * self.step_size))
        height = 1.0 - tf.abs((step - 2.0 * self.step_size * cycle) / self.step_size - 1.0)
        if self.mode == "triangular2":
            height *= tf.pow(tf.constant(0.5, tf.float64), cycle)
        if self.mode == "exp_range":
            height *= tf.pow(tf.constant(self.gamma, tf.float64), step)
        return self.initial_value + (self.maximal_value - self.initial_value) * height


@dataclass(frozen=True)
class one_cycle(Schedule):
    """The 1cycle policy: a straight line up to `peak`, one down again as long, and a last one to almost nothing.

    It starts at low = peak / div_factor, is at the peak at step n = pct_start · total_steps and back at step 2n. By
    `total_steps` it has come to low / final_div_factor, and stays.
    The momentum that goes with it falls and rises again: one_cycle(0.85, total_steps, div_factor=0.85 / 0.95,
    final_div_factor=1.0) takes it from 0.95 to 0.85 and back.
    Source: Smith and Topin, Super-Convergence (arXiv 1708.07120), section 3; the names are PyTorch's, whose own
    default differs: two half cosines.
    """

    peak: float
    total_steps: int
    pct_start: float = 0.45
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    domains = {
        "peak": FINITE,
        "total_steps": COUNT,
        "pct_start": _BELOW_HALF,
        "div_factor": ABOVE_0,
        "final_div_factor": ABOVE_0,
    }

    def _at(self, step):
        low, rise = self.peak / self.div_factor, self.pct_start * self.total_steps
        height = tf.maximum(1.0 - tf.abs(step / rise - 1.0), 0.0)
        share = tf.clip_by_value((step - 2 * rise) / (self.total_steps - 2 * rise), 0.0, 1.0)
        fallen = low * (1.0 - share) + low / self.final_div_factor * share
        return fallen + (self.peak - low) * height
