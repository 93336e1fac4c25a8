"""The history as a file: one JSON object a line."""

import io
import json
import math
import os
from pathlib import Path
from typing import Any

import absl.logging

from engine.hooks.hook import Hook


class HistoryFile(Hook):
    """Writes `history.jsonl`: a line for each loop and each evaluation, without timings.

    log_every_step: a line for each step instead of each loop.
    On resume the file is cut back to the checkpoint's step, so that no step stands twice and none is missing:
    a run that was killed and resumed writes the very file that it would have written undisturbed.
    Numbers that are not finite are written as null. Where the disk is full, lines wait until they can be written; no
    checkpoint is written before them.
    """

    chief_only = True

    def __init__(self, path: str | Path, *, log_every_step: bool = False, name: str = "history_file"):
        super().__init__(name)
        self.path, self.log_every_step = Path(path), log_every_step
        self._file: io.FileIO | None = None
        self._lines: list[str] = []
        self._behind = False

    def on_fit_begin(self, run: Any) -> None:
        """Keeps the lines up to the step that the run goes on from, but for those that will be written again."""
        kept = [line for line in whole_lines(self.path) if self._stays(json.loads(line), run)] if run.step else []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_suffix(".writing")
        aside.write_text("".join(kept))
        aside.replace(self.path)
        self._file, self._lines, self._behind = self.path.open("ab", buffering=0), [], False

    def _stays(self, record: dict, run: Any) -> bool:
        # Lines of single steps are written when the steps are done, all others at boundaries.
        by_step = self.log_every_step and record["split"] == "train"
        return record["step"] <= run.step if by_step else run.told(record["step"], record["split"])

    def on_rollback(self, run: Any) -> None:
        """As when a run is resumed."""
        self._file.close()
        self.on_fit_begin(run)

    def on_steps(self, run: Any, first: int, steps: list[dict]) -> None:
        """Writes the steps, if each is to have a line."""
        if self.log_every_step:
            for step, values in enumerate(steps, first):
                self._write({"split": "train", "step": step, "epoch": run.current_epoch, **values})

    def on_loop_end(self, run: Any, record: dict) -> None:
        """Writes the loop."""
        if not self.log_every_step:
            self._write(record)

    def on_evaluate_end(self, run: Any, record: dict) -> None:
        """Writes the evaluation."""
        self._write(record)

    def on_boundary(self, run: Any) -> None:
        """The lines can be read, and survive this process."""
        self._try_to_flush()

    def sync(self) -> None:
        """The lines survive the machine; OSError if not."""
        self._flush()
        os.fsync(self._file.fileno())

    def on_fit_end(self, run: Any) -> None:
        """As at a boundary."""
        self._try_to_flush()

    def close(self) -> None:
        """Closes the file."""
        if self._file:
            self._file.close()

    def _write(self, record: dict) -> None:
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        self._lines.append(json.dumps(finite) + "\n")

    def _try_to_flush(self) -> None:
        try:
            self._flush()
            self._behind = False
        except OSError as error:
            if not self._behind:
                absl.logging.error("%s; its lines wait in memory, training goes on", error)
            self._behind = True

    def _flush(self) -> None:
        """Writes the lines that wait, all or none."""
        content, size = memoryview("".join(self._lines).encode()), os.fstat(self._file.fileno()).st_size
        try:
            while content:
                content = content[self._file.write(content) :]
        except OSError as error:
            self._file.truncate(size)
            raise OSError(f"{self.path} could not be written: {error.strerror}") from error
        self._lines.clear()


def whole_lines(path: Path) -> list[str]:
    """The lines that were written to their end; what a kill cut short is left out."""
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("}\n")]
