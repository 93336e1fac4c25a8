"""Saves the run's state, and takes it up again."""

import math
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import absl.logging

from engine.files import checkpoints
from engine.files.lock import Lock
from engine.files.restoring import Reader, restore
from engine.files.writer import Writer
from engine.hooks.hook import Hook
from engine.hooks.monitor import Watched
from engine.non_finite import overflowed
from engine.state import NEW


class Checkpoint(Hook):
    """Saves the whole state at each epoch's end, every `every` steps and at the end; resumes from the newest.

    directory: where the folders `step-…` go; a fit that finds checkpoints there goes on from the newest whole one.
        One fit at a time writes there: a second one, in any process, is refused (OSError).
    every: also at these multiples of steps; every_s: also where a loop ends and that many seconds have passed.
    keep: how many of the newest stay; keep_best: how many of the best by `monitor`, such as "validation.loss", stay
        beside them (then each look at the monitored value is saved, too); mode: see `Monitor`;
        keep_every: each n-th stays for ever, counted over those that were due by `every` or an epoch's end.
    drop: names of hooks whose state in the checkpoint is forgotten.

    Training waits while the values are looked at; they are written, hashed, synced and renamed in a thread, one
    checkpoint at a time. A write that fails is reported, the older checkpoints stand, and training goes on to the
    next; the last one of a fit must succeed (OSError).

    Model, optimizer and position must fit exactly, as must what the run is made of: seed, batch size, length and
    precision (CheckpointError names what differs). A hook that the checkpoint does not know, or knows with other
    variables, starts fresh, with a notice; one that only the checkpoint knows is an error unless named in `drop`.
    """

    saves = True

    def __init__(
        self,
        directory: str | Path,
        *,
        every: int | None = None,
        every_s: float | None = None,
        keep: int = 3,
        keep_best: int = 0,
        monitor: str = "validation.loss",
        mode: str = "auto",
        keep_every: int | None = None,
        drop=(),
        name="checkpoint",
    ):
        super().__init__(name)
        if keep < 1 or keep_best < 0 or any(n is not None and n < 1 for n in (every, keep_every)):
            found = f"{every}, {keep}, {keep_every} and {keep_best}"
            raise ValueError(f"every, keep and keep_every must be at least 1 and keep_best at least 0, got {found}")
        if every_s is not None and not 0 < every_s < math.inf:
            raise ValueError(f"every_s must be a finite number of seconds above 0, got {every_s}")
        self.directory, self.every, self.every_s = Path(directory), every, every_s
        self.keep, self.keep_best, self.keep_every = keep, keep_best, keep_every
        self.drop = (drop,) if isinstance(drop, str) else tuple(drop)
        self._watched = Watched(monitor, mode) if keep_best else None
        self._monitored: tuple[int, float] | None = None
        self._saved: int | None = None
        self._resumed: int | None = None
        self._write: Callable | None = None
        self._fresh: dict[str, Any] = {}
        self._saved_at = time.monotonic()
        self._number = 0
        self._lock: Lock | None = None
        self._writer: Writer | None = None

    def bind(self, run: Any) -> None:
        """Refuses a monitor that never comes."""
        if self._watched:
            self._watched.bind(run, self.name)

    def restore(self, run: Any) -> None:
        """Sets the state from the newest whole checkpoint, if there is one; all workers from the chief's, or none."""
        self._saved, self._number, self._monitored, self._saved_at = None, 0, None, time.monotonic()
        self._resumed = None
        self._fresh = checkpoints.snapshot(_of_hooks(run)) if run.trainer.rolls_back else {}
        self._restore_newest(run, checkpoints.latest)
        self._resumed = -1 if self._saved is None else self._saved
        self._writer = Writer("tapeline-checkpoint") if run.chief else None

    def _restore_newest(self, run: Any, find: Callable) -> None:
        replicas, newest, failed = run.trainer.replicas, 0, None
        try:
            if replicas.chief:
                self._lock = self._lock or Lock(self.directory)
                self._lock.acquire()
                checkpoints.sweep(self.directory)
                folder = find(self.directory, set_aside=True)
                newest = checkpoints.step_of(folder) + 1 if folder else 0
        except (checkpoints.CheckpointError, OSError) as error:
            failed = error
        newest = int(replicas.worker_sum(newest))
        try:
            if newest and not failed:
                self.restore_from(run, self._folder(newest - 1))
        except checkpoints.CheckpointError as error:
            failed = error
        if replicas.any(failed is not None):
            raise failed or checkpoints.CheckpointError("another worker could not restore the run, see there")

    def on_fit_begin(self, run: Any) -> None:
        """Saves the beginning, if there may be a need to go back to it."""
        if run.trainer.rolls_back and self._saved is None:
            self._save(run, due=True)

    def rollback(self, run: Any) -> None:
        """Sets the state back to the newest whole checkpoint that was due, and removes those after it.

        Where a clock or a signal made one, an undisturbed run has none: going back there would be another run.
        """
        if self._writer:
            self._written()
        self._restore_newest(run, checkpoints.latest_due)
        if self._writer:
            checkpoints.remove_after(self.directory, self._folder(run.step))

    def _folder(self, step: int) -> Path:
        return self.directory / f"step-{step:08d}"

    def restore_from(self, run: Any, folder: Path) -> None:
        """Sets the whole state from one checkpoint."""
        reader = Reader(folder)
        saved = reader.facts["run"]
        differing = [
            f"{name} was {saved.get(name)!r}, is {value!r}"
            for name, value in _identity(run).items()
            if saved.get(name) != value
        ]
        if differing:
            raise checkpoints.CheckpointError(f"checkpoint {folder} is of another run: {'; '.join(differing)}")
        there, here = _by_hook(reader.shapes), _by_hook(_of_hooks(run))
        # What this fit has saved is not what was to be dropped.
        drop = self.drop if self._resumed is None or checkpoints.step_of(folder) <= self._resumed else ()
        known = set(there) - set(drop)
        unknown = known - {hook.name for hook in run.hooks}
        if unknown:
            raise checkpoints.CheckpointError(
                f"checkpoint {folder} holds the state of hooks that this run lacks: {', '.join(sorted(unknown))}; "
                "add them, or drop their state by name"
            )
        variables = run.state.variables_by_path()
        for path in NEW:
            if path not in reader:
                variables.pop(path).assign(0)
        fresh = set(here) - known
        for name in sorted(fresh):
            print(f"hook {name} is not in checkpoint {folder}: it starts fresh", file=sys.stderr)
        other = {name for name in set(here) & known if here[name] != there[name]}
        for name in sorted(other):
            print(f"hook {name} has other variables than in checkpoint {folder}: it starts fresh", file=sys.stderr)
        fresh |= other
        restore(
            reader,
            {p: v for p, v in variables.items() if not (p.startswith("hooks.") and p.split(".")[1] in fresh)},
            ignore=[f"hooks.{name}." for name in (*drop, *other)],
        )
        for path, value in self._fresh.items():
            if path.split(".")[1] in fresh:
                variables[path].assign(value)
        run.restored()
        self._saved, self._number = run.step, reader.facts.get("number", 0)

    def on_evaluate_end(self, run: Any, record: dict) -> None:
        """Remembers the value, if it is the monitored one."""
        self._look(run, record)

    def on_epoch_end(self, run: Any, record: dict) -> None:
        """Remembers the value, if it is the monitored one."""
        self._look(run, record)

    def _look(self, run: Any, record: dict) -> None:
        if self._watched and self._watched.sees(record):
            self._monitored = (run.step, record[self._watched.value])

    def on_boundary(self, run: Any) -> None:
        """Saves where an epoch or the run ends, at the multiples of `every`, and where else that was asked for."""
        due = run.epoch_ended or bool(self.every and run.step % self.every == 0)
        looked = self._monitored is not None and self._monitored[0] == run.step
        late = self.every_s is not None and time.monotonic() - self._saved_at >= self.every_s
        if due or looked or late or run.stopped_by:
            self._save(run, due=due)

    def on_fit_end(self, run: Any) -> None:
        """Saves what an interruption would lose; a state that is not finite is not worth keeping."""
        if run.stopped_by != "non_finite" and self._saved != run.step:
            self._save(run, due=False)
        if self._writer and not self._written():
            # What is to go on from here must be there: once more the same, now that nothing else is to be done. (The
            # model may hold its best weights by now.)
            self._begin_to_write(_failed_to_sync(run))
            self._writer.join()

    def _save(self, run: Any, *, due: bool) -> None:
        run.overflowed = overflowed(run.trainer.model)
        if run.overflowed:
            return
        self._number += due
        self._saved, self._saved_at = run.step, time.monotonic()
        if not self._writer:
            return
        self._written()
        # First: a hook may bring its own state up to date there.
        failed = _failed_to_sync(run)
        values = checkpoints.snapshot(run.state.variables_by_path())
        facts = {"step": run.step, "number": self._number, "due": due, "run": _identity(run)}
        if self._monitored is not None and self._monitored[0] == run.step:
            value = self._monitored[1] if math.isfinite(self._monitored[1]) else None
            facts["monitored"] = {
                "name": f"{self._watched.split}.{self._watched.value}", "mode": self._watched.mode, "value": value,
            }  # fmt: skip
        folder, rolls_back = self._folder(run.step), run.trainer.rolls_back

        def write():
            checkpoints.save(folder, values, **facts)
            checkpoints.retain(self.directory, self.keep, self.keep_best, self.keep_every, due=rolls_back)

        self._write = write
        self._begin_to_write(failed)

    def _begin_to_write(self, failed: OSError | None) -> None:
        write = self._write

        def job():
            if failed:
                raise failed
            write()
            # What it holds is as large as the model.
            self._write = None

        self._writer.submit(job)

    def _written(self) -> bool:
        """Waits for the write under way; False, and a report, if it failed."""
        try:
            self._writer.join()
        except OSError as error:
            absl.logging.error("%s; training goes on, the older checkpoints stand", error)
            return False
        return True

    def close(self) -> None:
        """Waits for the write under way, and lets others in."""
        if self._writer:
            self._writer.close()
        if self._lock:
            self._lock.release()
        self._writer = self._lock = None


def _of_hooks(run: Any) -> dict:
    """The hooks' variables by path."""
    return {path: v for path, v in run.state.variables_by_path().items() if path.startswith("hooks.")}


def _by_hook(paths: Iterable[str]) -> dict[str, set[str]]:
    """Of paths those of hooks, by the hook's name."""
    found: dict[str, set[str]] = {}
    for path in paths:
        if path.startswith("hooks."):
            found.setdefault(path.split(".")[1], set()).add(path)
    return found


def _failed_to_sync(run: Any) -> OSError | None:
    """Why what other hooks have written could not be brought to the disk, if so: a checkpoint would count on it."""
    try:
        for hook in run.active_hooks:
            hook.sync()
    except OSError as error:
        return error
    return None


def _identity(run: Any) -> dict:
    return {
        "seed": run.trainer.seed,
        "batch_size": run.train.batch_size,
        "steps_per_epoch": run.steps_per_epoch,
        "precision": run.trainer.precision.name,
    }
