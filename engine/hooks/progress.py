"""The progress bar, for a person at a terminal."""

import sys
from typing import Any

import tqdm

from engine.hooks.hook import Hook


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


class EpochLines(Hook):
    """One line on stdout for each epoch: its training values and, where there are any, the newest validation values."""

    chief_only = True

    def __init__(self, name: str = "epoch_lines"):
        super().__init__(name)
        self._validation: dict = {}

    def on_evaluate_end(self, run: Any, record: dict) -> None:
        """Keeps the values for the epoch's line."""
        self._validation = record

    def on_epoch_end(self, run: Any, record: dict) -> None:
        """Prints the line."""
        parts = [f"epoch {record['epoch']:>3}", f"step {record['step']:>6}", _values(record)]
        if self._validation.get("step") == record["step"]:
            parts.append("validation " + _values(self._validation))
        if run.history.examples_per_second:
            parts.append(f"{run.history.examples_per_second:,.0f} examples/s")
        tqdm.tqdm.write("  ".join(parts), file=sys.stdout)
        sys.stdout.flush()


def _values(record: dict) -> str:
    names = [name for name in record if name not in ("split", "step", "epoch", "data_loss")]
    return " ".join(f"{name} {record[name]:.4f}" for name in names)
