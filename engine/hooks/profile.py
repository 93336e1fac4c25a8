"""A profile of some steps."""

from pathlib import Path
from typing import Any

import absl.logging
import tensorflow as tf

from engine.hooks.hook import Hook
from engine.op_times import STEP, OpTimes, op_times
from engine.run import is_count


class Profile(Hook):
    """Profiles `steps` steps, the first of which is step `first`, by `tf.profiler`; then prints the ten dearest ops.

    folder: there the profile lies for TensorBoard (with its plugin: `pip install xprof`), and the table as `ops.txt`.
    Within the window each compiled loop is one step, so that each step has its marker; before and after it loops are as
    long as they would be. The first call of a loop traces it: begin with a later step. `table` is what was found, an
    `engine.op_times.OpTimes`. A fit that goes on beyond the window profiles nothing, and says so.

    ValueError unless `first` and `steps` are whole numbers of at least 1; RuntimeError if a profiler runs already.
    """

    chief_only = True

    def __init__(self, folder: str | Path, first: int = 10, steps: int = 5, name: str = "profile"):
        super().__init__(name)
        for word, value in (("first", first), ("steps", steps)):
            if not is_count(value):
                raise ValueError(f"{word} must be a whole number of at least 1, got {value!r}")
        self.folder, self.first, self.steps = Path(folder), int(first), int(steps)
        self.table: OpTimes | None = None
        self._run: Any = None
        self._marker: Any = None
        self._running = False

    @property
    def every(self) -> int | None:  # type: ignore[override]
        """Loops end where the window begins, after each of its steps, and where it ends: a function of the step."""
        before, last = self.first - 1, self.first + self.steps - 1
        if self._run is None or self._run.step > last:
            return None
        if self._run.step < before:
            return before
        return last if self._run.step == last else 1

    def bind(self, run: Any) -> None:
        """Takes notice of the run, whose step decides."""
        self._run = run

    def on_fit_begin(self, run: Any) -> None:
        """Begins, if the first step is in the window."""
        self.table = None
        if run.step >= self.first + self.steps - 1:
            absl.logging.warning("nothing is profiled: the fit begins after step %d", self.first + self.steps - 1)
        self._before_step(run)

    def on_steps(self, run: Any, first: int, steps: list[dict]) -> None:
        """The step is over."""
        self._leave_step()

    def on_boundary(self, run: Any) -> None:
        """Begins the next step, or ends the window."""
        if self._running and run.step >= self.first + self.steps - 1:
            self._finish()
        self._before_step(run)

    def on_fit_end(self, run: Any) -> None:
        """Makes do with a window that was not reached, or not filled."""
        if self._running:
            self._finish()
        elif self.table is None and run.step < self.first:
            absl.logging.warning("nothing is profiled: the fit ends at step %d, before %d", run.step, self.first)

    def close(self) -> None:
        """Ends what an error left running."""
        self._leave_step()
        if self._running:
            self._running = False
            tf.profiler.experimental.stop()

    def _before_step(self, run: Any) -> None:
        if run.stopped_by or not self.first - 1 <= run.step < self.first + self.steps - 1:
            return
        if not self._running:
            try:
                tf.profiler.experimental.start(str(self.folder))
            except tf.errors.AlreadyExistsError as error:
                raise RuntimeError(
                    f"hook {self.name}: a profiler runs already; stop it, or leave this hook out"
                ) from error
            self._running = True
        self._marker = tf.profiler.experimental.Trace(STEP, step_num=run.step + 1, _r=1)
        self._marker.__enter__()

    def _leave_step(self) -> None:
        if self._marker is not None:
            self._marker.__exit__(None, None, None)
            self._marker = None

    def _finish(self) -> None:
        self.close()
        self.table = op_times(self.folder)
        (self.folder / "ops.txt").write_text(f"{self.table}\n")
        print(f"{self.table}\nprofile: {self.folder}")
