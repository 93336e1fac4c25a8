"""A sweep of the learning rate: what the loss does as the rate grows, and where it falls fastest."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import absl.logging
import numpy as np
import tensorflow as tf

from engine.hooks.hook import Hook
from engine.names import module_paths
from engine.non_finite import NonFinite
from engine.run import is_count
from engine.trainer import Trainer

# Of the running mean that tells divergence, and of the lines of the text.
_RUNNING, _LINES, _WIDTH = 5, 30, 50


@dataclasses.dataclass(frozen=True)
class RateSweep:
    """What a sweep found; `str` gives the curve as text.

    rates, losses: of each step, float64 `[steps]`; smoothed: the losses, each the mean of a window around it of 5% of
    the steps (less at the ends, so that it stays in the middle).
    diverged: whether the sweep ended before its last rate.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    diverged: bool

    @property
    def suggestion(self) -> float | None:
        """The rate at which the smoothed loss falls fastest over log(rate), before its lowest; None if it never falls.

        How fast is the slope of the line of least squares through the losses around, a sixth of the sweep.
        It is a good rate for most of a training, and the highest of a schedule that warms up. Rates that train at all
        lie between where the loss begins to fall and where it is lowest: Smith 2015, "Cyclical learning rates for
        training neural networks" (arXiv 1506.01186), section 3.3.
        """
        lowest = int(np.argmin(self.smoothed)) if len(self.smoothed) else 0
        if lowest < 1:
            return None
        reach, logs = max(1, len(self.rates) // 12), np.log(self.rates)
        windows = [slice(max(0, place - reach), place + reach + 1) for place in range(lowest + 1)]
        # Of lines through the losses around: that of two neighbours is noise.
        slopes = [np.polyfit(logs[window], self.losses[window], 1)[0] for window in windows]
        steepest = int(np.argmin(slopes))
        return float(self.rates[steepest]) if slopes[steepest] < 0 else None

    def plot(self, path: str | Path) -> None:
        """Draws the curve as the PNG file `path`. ImportError without matplotlib, which the extra `plot` installs."""
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("drawing the sweep needs matplotlib: pip install 'tapeline[plot]'") from error
        # Not pyplot, which keeps every figure and may want a window.
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.add_subplot(xlabel="learning rate", ylabel="loss", xscale="log")
        axes.plot(self.rates, self.losses, color="0.75", linewidth=1, label="loss")
        axes.plot(self.rates, self.smoothed, color="tab:blue", label="smoothed")
        if self.suggestion is not None:
            axes.axvline(self.suggestion, color="tab:red", linestyle="--", label=f"suggestion {self.suggestion:.2g}")
        low, high = _range(self.smoothed)
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(path, format="png")

    def __str__(self) -> str:
        low, high = _range(self.smoothed)
        chosen = np.unique(np.linspace(0, len(self.rates) - 1, min(_LINES, len(self.rates))).round().astype(int))
        marked = None if self.suggestion is None else int(np.argmin(abs(self.rates[chosen] - self.suggestion)))
        lines = ["learning rate      loss"]
        for line, place in enumerate(chosen):
            share = min(1.0, (self.smoothed[place] - low) / (high - low)) if high > low else 0.0
            mark = "  ← falls fastest" if line == marked else ""
            lines.append(
                f"{self.rates[place]:13.3g}  {self.smoothed[place]:8.4f}  {'█' * round(_WIDTH * share)}▏{mark}"
            )
        if self.diverged:
            lines.append(f"ended at {self.rates[-1]:.3g}: the loss diverges" if len(self.rates) else "diverges at once")
        found = "none: the loss never falls" if self.suggestion is None else f"{self.suggestion:.2g}"
        return "\n".join([*lines, f"suggested learning rate: {found}"])


def lr_find(
    trainer: Trainer, pipeline: Any, *, lowest: float = 1e-7, highest: float = 10.0, steps: int = 100
) -> RateSweep:
    """Trains for `steps` updates at rates that grow from `lowest` to `highest` by one factor, and puts all back.

    The step is the trainer's own: its objective, rule, replicas, precision, on the batches of an epoch 0 of its seed.
    Smith 2015 (arXiv 1506.01186), section 3.3, with an exponential sweep. It ends early where the loss is not finite,
    or its mean over the last 5 steps lies more than 3 times the first loss above the lowest such mean.

    Afterwards model, slots and everything else of the trainer's state are bit for bit what they were; the average of
    the weights takes no part. Every module of the optimizer that has a `learning_rate`, a number or a function of the
    step, gets the sweep's meanwhile; where several have one (a `Partition`), they keep the proportions of the present
    step. ValueError for an optimizer that has none.
    """
    if not 0 < lowest < highest < math.inf:
        raise ValueError(f"0 < lowest < highest must hold, and highest be finite, got {lowest} and {highest}")
    if not is_count(steps) or steps < 2:
        raise ValueError(f"steps must be a whole number of at least 2, got {steps!r}")
    rates = np.geomspace(lowest, highest, steps)
    with _restored(trainer), _swept(trainer.optimizer, trainer.replicas.scope()) as rate, _quiet():
        hook = _Sweep(rate, rates)
        # A trainer of its own, whose position, sums and traces are not those of the run.
        sweep = Trainer(
            trainer.model,
            trainer.objective,
            trainer.optimizer,
            seed=trainer.seed,
            strategy=trainer.replicas.strategy,
            precision=trainer.precision.name,
            jit_compile=trainer.jit_compile,
            accumulate_steps=trainer.accumulate_steps,
            steps_per_loop=1,
            loss_scaling=trainer.state.loss_scale or "none",
        )
        stopped = None
        with contextlib.suppress(NonFinite):
            stopped = sweep.fit(pipeline, max_steps=steps, hooks=[hook]).stopped_by
    if stopped == "signal":
        raise KeyboardInterrupt
    losses = np.array(hook.losses)
    return RateSweep(rates[: len(losses)], losses, _smoothed(losses, max(1, steps // 40)), len(losses) < steps)


class _Sweep(Hook):
    """Sets the rate of the next step, and ends the fit where it diverges."""

    def __init__(self, rate: tf.Variable, rates: np.ndarray):
        super().__init__("sweep")
        self._rate, self._rates = rate, rates
        # A tuple: what a tf.Module keeps in a list becomes part of its state.
        self.losses: tuple[float, ...] = ()
        self._lowest = math.inf

    def on_fit_begin(self, run: Any) -> None:
        """The first rate."""
        self._rate.assign(self._rates[0])

    def on_steps(self, run: Any, first: int, steps: list[dict]) -> None:
        """The next one."""
        loss = steps[-1]["loss"]
        running = float(np.mean([*self.losses, loss][-_RUNNING:]))
        if not math.isfinite(loss):
            run.stop("diverged")
            return
        self.losses += (loss,)
        self._lowest = min(self._lowest, running)
        if running > self._lowest + 3 * abs(self.losses[0]):
            run.stop("diverged")
        elif first < len(self._rates):
            self._rate.assign(self._rates[first])


@contextlib.contextmanager
def _restored(trainer: Trainer) -> Iterator[None]:
    """Afterwards the trainer's state holds the very values that it holds now."""
    before = {path: (v, v.numpy()) for path, v in trainer.state.variables_by_path().items() if v.dtype != tf.string}
    try:
        yield
    finally:
        for variable, value in before.values():
            variable.assign(value)


@contextlib.contextmanager
def _swept(optimizer: tf.Module, scope: contextlib.AbstractContextManager) -> Iterator[tf.Variable]:
    """Within it the optimizer's rates are those of the variable that it yields, each in its proportion to the first."""
    own = {module: vars(module)["learning_rate"] for module in module_paths(optimizer).values() if _has_rate(module)}
    if not own:
        raise ValueError(
            f"lr_find needs an optimizer with a learning_rate that is a number or a function, got {optimizer!r}"
        )
    step = getattr(optimizer, "step", None)
    now = [
        float(each(tf.constant(0, tf.int64) if step is None else step) if callable(each) else each)
        for each in own.values()
    ]
    with scope:
        rate = tf.Variable(tf.zeros([], tf.float64), trainable=False)

    def times(share):
        return lambda step: rate * tf.constant(share, tf.float64)

    try:
        for module, value in zip(own, now, strict=True):
            module.learning_rate = times(value / now[0] if now[0] and value else 1.0)
        yield rate
    finally:
        for module, setting in own.items():
            module.learning_rate = setting


def _has_rate(module: tf.Module) -> bool:
    setting = vars(module).get("learning_rate")
    return callable(setting) or (isinstance(setting, float | int | np.number) and not isinstance(setting, bool))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No reports of steps that are not finite: a sweep ends in them."""
    verbosity = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.FATAL)
    try:
        yield
    finally:
        absl.logging.set_verbosity(verbosity)


def _smoothed(losses: np.ndarray, reach: int) -> np.ndarray:
    count = len(losses)
    reaches = [min(reach, place, count - 1 - place) for place in range(count)]
    return np.array([losses[place - r : place + r + 1].mean() for place, r in enumerate(reaches)])


def _range(smoothed: np.ndarray) -> tuple[float, float]:
    """What of the curve is worth seeing: from its lowest loss to a little above its first."""
    if not len(smoothed):
        return 0.0, 0.0
    low, first = float(smoothed.min()), float(smoothed[0])
    return low, min(float(smoothed.max()), first + 0.5 * (first - low) if first > low else math.inf)
