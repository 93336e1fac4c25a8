"""Where two runs part: `engine.diff(a, b)`, and `python -m engine.diff runs/a runs/b`.

Within one build, device and split a run is bit-exact, so that whatever differs has a cause: a flag, or the code.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from engine.diff.flags import differing_flags
from engine.diff.histories import Histories, compare_histories, shown
from engine.diff.variables import Checkpoints, compare_checkpoints
from engine.files.checkpoints import CheckpointError, folders

_RESULTS = ("steps", "epochs", "train", "validation", "test", "weights_sha256", "stopped_by")


@dataclasses.dataclass(frozen=True)
class Difference:
    """What tells two runs apart; `str` gives the lines of a report, of which the last is `summary`.

    flags: (name, line in a, line in b) of each that differs, None where it is not set.
    history: `Histories`; its `parting` is the first value that differs.
    checkpoints: `Checkpoints`, the first that both runs have and that differ, or else the newest that both have; None
        if there are none. Its `first` is the first variable that differs.
    equal_at: the newest step before at which both runs have a checkpoint and all variables are equal, or None.
    results: (name, in a, in b) of what differs in `result.json`, timings aside.
    damaged: checkpoints that could not be compared, and why.
    """

    flags: list[tuple[str, str | None, str | None]]
    history: Histories
    checkpoints: Checkpoints | None
    equal_at: int | None
    results: list[tuple[str, Any, Any]]
    damaged: list[str]

    @property
    def equal(self) -> bool:
        """Whether nothing differs and nothing is damaged."""
        differs = self.checkpoints is not None and self.checkpoints.first is not None
        return self.history.equal and not (self.flags or differs or self.results or self.damaged)

    @property
    def summary(self) -> str:
        """All of it in one line."""
        if self.equal:
            at = f", all variables at step {self.equal_at}" if self.equal_at is not None else ", no common checkpoint"
            return f"equal: {self.history.ends[0]} steps, {self.history.compared} values of the history{at}"
        parts = [" | ".join(line or f"no --{name}" for line in lines) for name, *lines in self.flags[:3]]
        if len(self.flags) > 3:
            parts.append(f"{len(self.flags) - 3} more flags")
        parts.append(self._history())
        if self.checkpoints is None:
            parts.append("no common checkpoint")
        elif self.checkpoints.first is None:
            parts.append(f"all variables equal at step {self.checkpoints.step}")
        else:
            parts.append(f"first variable at step {self.checkpoints.step}: {self.checkpoints.first}")
        if self.damaged:
            parts.append(f"{len(self.damaged)} checkpoints damaged")
        return f"different: {'; '.join(parts)}"

    def _history(self) -> str:
        history = self.history
        if history.parting:
            return f"histories part at step {history.parting.step}: {history.parting}"
        if not history.compared and min(history.ends):
            return "histories never speak of the same steps"
        if history.ends[0] != history.ends[1]:
            return (
                f"histories equal up to step {min(history.ends)}, where {'ab'[history.ends[1] < history.ends[0]]} ends"
            )
        return f"histories equal, {history.ends[0]} steps"

    def __str__(self) -> str:
        lines = [f"flag        {' | '.join(line or f'no --{name}' for line in both)}" for name, *both in self.flags]
        lines.append(f"history     {self._history()}; {self.history.values} of {self.history.compared} values differ")
        if self.equal_at is not None:
            lines.append(f"checkpoint  step {self.equal_at}: all variables equal")
        if self.checkpoints is not None and self.checkpoints.first is not None:
            pair = self.checkpoints
            lines.append(f"checkpoint  step {pair.step}: {pair.differing} of {pair.compared} variables differ")
            lines.append(f"variable    {pair.first}")
        lines += [f"damaged     {line}" for line in self.damaged]
        lines += [f"result      {name}: {_spelled(a)} | {_spelled(b)}" for name, a, b in self.results]
        return "\n".join([*lines, self.summary])


def diff(a: str | Path, b: str | Path) -> Difference:
    """Where two runs part: flags, the first step whose values differ, the first variable that does.

    a, b: run directories. ValueError if one is none, or if its history can't be read.

    Histories are compared where both speak of the same steps (a line a loop holds means over its steps). Of the
    checkpoints that both runs still have the earliest that differ are told.
    """
    a, b = _run(a), _run(b)
    checkpoints, equal_at, damaged = _common(a / "checkpoints", b / "checkpoints")
    return Difference(
        differing_flags(a, b),
        compare_histories(a / "history.jsonl", b / "history.jsonl"),
        checkpoints,
        equal_at,
        _differing_results(a, b),
        damaged,
    )


def _run(path: str | Path) -> Path:
    path = Path(path)
    if not (path / "history.jsonl").is_file():
        what = "has no history.jsonl" if path.is_dir() else "is not a folder" if path.exists() else "is not there"
        raise ValueError(f"{path} is no run directory: it {what}")
    return path


def _common(a: Path, b: Path) -> tuple[Checkpoints | None, int | None, list[str]]:
    """The first pair that differs, or the last; the newest step before it that is equal; what is damaged."""
    pair, equal_at, damaged = None, None, []
    for name in sorted({folder.name for folder in folders(a)} & {folder.name for folder in folders(b)}):
        try:
            pair = compare_checkpoints(a / name, b / name)
        except CheckpointError as error:
            damaged.append(str(error))
            continue
        if pair.first is not None:
            break
        equal_at = pair.step
    return pair, equal_at, damaged


def _differing_results(a: Path, b: Path) -> list[tuple[str, Any, Any]]:
    files = [run / "result.json" for run in (a, b)]
    there = [file.exists() for file in files]
    if there[0] != there[1]:
        here, other = ("there" if found else "not there" for found in there)
        return [("result.json", here, other)]
    results = [json.loads(file.read_text()) for file in files] if all(there) else [{}, {}]
    return [
        (name, results[0].get(name), results[1].get(name))
        for name in _RESULTS
        if results[0].get(name) != results[1].get(name)
    ]


def _spelled(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {shown(part)}" for name, part in value.items()) or "nothing"
    return str(value)
