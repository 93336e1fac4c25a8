"""Reducing the learning rate where a monitored value no longer improves."""

from typing import Any

import tensorflow as tf

from engine.hooks.monitor import Monitor, check_amounts
from engine.names import variable_paths


class ReduceOnPlateau(Monitor):
    """Multiplies the learning rate by `factor` when `patience` looks in a row have not improved `monitor`.

    scale: the optimizer's learning rate, a schedule with a `factor` that is a float64 variable of the optimizer, such
        as `optim.schedules.Scale(schedule)`. The schedule goes on, times the factor; nothing is traced again.
    monitor, mode, min_delta: see `Monitor`.
    patience: 0 and 1 both reduce at the first look without improvement.
    factor: above 0 and below 1.
    cooldown: how many looks after a reduction are not counted.
    min_lr: a reduction takes the rate, as it is at that step, no further than this.

    The names, the defaults and what they mean are those of Keras' ReduceLROnPlateau. The factor is part of the
    optimizer's state, all else of the hook's: a resumed run goes on to the same bits.
    """

    def __init__(
        self,
        scale: Any,
        monitor: str = "validation.loss",
        *,
        factor: float = 0.1,
        patience: int = 10,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        name: str = "reduce_on_plateau",
    ):
        super().__init__(monitor, mode=mode, patience=patience, min_delta=min_delta, name=name)
        if not (callable(scale) and isinstance(getattr(scale, "factor", None), tf.Variable)):
            raise TypeError(f"scale must be a schedule with a variable factor, optim.schedules.Scale(…), got {scale!r}")
        if not 0 < factor < 1:
            raise ValueError(f"factor must be above 0 and below 1, got {factor}")
        check_amounts(cooldown=cooldown, min_lr=min_lr)
        self.scale, self.factor, self.cooldown, self.min_lr = scale, factor, cooldown, min_lr
        self.cooling: tf.Variable | None = None

    def bind(self, run: Any) -> None:
        """Makes the variables; refuses a scale that the optimizer does not hold, and that would reduce nothing."""
        super().bind(run)
        held = variable_paths(run.trainer.optimizer).values()
        if not any(variable is self.scale.factor for variable in held):
            raise ValueError(f"hook {self.name}: the optimizer does not hold its scale; make that the learning_rate")
        self.cooling = tf.Variable(0, dtype=tf.int64, trainable=False)

    def begin_anew(self) -> None:
        """Waits and cools no more; the rate stays as it was reduced."""
        super().begin_anew()
        self.cooling.assign(0)

    def looked(self, run: Any, record: dict, improved: bool) -> None:
        """Counts, and reduces."""
        if self.cooling > 0:
            self.cooling.assign_sub(1)
            self.waited.assign(0)
        if improved or self.cooling > 0:
            return
        self.waited.assign_add(1)
        if self.waited >= self.patience and self._reduce(run):
            self.cooling.assign(self.cooldown)
            self.waited.assign(0)

    def _reduce(self, run: Any) -> bool:
        # Where steps were skipped, the optimizer's step is another than the run's.
        rate = float(self.scale(getattr(run.trainer.optimizer, "step", run.state.step)))
        # What only rounding puts above min_lr is at it.
        if rate <= self.min_lr * (1 + 1e-12):
            return False
        self.scale.factor.assign(self.scale.factor * max(self.factor, self.min_lr / rate))
        return True
