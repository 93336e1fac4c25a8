"""Early stopping (Prechelt, 1998, "Early stopping — but when?"): patience with a monitored value."""

import sys
from typing import Any

import tensorflow as tf

from engine.hooks.hook import Hook


class EarlyStopping(Hook):
    """Ends a fit when `patience` looks in a row have not improved `monitor` by more than `min_delta`.

    monitor: "validation.loss", "train.accuracy", …: validation values are looked at after each evaluation, training
        values (means over the epoch) after each epoch.
    mode: "min", "max", or "auto": max for accuracies, min for all else.
    patience: looks without improvement after which the fit ends; 0 and 1 both end at the first.
    restore_best: put the best weights back when the fit is over (not when a signal interrupted it), and with them
        their averages, if there are any.

    The best value, its weights and the count are part of the run's state: a resumed run forgets nothing. A new
    `fit` that resumes nothing begins to look anew.
    """

    def __init__(
        self,
        monitor: str = "validation.loss",
        *,
        mode: str = "auto",
        patience: int = 0,
        min_delta: float = 0.0,
        restore_best: bool = False,
        name: str = "early_stopping",
    ):
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
        self.patience, self.min_delta, self.restore_best = patience, min_delta, restore_best
        self._watching = f"{monitor}, {'max' if maximise else 'min'}"
        self.watched = self.best = self.best_step = self.waited = None
        self.best_weights: dict[str, tf.Variable] = {}

    def bind(self, run: Any) -> None:
        """Makes the variables, the copy of the weights among them; refuses a monitor that never comes."""
        if self.split == "validation" and run.validation is None:
            raise ValueError(f"hook {self.name} monitors validation.{self.value}, but fit has no validation pipeline")
        known = ("loss", "data_loss", *run.trainer.metrics)
        if self.value not in known:
            raise ValueError(f"hook {self.name} monitors {self.value!r}; there are {', '.join(known)}")
        self.watched = tf.Variable(self._watching, trainable=False)
        self.best = tf.Variable(-float("inf"), dtype=tf.float64, trainable=False)
        self.best_step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.waited = tf.Variable(0, dtype=tf.int64, trainable=False)
        weights = run.state.weights() if self.restore_best else {}
        self.best_weights = {path: tf.Variable(variable, trainable=False) for path, variable in weights.items()}

    def on_fit_begin(self, run: Any) -> None:
        """Ends a resumed run that had been ended; forgets what was remembered of another value."""
        watched = self.watched.numpy().decode()
        if watched != self._watching:
            print(f"hook {self.name} watched {watched}, now {self._watching}: it begins anew", file=sys.stderr)
            self.watched.assign(self._watching)
            self.best.assign(-float("inf"))
            self.best_step.assign(0)
            self.waited.assign(0)
        if self.waited > 0 and self.waited >= self.patience:
            run.stop("early_stopping")

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
        if value > float(self.best) + self.min_delta:
            self.best.assign(value)
            self.best_step.assign(record["step"])
            self.waited.assign(0)
            self._copy(run.state.weights(), self.best_weights)
            return
        self.waited.assign_add(1)
        if self.waited >= self.patience:
            run.stop("early_stopping")

    def on_fit_end(self, run: Any) -> None:
        """Puts the best weights back, if that was asked for and there are any."""
        if run.stopped_by in ("epochs", "max_steps", "early_stopping") and self.best_step > 0:
            self._copy(self.best_weights, run.state.weights())

    def _copy(self, source: dict, target: dict) -> None:
        for path in self.best_weights:
            target[path].assign(source[path])
