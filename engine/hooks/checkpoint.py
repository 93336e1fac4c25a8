"""Saves the run's state, and takes it up again."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import absl.logging
import tensorflow as tf

from engine.files import checkpoints
from engine.hooks.hook import Hook
from engine.names import variable_paths


class Checkpoint(Hook):
    """Saves the whole state at each epoch's end, every `every` steps and at the end; resumes from the newest.

    directory: where the folders `step-…` go; a fit that finds checkpoints there goes on from the newest whole one.
    keep: how many of the newest stay.
    drop: names of hooks whose state in the checkpoint is forgotten.

    Model, optimizer and position must fit exactly, as must what the run is made of: seed, batch size, length and
    precision (CheckpointError names what differs). A hook that the checkpoint does not know starts fresh, with a
    notice; one that only the checkpoint knows is an error unless named in `drop`.
    """

    saves = True

    def __init__(self, directory: str | Path, *, every: int | None = None, keep: int = 3, drop=(), name="checkpoint"):
        super().__init__(name)
        if keep < 1 or (every is not None and every < 1):
            raise ValueError(f"every and keep must be at least 1, got {every} and {keep}")
        self.directory, self.every, self.keep = Path(directory), every, keep
        self.drop = (drop,) if isinstance(drop, str) else tuple(drop)
        self._saved = None

    def restore(self, run: Any) -> None:
        """Sets the state from the newest whole checkpoint, if there is one; all workers from the chief's, or none."""
        replicas, newest, failed = run.trainer.replicas, 0, None
        try:
            folder = checkpoints.latest(self.directory) if replicas.chief else None
            newest = int(folder.name.rpartition("-")[2]) + 1 if folder else 0
        except checkpoints.CheckpointError as error:
            failed = error
        newest = int(replicas.worker_sum(newest))
        try:
            if newest and not failed:
                self._restore(run, self._folder(newest - 1))
        except checkpoints.CheckpointError as error:
            failed = error
        if replicas.any(failed is not None):
            raise failed or checkpoints.CheckpointError("another worker could not restore the run, see there")

    def _folder(self, step: int) -> Path:
        return self.directory / f"step-{step:08d}"

    def _restore(self, run: Any, folder: Path) -> None:
        saved = checkpoints.manifest(folder)["run"]
        differing = [
            f"{name} was {saved.get(name)!r}, is {value!r}"
            for name, value in _identity(run).items()
            if saved.get(name) != value
        ]
        if differing:
            raise checkpoints.CheckpointError(f"checkpoint {folder} is of another run: {'; '.join(differing)}")
        known = {path.split(".")[1] for path in checkpoints.saved_variables(folder) if path.startswith("hooks.")}
        known -= set(self.drop)
        unknown = known - {hook.name for hook in run.hooks}
        if unknown:
            raise checkpoints.CheckpointError(
                f"checkpoint {folder} holds the state of hooks that this run lacks: {', '.join(sorted(unknown))}; "
                "add them, or drop their state by name"
            )
        variables = run.state.variables_by_path()
        fresh = {p.split(".")[1] for p in variables if p.startswith("hooks.")} - known
        for name in sorted(fresh):
            print(f"hook {name} is not in checkpoint {folder}: it starts fresh", file=sys.stderr)
        checkpoints.restore(
            folder,
            {p: v for p, v in variables.items() if not (p.startswith("hooks.") and p.split(".")[1] in fresh)},
            ignore=[f"hooks.{name}." for name in self.drop],
        )
        run.restored()
        self._saved = run.step

    def on_boundary(self, run: Any) -> None:
        """Saves where an epoch or the run ends, and at the multiples of `every`."""
        if run.epoch_ended or run.stopped_by or (self.every and run.step % self.every == 0):
            self._save(run)

    def on_fit_end(self, run: Any) -> None:
        """Saves what an interruption would lose; a state that is not finite is not worth keeping."""
        if run.stopped_by != "non_finite" and self._saved != run.step:
            self._save(run)

    def _save(self, run: Any) -> None:
        for path, variable in variable_paths(run.trainer.model).items():
            if variable.dtype.is_floating and not tf.reduce_all(tf.math.is_finite(variable)):
                absl.logging.error("variable %s is not finite after step %d: training stops, unsaved", path, run.step)
                run.stop("non_finite")
                return
        variables = run.state.variables_by_path()
        if run.chief:
            checkpoints.save(self._folder(run.step), variables, step=run.step, run=_identity(run))
            checkpoints.keep_last(self.directory, self.keep)
        else:
            # TensorFlow wants every worker to write, since some kinds of variables are gathered for that.
            with tempfile.TemporaryDirectory() as folder:
                checkpoints.write(Path(folder), variables)
        self._saved = run.step


def _identity(run: Any) -> dict:
    return {
        "seed": run.trainer.seed,
        "batch_size": run.train.batch_size,
        "steps_per_epoch": run.steps_per_epoch,
        "precision": run.trainer.precision.name,
    }
