"""What a step that was not finite was computed from, kept to be looked at again."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import absl.logging
import tensorflow as tf

from engine.files import checkpoints
from engine.hooks.hook import Hook


class Failures(Hook):
    """Saves state and batch of steps that were not finite, each in a folder `step-<number>` of `directory`.

    The folder is a checkpoint of the whole state before the step, and holds the batch as `batch.<name>`.
    `engine.replay` and `train.py --replay=<folder>` repeat the step. The first `keep` of a fit are saved.
    """

    chief_only = True

    def __init__(self, directory: str | Path, *, keep: int = 3, name: str = "failures"):
        super().__init__(name)
        self.directory, self.keep = Path(directory), keep
        self._saved = 0

    def on_fit_begin(self, run: Any) -> None:
        """Nothing is saved yet."""
        self._saved = 0

    def on_non_finite(self, run: Any, report: Any, batch: Any) -> None:
        """Saves; a disk that is full is no reason to end otherwise than the run would."""
        if self._saved == self.keep:
            return
        values = checkpoints.snapshot(run.state.variables_by_path())
        if isinstance(batch, Mapping):
            values |= {f"batch.{name}": value for name, value in batch.items() if tf.is_tensor(value)}
        facts = {"step": report.step, "report": dataclasses.asdict(report) | {"folder": None}}
        try:
            report.folder = checkpoints.save(self.directory / f"step-{report.step}", values, **facts)
            self._saved += 1
        except OSError as error:
            absl.logging.error("%s", error)
