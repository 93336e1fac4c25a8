"""Which operations took the time, read from what `tf.profiler` wrote."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Its messages come with TensorFlow; what reads them otherwise, the profiler's own TensorBoard plugin, does not.
from tensorflow.tsl.profiler.protobuf import xplane_pb2

# What a step's marker is called.
STEP = "train"
_OP = re.compile(r"(?P<name>[^:]+):(?P<kind>_?[A-Za-z]\w*)")
# Before the kind, where oneDNN computes it.
_LIBRARY = re.compile(r"^_(Mkl(Native)?)?")
# Where TensorFlow put the compiled loop: it says nothing of the model.
_LOOP = re.compile(r"while/body/_\d+/|(?<![^/])while(_\d+)?/")


@dataclasses.dataclass(frozen=True)
class OpTime:
    """An operation of the graph: its kind, its name, its own seconds in all steps, and how often it ran."""

    kind: str
    name: str
    self_s: float
    count: int


@dataclasses.dataclass(frozen=True)
class OpTimes:
    """Operations, the dearest first; `str` gives the table of the first ten.

    steps: how many steps were profiled; step_s: their seconds on the wall. Threads and devices work at the same time:
    all self times together, `total_s`, may be more than that.
    """

    ops: tuple[OpTime, ...]
    steps: int
    step_s: float

    @property
    def total_s(self) -> float:
        """The self times of all operations."""
        return sum(op.self_s for op in self.ops)

    def text(self, count: int = 10) -> str:
        """The table of the `count` dearest."""
        rows = [("self ms/step", "share", "count/step", "kind", "name")]
        for op in self.ops[:count]:
            per_step = f"{1000 * op.self_s / self.steps:.3f}", f"{op.self_s / self.total_s:.1%}"
            rows.append((*per_step, f"{op.count / self.steps:g}", op.kind, op.name))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            "  ".join([*(f"{cell:>{width}}" for cell, width in zip(row[:3], widths, strict=False)),
                       f"{row[3]:<{widths[3]}}", row[4]])
            for row in rows
        ]  # fmt: skip
        total = f"{1000 * self.total_s / self.steps:.3f} ms of {len(self.ops)} operations"
        return "\n".join([*lines, f"a step: {1000 * self.step_s / self.steps:.3f} ms on the wall, {total}"])

    def __str__(self) -> str:
        return self.text()


def op_times(folder: str | Path) -> OpTimes:
    """What the newest profile in `folder` (which was given to `tf.profiler`) says of the steps marked in it.

    A self time is an operation's time without that of operations within it. On a GPU it is that of the kernels which
    the operation launched. FileNotFoundError without a profile; ValueError for one that marks no step.
    """
    files = sorted(Path(folder).glob("plugins/profile/*/*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    if not files:
        raise FileNotFoundError(f"{folder} holds no profile (plugins/profile/*/*.xplane.pb)")
    space = xplane_pb2.XSpace()
    space.ParseFromString(files[-1].read_bytes())
    steps = sorted(_steps(space))
    if not steps:
        raise ValueError(f"{files[-1]} marks no step: training did not get there")
    # A GPU's kernels say what they are of; what the processor did to launch them is not their time.
    devices = [plane for plane in space.planes if plane.name.startswith("/device:") and any(_events(plane))]
    spent: dict[tuple[str, str], list] = {}
    for plane in devices or space.planes:
        for line in plane.lines:
            for kind, name, time in _self_times(plane, line, steps):
                found = spent.setdefault((kind, name), [0, 0])
                found[0] += time
                found[1] += 1
    ops = [OpTime(kind, name, time * 1e-12, count) for (kind, name), (time, count) in spent.items()]
    ops.sort(key=lambda op: (-op.self_s, op.name))
    return OpTimes(tuple(ops), len(steps), sum(end - start for start, end in steps) * 1e-12)


def _steps(space: Any) -> Iterator[tuple[int, int]]:
    """When the marked steps began and ended, in picoseconds."""
    for plane in space.planes:
        for line, event in _events(plane):
            if plane.event_metadata[event.metadata_id].name == STEP and "step_num" in _stats(plane, event):
                start = line.timestamp_ns * 1000 + event.offset_ps
                yield start, start + event.duration_ps


def _events(plane: Any) -> Iterator[tuple[Any, Any]]:
    return ((line, event) for line in plane.lines for event in line.events)


def _stats(plane: Any, event: Any) -> dict[str, Any]:
    return {plane.stat_metadata[stat.metadata_id].name: stat for stat in event.stats}


def _operation(plane: Any, event: Any) -> tuple[str, str] | None:
    """Kind and name of the operation that an event is of."""
    name = plane.event_metadata[event.metadata_id].name
    if plane.name.startswith("/device:"):
        stat = _stats(plane, event).get("tf_op")
        name = "" if stat is None else plane.stat_metadata[stat.ref_value].name if stat.ref_value else stat.str_value
    found = _OP.fullmatch(name)
    return (_LIBRARY.sub("", found["kind"]), _LOOP.sub("", found["name"])) if found else None


def _self_times(plane: Any, line: Any, steps: list) -> Iterator[tuple[str, str, int]]:
    """(kind, name, own picoseconds) of each event of an operation that began within a step."""
    begin = line.timestamp_ns * 1000
    events = [(event, operation) for event in line.events if (operation := _operation(plane, event))]
    events.sort(key=lambda found: (found[0].offset_ps, -found[0].duration_ps))
    own = [event.duration_ps for event, _ in events]
    around: list[int] = []
    for place, (event, _) in enumerate(events):
        while around and _end(events[around[-1]][0]) <= event.offset_ps:
            around.pop()
        if around:
            own[around[-1]] -= event.duration_ps
        around.append(place)
    for (event, operation), time in zip(events, own, strict=True):
        start = begin + event.offset_ps
        if any(first <= start < last for first, last in steps):
            yield *operation, time


def _end(event: Any) -> int:
    return event.offset_ps + event.duration_ps
