"""Early stopping (Prechelt, 1998, "Early stopping — but when?"): patience with a monitored value."""

from typing import Any

import tensorflow as tf

from engine.hooks.monitor import Monitor


class EarlyStopping(Monitor):
    """Ends a fit when `patience` looks in a row have not improved `monitor` by more than `min_delta`.

    monitor: "validation.loss", "train.accuracy", …: validation values are looked at after each evaluation, training
        values (means over the epoch) after each epoch.
    mode: "min", "max", or "auto": what is better by the metric's own account; see `Monitor`.
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
        super().__init__(monitor, mode=mode, patience=patience, min_delta=min_delta, name=name)
        self.restore_best = restore_best
        self.best_step: tf.Variable | None = None
        self.best_weights: dict[str, tf.Variable] = {}

    def bind(self, run: Any) -> None:
        """Makes the variables, the copy of the weights among them; refuses a monitor that never comes."""
        super().bind(run)
        self.best_step = tf.Variable(0, dtype=tf.int64, trainable=False)
        weights = run.state.weights() if self.restore_best else {}
        self.best_weights = {path: tf.Variable(variable, trainable=False) for path, variable in weights.items()}

    def begin_anew(self) -> None:
        """Forgets the best step, too."""
        super().begin_anew()
        self.best_step.assign(0)

    def on_fit_begin(self, run: Any) -> None:
        """Ends a resumed run that had been ended; forgets what was remembered of another value."""
        super().on_fit_begin(run)
        if self.waited > 0 and self.waited >= self.patience:
            run.stop("early_stopping")

    def looked(self, run: Any, record: dict, improved: bool) -> None:
        """Keeps the best weights, or counts and ends the fit."""
        if improved:
            self.best_step.assign(record["step"])
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
