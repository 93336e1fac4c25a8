"""What hooks that watch a value share: which value, what counts as better, and the best so far."""

import sys
from typing import Any

import tensorflow as tf

from engine.hooks.hook import Hook


class Monitor(Hook):
    """Watches a value; a subclass says in `looked` what follows from a look at it.

    monitor: "validation.loss", "train.accuracy", …: validation values are looked at after each evaluation, training
        values (means over the epoch) after each epoch.
    mode: "min", "max", or "auto": max for accuracies, min for all else.
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
        if patience < 0 or min_delta < 0:
            raise ValueError(f"patience and min_delta must be at least 0, got {patience} and {min_delta}")
        maximise = mode == "max" or (mode == "auto" and "accuracy" in self.value)
        self.sign = 1.0 if maximise else -1.0
        self.patience, self.min_delta = patience, min_delta
        self._watching = f"{monitor}, {'max' if maximise else 'min'}"
        self.watched = self.best = self.waited = None

    def bind(self, run: Any) -> None:
        """Makes the variables; refuses a monitor that never comes."""
        if self.split == "validation" and run.validation is None:
            raise ValueError(f"hook {self.name} monitors validation.{self.value}, but fit has no validation pipeline")
        known = ("loss", "data_loss", *run.trainer.metrics)
        if self.value not in known:
            raise ValueError(f"hook {self.name} monitors {self.value!r}; there are {', '.join(known)}")
        self.watched = tf.Variable(self._watching, trainable=False)
        self.best = tf.Variable(-float("inf"), dtype=tf.float64, trainable=False)
        self.waited = tf.Variable(0, dtype=tf.int64, trainable=False)

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
