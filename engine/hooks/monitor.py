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


class Watched:
    """A value by its name, "validation.loss" or "train.accuracy", and which way it is better: `mode`, min or max."""

    def __init__(self, monitor: str, mode: str):
        self.split, _, self.value = monitor.partition(".")
        if self.split not in ("train", "validation") or not self.value:
            raise ValueError(f'monitor must be "train.…" or "validation.…", such as "validation.loss"; got {monitor!r}')
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be auto, min or max, got {mode!r}")
        self.mode = self._asked = mode

    def bind(self, run: Any, hook: str) -> None:
        """Settles the mode; refuses a value that never comes, or of which nobody says what is better."""
        if self.split == "validation" and run.validation is None:
            raise ValueError(f"hook {hook} monitors validation.{self.value}, but fit has no validation pipeline")
        known = ("loss", "data_loss", *run.trainer.metrics)
        if self.value not in known:
            raise ValueError(f"hook {hook} monitors {self.value!r}; there are {', '.join(known)}")
        self.mode = self._better(run.trainer.metrics.get(self.value), hook) if self._asked == "auto" else self._asked

    def _better(self, metric: Any, hook: str) -> str:
        if getattr(metric, "mode", None) in ("min", "max"):
            return metric.mode
        if "accuracy" in self.value:
            return "max"
        if self.value.endswith("loss"):
            return "min"
        raise ValueError(
            f"hook {hook} monitors {self.value!r}, of which neither less nor more is better: "
            'mode must be "min" or "max"'
        )

    def sees(self, record: dict) -> bool:
        """Whether the value is in a record. A mean over an epoch without a step that counted is NaN, and no look."""
        return record["split"] == self.split and not (self.split == "train" and math.isnan(record[self.value]))

    def __str__(self) -> str:
        return f"{self.split}.{self.value}, {self.mode}"


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
        self._watched = Watched(monitor, mode)
        check_amounts(patience=patience, min_delta=min_delta)
        self.patience, self.min_delta = patience, min_delta
        self.watched: tf.Variable | None = None
        self.best: tf.Variable | None = None
        self.waited: tf.Variable | None = None

    def bind(self, run: Any) -> None:
        """Makes the variables; refuses a monitor that never comes, or of which nobody says what is better."""
        self._watched.bind(run, self.name)
        self.watched = tf.Variable(str(self._watched), trainable=False)
        self.best = tf.Variable(-float("inf"), dtype=tf.float64, trainable=False)
        self.waited = tf.Variable(0, dtype=tf.int64, trainable=False)

    def on_fit_begin(self, run: Any) -> None:
        """Forgets what was remembered of another value."""
        watched = self.watched.numpy().decode()
        if watched != str(self._watched):
            print(f"hook {self.name} watched {watched}, now {self._watched}: it begins anew", file=sys.stderr)
            self.watched.assign(str(self._watched))
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
        if not self._watched.sees(record):
            return
        value = record[self._watched.value] * (1 if self._watched.mode == "max" else -1)
        improved = value > float(self.best) + self.min_delta
        if improved:
            self.best.assign(value)
            self.waited.assign(0)
        self.looked(run, record, improved)

    def looked(self, run: Any, record: dict, improved: bool) -> None:
        """A look was taken; if the value improved, `best` is the new one, and `waited` is 0."""
        raise NotImplementedError(f"{type(self).__name__} must define looked()")
