"""Which variable of two checkpoints differs first, and by how much."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from engine.diff.ulps import differing, ulps
from engine.files.restoring import Reader


@dataclasses.dataclass(frozen=True)
class VariableDifference:
    """The first element in which a variable differs.

    path, shape, dtype: of the variable; index: of the element; a, b: its values; ulps: their distance in units of the
    last place, None where the dtype has none; elements: how many differ; most_ulps: the greatest distance among them.
    Where dtype or shape differ, or one has it not, `index` is None and a and b tell what is there instead.
    """

    path: str
    index: tuple[int, ...] | None
    a: Any
    b: Any
    ulps: float | None = None
    elements: int = 0
    size: int = 0
    most_ulps: float | None = None

    def __str__(self) -> str:
        if self.index is None:
            return f"{self.path}: {self.a} | {self.b}"
        place = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        apart = "" if self.ulps is None else f" ({self.ulps:.0f} ulps)"
        count = f", {self.elements} of {self.size} elements differ" if self.size > 1 else ""
        most = f", by {self.most_ulps:.0f} ulps at most" if self.elements > 1 and self.most_ulps is not None else ""
        return f"{self.path}{place}: {self.a!s} | {self.b!s}{apart}{count}{most}"


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """Two checkpoints of one step: the first variable that differs, or None; how many differ; how many there are."""

    step: int
    first: VariableDifference | None
    differing: int
    compared: int


def compare_checkpoints(a: Path, b: Path) -> Checkpoints:
    """Compares every value of two checkpoints, bit by bit. CheckpointError if one is damaged.

    The position comes first, then the model, then all else but the running sums, each in the order of its paths.
    """
    readers = Reader(a), Reader(b)
    paths = sorted({*readers[0].shapes, *readers[1].shapes}, key=_place)
    found = [d for d in (_difference(path, *readers) for path in paths) if d is not None]
    return Checkpoints(int(a.name.rpartition("-")[2]), found[0] if found else None, len(found), len(paths))


def _place(path: str) -> tuple:
    ranks = (path.endswith("_sums"), "." in path and not path.startswith("model."), path.startswith("model."))
    # layers.10 comes after layers.9.
    return ranks, [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in path.split(".")]


def _difference(path: str, a: Reader, b: Reader) -> VariableDifference | None:
    here, there = (reader.shown(path) if path in reader else "not there" for reader in (a, b))
    if here != there:
        return VariableDifference(path, None, here, there)
    kind = object if a.dtypes[path] == tf.string else None
    values = [np.asarray(reader.get(path), kind) for reader in (a, b)]
    where = differing(*values)
    if not len(where):
        return None
    flat = [value.reshape(-1)[where] for value in values]
    apart = ulps(*flat)
    numbers = apart[~np.isnan(apart)] if apart is not None else np.zeros(0)
    return VariableDifference(
        path,
        tuple(int(i) for i in np.unravel_index(where[0], values[0].shape)),
        flat[0][0],
        flat[1][0],
        float(apart[0]) if len(numbers) and not np.isnan(apart[0]) else None,
        len(where),
        values[0].size,
        float(numbers.max()) if len(numbers) else None,
    )
