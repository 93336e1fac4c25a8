"""Where two histories part."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from engine.diff.ulps import ulps
from engine.hooks.history_file import whole_lines

Span = tuple[int, int, str]


@dataclasses.dataclass(frozen=True)
class Parting:
    """The first value in which two histories differ: of which split, at the end of which step, under which name."""

    step: int
    split: str
    name: str
    a: Any
    b: Any

    @property
    def ulps(self) -> float | None:
        """Their distance, if both are numbers."""
        if all(isinstance(value, int | float) for value in (self.a, self.b)):
            return float(ulps(np.float64(self.a), np.float64(self.b)))
        return None

    def __str__(self) -> str:
        apart = f" ({self.ulps:.0f} ulps)" if self.ulps is not None else ""
        return f"{self.split} {self.name} of step {self.step}: {shown(self.a)} | {shown(self.b)}{apart}"


@dataclasses.dataclass(frozen=True)
class Histories:
    """What two histories have to do with each other.

    parting: the first value that differs, or None; values: how many differ; compared: how many both have.
    ends: the last step of each.
    """

    parting: Parting | None
    values: int
    compared: int
    ends: tuple[int, int]

    @property
    def equal(self) -> bool:
        """Whether nothing differs, the length included."""
        return self.parting is None and self.ends[0] == self.ends[1]


def compare_histories(a: Path, b: Path) -> Histories:
    """Compares two `history.jsonl`, value by value, where both speak of the same steps.

    A line for a loop holds means over its steps: it is compared with a line over the same steps alone.
    """
    first, second = read_history(a), read_history(b)
    found, compared = [], 0
    for span in sorted({*first} & {*second}, key=lambda span: (span[1], span[2] != "train", span[0])):
        for name in first[span]:
            if name in second[span]:
                compared += 1
                values = first[span][name], second[span][name]
                if shown(values[0]) != shown(values[1]):
                    found.append(Parting(span[1], span[2], name, *values))
    ends = (max((span[1] for span in history), default=0) for history in (first, second))
    return Histories(found[0] if found else None, len(found), compared, (next(ends), next(ends)))


def read_history(file: Path) -> dict[Span, dict]:
    """The records of a `history.jsonl` by (step before, last step, split); what a kill cut short is left out.

    ValueError names the line that is no record.
    """
    records, before = {}, 0
    for number, line in enumerate(whole_lines(file), 1):
        try:
            record = json.loads(line)
            step, split = record["step"], record["split"]
        except (ValueError, TypeError, KeyError):
            raise ValueError(f"{file} line {number} is no record of a step: {line.strip()[:60]!r}") from None
        records[(before if split == "train" else step, step, split)] = record
        before = step if split == "train" else before
    return records


def shown(value: Any) -> str:
    """A value in its shortest exact spelling; what was not finite is null in a history."""
    return "null" if value is None else repr(value)
