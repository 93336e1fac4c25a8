"""Scalars for TensorBoard."""

from pathlib import Path
from typing import Any

import absl.logging
import tensorflow as tf

from engine.files.errors import reason
from engine.files.events import cut_back
from engine.hooks.hook import Hook


class TensorBoard(Hook):
    """Writes each loop's and each evaluation's values, the learning rate, and the norms of gradients, parameters and
    updates at the loop's last step, as scalars over steps.

    On resume the files are cut back to the checkpoint's step, so that no step is shown twice; a run that begins at step
    0 begins them anew. A disk that is full, or another reason why they can't be written, is no reason to stop training.

    Look at them with `tensorboard --logdir <directory>`; training and validation are two runs there.
    """

    norms = True
    chief_only = True

    def __init__(self, directory: str | Path, name: str = "tensorboard"):
        super().__init__(name)
        self.directory = Path(directory)
        self._writers: dict[str, Any] = {}
        self._broken = False

    def on_fit_begin(self, run: Any) -> None:
        """Keeps what was written up to the step that the run goes on from."""
        self._broken = False
        for folder in self.directory.glob("*/"):
            cut_back(folder, run.told)

    def on_rollback(self, run: Any) -> None:
        """As when a run is resumed."""
        self.close()
        self.on_fit_begin(run)

    def on_loop_end(self, run: Any, record: dict) -> None:
        """Writes training values and norms."""
        self._write(record, {**record, **{f"norms/{name}": value for name, value in run.last_norms.items()}})

    def on_evaluate_end(self, run: Any, record: dict) -> None:
        """Writes validation values."""
        self._write(record, record)

    def _write(self, record: dict, values: dict) -> None:
        if self._broken:
            return
        try:
            self._add(record, values)
        except tf.errors.OpError as error:
            absl.logging.error("nothing more is written to %s: %s", self.directory, reason(error))
            self._broken = True

    def _add(self, record: dict, values: dict) -> None:
        split = record["split"]
        if split not in self._writers:
            self._writers[split] = tf.summary.create_file_writer(str(self.directory / split))
        with self._writers[split].as_default(step=record["step"]):
            for name, value in values.items():
                if name not in ("split", "step"):
                    tf.summary.scalar(name, value)

    def on_boundary(self, run: Any) -> None:
        """What was written can be seen."""
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Closes the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
