"""A summary: its rows, as aligned text, as records, and its drawings."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from engine.summary.drawing import Drawing

_LEGEND = "Of one example. Multiply-adds: matrix products, einsums and convolutions."


@dataclasses.dataclass(frozen=True)
class Row:
    """A module: what it has and computes itself, without the modules in it that have a row of their own.

    path: its attribute path, "" for the model; layer: its class; depth: how many modules it is in.
    calls: how often a call of the model calls it, 0 where it is used by its other methods alone; output: the shapes of
    its (first) output, a nest of lists, None if there is no call.
    parameters: of its own variables, moving statistics included; trainable: those that training changes; frozen:
    whether some that could be trained are not; bytes: of all of its own variables.
    """

    path: str
    layer: str
    depth: int
    calls: int
    output: Any
    parameters: int
    trainable: int
    frozen: bool
    multiply_adds: int
    bytes: int

    @property
    def state(self) -> str:
        """trainable, frozen, "partly" (some of its variables are frozen), "fixed" (no gradient by design), or ""."""
        if self.frozen:
            return "partly" if self.trainable else "frozen"
        return "trainable" if self.trainable else "fixed" if self.parameters else ""


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a model is made of. `str` gives the aligned text.

    rows: `Row`s in the order of the first calls; notes: what should have been counted and could not be.
    """

    rows: Sequence[Row]
    notes: tuple[str, ...]
    drawing: Drawing = dataclasses.field(repr=False)

    @property
    def parameters(self) -> int:
        """All scalars in variables, shared ones once."""
        return sum(row.parameters for row in self.rows)

    @property
    def trainable(self) -> int:
        """Those that training changes."""
        return sum(row.trainable for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """Of one example, in one forward pass."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def bytes(self) -> int:
        """Of all variables."""
        return sum(row.bytes for row in self.rows)

    def records(self) -> list[dict]:
        """A dict for each row, ready for JSON: the row's fields and `state`; `output` a list or a nest of lists."""
        return [{**dataclasses.asdict(row), "state": row.state} for row in self.rows]

    def text(self, depth: int | None = None) -> str:
        """Aligned text. depth: modules deeper than that are counted into the one that they are in."""
        head = ("path", "layer", "output", "parameters", "trainable", "state", "multiply-adds", "bytes")
        lines = [head, *map(_cells, self._folded(depth))]
        total = (self.parameters, self.trainable, "", self.multiply_adds, self.bytes)
        lines.append(("total", "", "", *(cell if cell == "" else f"{cell:,}" for cell in total)))
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        left = (0, 1, 2, 5)
        shown = [
            "  ".join(f"{cell:{'<' if column in left else '>'}{widths[column]}}" for column, cell in enumerate(line))
            for line in lines
        ]
        rule = "─" * max(map(len, shown))
        notes = [_LEGEND, *(f"Note: {note}." for note in self.notes)]
        return "\n".join(line.rstrip() for line in [shown[0], rule, *shown[1:-1], rule, shown[-1], *notes])

    def mermaid(self) -> str:
        """The flow of data between layers as a mermaid flowchart, which GitHub draws in a ```mermaid block."""
        return self.drawing.mermaid()

    def dot(self) -> str:
        """The same for Graphviz: `dot -Tsvg` draws it."""
        return self.drawing.dot()

    def __str__(self) -> str:
        return self.text()

    def _folded(self, depth: int | None) -> Sequence[Row]:
        if depth is None:
            return self.rows
        kept: dict[str, Row] = {row.path: row for row in self.rows if row.depth <= depth}
        for row in self.rows:
            if row.depth > depth:
                path = max((p for p in kept if not p or row.path.startswith(f"{p}.")), key=len, default=None)
                if path is None:
                    kept[row.path] = row
                    continue
                names = ("parameters", "trainable", "multiply_adds", "bytes")
                added = {name: getattr(kept[path], name) + getattr(row, name) for name in names}
                kept[path] = dataclasses.replace(kept[path], frozen=kept[path].frozen or row.frozen, **added)
        return list(kept.values())


def _cells(row: Row) -> tuple[str, ...]:
    output = str(row.output) if row.calls else "–"
    numbers = [f"{value:,}" if value else "" for value in (row.parameters, row.trainable, row.multiply_adds, row.bytes)]
    layer = f"{row.layer} ×{row.calls}" if row.calls > 1 else row.layer
    return (row.path or "(model)", layer, output, *numbers[:2], row.state, *numbers[2:])
