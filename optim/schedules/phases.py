"""Schedules of several phases: one after the other, a warm-up in front, a plateau between."""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from optim.domain import ABOVE_0, COUNT, FINITE, WHOLE
from optim.schedules.decays import cosine
from optim.schedules.schedule import Schedule, Setting, evaluate, require_parts, require_setting, since


@dataclass(frozen=True)
class join(Schedule):
    """One after the other: schedules[i](step − boundaries[i − 1]) for boundaries[i − 1] <= step < boundaries[i].

    A boundary is the first step of what comes after it, and its step 0. `schedules`, which may be numbers, are one
    more than `boundaries`, whole numbers of at least 1 that rise strictly.
    """

    schedules: Sequence[Setting]
    boundaries: Sequence[int]

    def __post_init__(self):
        for name in ("schedules", "boundaries"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for i, schedule in enumerate(self.schedules):
            require_setting(f"schedules[{i}]", schedule)
        require_parts("schedules", self.schedules, self.boundaries, COUNT)

    def _at(self, step):
        passed = tf.math.count_nonzero(step >= tf.constant(self.boundaries, tf.float64))
        starts = zip(self.schedules, (0, *self.boundaries), strict=True)
        return tf.gather(tf.stack([since(schedule, start, step) for schedule, start in starts]), passed)


@dataclass(frozen=True)
class warmup(Schedule):
    """Linear warm-up in front of a schedule or a number.

    For step < warmup_steps: initial_value + (schedule(0) − initial_value) · step / warmup_steps;
    from there on schedule(step − warmup_steps). With `warmup_steps` = 0, the schedule itself. A warm-up from 0 towards
    a schedule that starts at 0, such as `cyclic` may, would stay at 0 throughout: ValueError.
    Source: Goyal et al. (arXiv 1706.02677), section 2.2.
    """

    schedule: Setting
    warmup_steps: int
    initial_value: float = 0.0

    domains = {"warmup_steps": WHOLE, "initial_value": FINITE}

    def __post_init__(self):
        super().__post_init__()
        require_setting("schedule", self.schedule)
        # Not other functions: what they need may not be there yet.
        if self.warmup_steps and self.initial_value == 0 and isinstance(self.schedule, Schedule):
            with tf.init_scope():
                target = float(self.schedule(tf.constant(0, tf.int64)))
            if target == 0:
                raise ValueError(f"schedule must not start at 0 after a warm-up from 0, got {self.schedule!r}")

    def _at(self, step):
        target = evaluate(self.schedule, tf.constant(0, tf.int64))
        ramp = self.initial_value + (target - self.initial_value) * step / max(self.warmup_steps, 1)
        return tf.where(step < self.warmup_steps, ramp, since(self.schedule, self.warmup_steps, step))


def warmup_cosine(peak: float, warmup_steps: int, total_steps: int, alpha: float = 0.0) -> warmup:
    """Linear warm-up from 0 to `peak`, then half a cosine down to alpha · peak at `total_steps`."""
    FINITE.require("peak", peak)
    WHOLE.require("warmup_steps", warmup_steps)
    WHOLE.require("total_steps", total_steps)
    if warmup_steps >= total_steps:
        raise ValueError(f"total_steps must be above warmup_steps ({warmup_steps}), got {total_steps}")
    return warmup(cosine(peak, total_steps - warmup_steps, alpha), warmup_steps)


@dataclass(frozen=True)
class warmup_stable_decay(Schedule):
    """Linear warm-up from 0 to `peak`, which stays until the last `decay_steps`: peak · (1 − y) + end_value · y.

    y = ((step − total_steps + decay_steps) / decay_steps)^power, from 0 to 1: a straight line with a `power` of 1,
    and 1 − √ with 0.5. From `total_steps` on the value is `end_value`. A run can be prolonged before its decay.
    Source: Hu et al., MiniCPM (arXiv 2404.06395), section 4; the power of 0.5: Hägele et al., Scaling Laws and
    Compute-Optimal Training Beyond Fixed Training Durations (arXiv 2405.18392).
    """

    peak: float
    warmup_steps: int
    total_steps: int
    decay_steps: int
    end_value: float = 0.0
    power: float = 1.0

    domains = {
        "peak": FINITE,
        "warmup_steps": WHOLE,
        "total_steps": COUNT,
        "decay_steps": COUNT,
        "end_value": FINITE,
        "power": ABOVE_0,
    }

    def __post_init__(self):
        super().__post_init__()
        if self.warmup_steps + self.decay_steps > self.total_steps:
            raise ValueError(
                f"total_steps must be at least warmup_steps ({self.warmup_steps}) and decay_steps "
                f"({self.decay_steps}) together, got {self.total_steps}"
            )

    def _at(self, step):
        share = tf.clip_by_value((step - self.total_steps + self.decay_steps) / self.decay_steps, 0.0, 1.0)
        fallen = tf.pow(share, self.power)
        # Not peak − (peak − end_value) · y, which may miss end_value by a rounding.
        level = self.peak * (1.0 - fallen) + self.end_value * fallen
        return tf.where(step < self.warmup_steps, self.peak * step / max(self.warmup_steps, 1), level)
