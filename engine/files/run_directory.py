"""The folder of one run: what was asked for, and what came of it."""

import json
import math
import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from engine.files.errors import reason
from engine.files.lock import Lock

FINAL = ("epochs", "max_steps", "early_stopping")


class RunDirectory:
    """Where a run writes: flags, environment, history, checkpoints, what TensorBoard shows, and the result.

    The folder is made by the first thing that is written. OSError names it if that will not be possible.
    `with RunDirectory(…) as directory:` lets go of what `lock` took, and removes a new folder again if an error ended
    the run before its first step.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._new = not self.path.exists()
        there = self.path
        while not there.exists() and there != there.parent:
            there = there.parent
        try:
            tempfile.TemporaryFile(dir=there).close()
        except OSError as error:
            raise OSError(f"the run directory {self.path} can't be written: {error.strerror}") from None
        self.checkpoints = self.path / "checkpoints"
        self.history = self.path / "history.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self._lock = Lock(self.path)

    def lock(self) -> None:
        """Takes the folder for this process, until the `with` ends. OSError names the process that has it."""
        self._lock.acquire()

    def lock_if_begun(self) -> None:
        """Takes the folder at once if there is a run in it, so that what is read there stays as it is."""
        if self._lock.path.exists():
            self.lock()

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, error: type[BaseException] | None, *_) -> None:
        if error and self._new and self._lock.held and not self._begun():
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()

    def _begun(self) -> bool:
        return any(self.checkpoints.glob("step-*")) or (self.history.exists() and self.history.stat().st_size > 0)

    def flags(self) -> dict[str, str]:
        """The lines of `flags.cfg` by the name of the flag; empty as long as there is nothing to resume."""
        file = self.path / "flags.cfg"
        begun = file.exists() and any(self.checkpoints.glob("step-*"))
        lines = file.read_text().splitlines() if begun else []
        return {flag_name(line): line for line in lines if line.startswith("--")}

    def write_flags(self, lines: Mapping[str, str]) -> None:
        """Writes the flagfile that repeats this run."""
        self._write("flags.cfg", "".join(f"{lines[name]}\n" for name in sorted(lines)))

    def check_flags(
        self, lines: Mapping[str, str], may_change: Collection[str], defaults: Mapping[str, str] | None = None
    ) -> None:
        """ValueError, naming each, if flags that must not change differ from those the run began with.

        defaults: the line of a flag that is younger than the run, which had no other way.
        """
        before = self.flags()
        younger = {name: line for name, line in (defaults or {}).items() if name in lines}
        before = {**younger, **before} if before else {}
        differing = [
            f"{before.get(name, 'no ' + name)} is now {lines.get(name, 'no ' + name)}"
            for name in sorted({*before, *lines})
            if before and before.get(name) != lines.get(name) and name not in may_change
        ]
        if differing:
            raise ValueError(
                f"{self.path} holds a run with other flags: {'; '.join(differing)}. "
                "Resume with the same flags, or start a new run with another --run_dir"
            )

    def add_environment(self, environment: Mapping) -> None:
        """Adds a line to `environment.jsonl`: on what the run was started, and started again."""
        file = self.path / "environment.jsonl"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with file.open("a") as lines:
                lines.write(json.dumps(environment) + "\n")
        except OSError as error:
            raise OSError(f"{file} could not be written: {reason(error)}") from error

    def result(self) -> dict | None:
        """What `result.json` says, or None before the run ended."""
        file = self.path / "result.json"
        try:
            return json.loads(file.read_text()) if file.exists() else None
        except ValueError as error:
            raise ValueError(f"{file} is damaged ({error}): without it the run goes on from its checkpoint") from None

    def write_result(self, result: Mapping) -> None:
        """Writes `result.json`; numbers that are not finite become null."""
        self._write("result.json", json.dumps(_finite(result), indent=2) + "\n")

    def forget_result(self) -> None:
        """Takes away the result of a run that goes on."""
        (self.path / "result.json").unlink(missing_ok=True)

    def _write(self, name: str, text: str) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        aside = self.path / f".{name}"
        aside.write_text(text)
        aside.replace(self.path / name)


def flag_name(line: str) -> str:
    """The name in a line of a flagfile: `--no` before it and `=…` behind it are left away.

    >>> flag_name("--epochs=3"), flag_name("--nobatch_norm"), flag_name("--normalise=1")
    ('epochs', 'batch_norm', 'normalise')
    """
    name, equals, _ = line.removeprefix("--").partition("=")
    return name.removeprefix("no") if not equals else name


def _finite(value):
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
