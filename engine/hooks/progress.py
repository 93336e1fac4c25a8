"""The progress bar and the lines of epochs, for a person at a terminal."""

import sys
import time
from typing import Any

import tqdm

from engine.hooks.hook import Hook
from engine.hooks.monitor import Monitor, Watched


class Progress(Hook):
    """A bar with epoch, step, loss, metrics, examples/s and time left; nothing at all where stderr is no terminal."""

    chief_only = True

    def __init__(self, name: str = "progress"):
        super().__init__(name)
        self._bar = None

    def on_fit_begin(self, run: Any) -> None:
        """Draws the bar."""
        if sys.stderr.isatty():
            self._bar = tqdm.tqdm(
                total=run.total_steps, initial=run.step, unit="step", dynamic_ncols=True, leave=False, smoothing=0.1
            )

    def on_steps(self, run: Any, first: int, steps: list[dict]) -> None:
        """Moves it on."""
        if self._bar is None:
            return
        self._bar.update(len(steps))
        epochs = f"/{run.epochs}" if run.epochs else ""
        self._bar.set_description(f"epoch {run.current_epoch}{epochs}")
        last = {name: f"{value:.4f}" for name, value in steps[-1].items() if name not in ("data_loss", "learning_rate")}
        if run.history.examples_per_second:
            last["examples/s"] = f"{run.history.examples_per_second:,.0f}"
        self._bar.set_postfix(last)

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()


class EpochLines(Monitor):
    """One line on stdout for each epoch: its training values, the newest validation values, its time and speed.

    Where the monitored value is the best so far, the line says so: see `Monitor`. monitor: "auto" is "validation.loss"
    where there is validation, else "train.loss". What was best is part of the run's state: a resumed run marks on.
    """

    chief_only = True

    def __init__(self, monitor: str = "auto", *, mode: str = "auto", name: str = "epoch_lines"):
        super().__init__(
            "train.loss" if monitor == "auto" else monitor, mode=mode, patience=0, min_delta=0.0, name=name
        )
        self._auto = monitor == "auto"
        self._validation: dict = {}
        self._best_step: int | None = None
        self._began: float | None = None
        self._timed = 0, 0.0

    def bind(self, run: Any) -> None:
        """Settles what is monitored."""
        if self._auto:
            self._watched = Watched("train.loss" if run.validation is None else "validation.loss", "auto")
        super().bind(run)

    def on_fit_begin(self, run: Any) -> None:
        """Looks at the clock."""
        super().on_fit_begin(run)
        self._validation, self._best_step, self._began = {}, None, time.perf_counter()
        self._timed = 0, 0.0

    def on_evaluate_end(self, run: Any, record: dict) -> None:
        """Keeps the values for the epoch's line."""
        super().on_evaluate_end(run, record)
        self._validation = record

    def looked(self, run: Any, record: dict, improved: bool) -> None:
        """Keeps where it was best."""
        if improved:
            self._best_step = record["step"]

    def on_epoch_end(self, run: Any, record: dict) -> None:
        """Prints the line."""
        super().on_epoch_end(run, record)
        now = time.perf_counter()
        seconds, self._began = now - self._began, now
        of = f"/{run.epochs}" if run.epochs else ""
        width = len(str(run.epochs or 100))
        parts = [f"epoch {record['epoch']:>{width}}{of}", f"step {record['step']:>6}", _values(record)]
        if self._validation.get("step") == record["step"]:
            parts.append("validation " + _values(self._validation))
        parts.append(f"{seconds:.1f} s")
        timed = run.timed_examples, run.timed_s
        examples, took = (after - before for after, before in zip(timed, self._timed, strict=True))
        self._timed = timed
        if took:
            parts.append(f"{examples / took:,.0f} examples/s")
        if self._best_step == record["step"]:
            parts.append(f"* best {self._watched.split} {self._watched.value}")
        tqdm.tqdm.write("  ".join(parts), file=sys.stdout)
        sys.stdout.flush()


def _values(record: dict) -> str:
    names = [name for name in record if name not in ("split", "step", "epoch", "data_loss")]
    return " ".join(f"{name} {record[name]:.4f}" for name in names)
