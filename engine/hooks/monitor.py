"""What hooks that watch a value share: which value, what counts as better, and the best so far."""

import math
import sys
from typing import Any

import tensorflow as tf

from engine.hooks.hook import Hook


def check_amounts(**amounts: float) -> None:
    """Refuses what is below 0, infinite or no number."""
    if not all(0 <= amount < math.inf for amount in amounts.values()):
        found = " and ".join(str(amount) for amount in amounts.values())
        raise ValueError(f"{' and '.join(amounts)} must be at least 0 and finite, got {found}")


class Monitor(Hook):
    """Watches a value; a subclass says in `looked` what follows from a look at it.

    monitor: "validation.loss", "train.accuracy", …: validation values are looked at after each evaluation, training
        values (means over the epoch) after each epoch.
    mode: "min", "max", or "auto": min for the loss, for a metric what its attribute `mode` says. Of one that says
        nothing (a `Mean`, a `Sum`) "…accuracy…" is max and "…loss" min, and of any other name the mode must be given.
    patience: how many looks in a row may pass without improvement. min_delta: what counts as improvement is more.

    What is watched, the best value and the looks waited are part of the run's state: a resumed run forgets nothing. A
    new `fit` that resumes nothing begins to look anew.
    """

    def __init__(self, monitor: str, *, mode: str, patience: int, min_delta: float, name: str):
        super().__init__(name)
        self.split, _, self.value = monitor.partition(".")
        if self.split not in ("train", "validation") or not self.value:
            raise ValueError(f'monitor must be "train.…" or "validation.…", such as "validation.loss"; got {monitor!r}')
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be auto, min or max, got {mode!r}")
        check_amounts(patience=patience, min_delta=min_delta)
        self.mode, self.patience, self.min_delta = mode, patience, min_delta
        self.sign = self._watching = None
        self.watched = self.best = self.waited = None

    def bind(self, run: Any) -> None:
        """Makes the variables; refuses a monitor that never comes, or of which nobody says what is better."""
        if self.split == "validation" and run.validation is None:
            raise ValueError(f"hook {self.name} monitors validation.{self.value}, but fit has no validation pipeline")
        known = ("loss", "data_loss", *run.trainer.metrics)
        if self.value not in known:
            raise ValueError(f"hook {self.name} monitors {self.value!r}; there are {', '.join(known)}")
        mode = self._mode(run.trainer.metrics.get(self.value))
        self.sign = 1.0 if mode == "max" else -1.0
        self._watching = f"{self.split}.{self.value}, {mode}"
        self.watched = tf.Variable(self._watching, trainable=False)
        self.best = tf.Variable(-float("inf"), dtype=tf.float64, trainable=False)
        self.waited = tf.Variable(0, dtype=tf.int64, trainable=False)

    def _mode(self, metric: Any) -> str:
        if self.mode != "auto":
            return self.mode
        if getattr(metric, "mode", None) in ("min", "max"):
            return metric.mode
        if "accuracy" in self.value:
            return "max"
        if self.value.endswith("loss"):
            return "min"
        raise ValueError(
            f"hook {self.name} monitors {self.value!r}, of which neither less nor more is better: "
            'mode must be "min" or "max"'
        )

    def on_fit_begin(self, run: Any) -> None:
        """Forgets what was remembered of another value."""
        watched = self.watched.numpy().decode()
        if watched != self._watching:
            print(f"hook {self.name} watched {watched}, now {self._watching}: it begins anew", file=sys.stderr)
            self.watched.assign(self._watching)
            self.begin_anew()

    def begin_anew(self) -> None:
        """Sets what was remembered to what it was at first."""
        self.best.assign(-float("inf"))
        self.waited.assign(0)

    def on_evaluate_end(self, run: Any, record: dict) -> None:
        """Looks, if it monitors validation."""
        self._look(run, record)

    def on_epoch_end(self, run: Any, record: dict) -> None:
        """Looks, if it monitors training."""
        self._look(run, record)

    def _look(self, run: Any, record: dict) -> None:
        if record["split"] != self.split:
            return
        value = self.sign * record[self.value]
        improved = value > float(self.best) + self.min_delta
        if improved:
            self.best.assign(value)
            self.waited.assign(0)
        self.looked(run, record, improved)

    def looked(self, run: Any, record: dict, improved: bool) -> None:
        """A look was taken; if the value improved, `best` is the new one, and `waited` is 0."""
        raise NotImplementedError(f"{type(self).__name__} must define looked()")
