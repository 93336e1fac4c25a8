"""Which modules a model calls while it is traced, and which operations come from which of them."""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

# What a name scope says of the module that opened it: its number among the model's modules.
_SCOPE = "tapeline-module-"


@dataclasses.dataclass
class Call:
    """A module's calls: how many, when the first began, and the shapes of its outputs."""

    started: int
    count: int = 0
    output: Any = None


class Calls:
    """Calls by the module's number; `callers` are the numbers of those that called another."""

    def __init__(self):
        self.found: dict[int, Call] = {}
        self.callers: set[int] = set()
        self.active: list[int] = []


def module_of(operation: str) -> int | None:
    """The number of the innermost module in whose call an operation of that name was made, or None."""
    found = re.findall(rf"{_SCOPE}(\d+)", operation)
    return int(found[-1]) if found else None


def _numbered(active: list[int]) -> str:
    return f"{_SCOPE}{active[-1]}"


@contextlib.contextmanager
def watched(paths: Mapping[str, tf.Module], scope: Callable[[list[int]], str] = _numbered) -> Iterator[Calls]:
    """Within it, calls of these modules are written down, and their operations named after them.

    scope: the name scope of a call, from the numbers of the modules under way, that of the called one last.

    Python looks a `__call__` up in the class: so each class has another one meanwhile, and the modules stay untouched.
    """
    calls, numbers = Calls(), {id(module): number for number, module in enumerate(paths.values())}
    classes = {owner for module in paths.values() for owner in type(module).__mro__ if "__call__" in vars(owner)}
    classes -= {type, object}
    originals = {owner: vars(owner)["__call__"] for owner in classes}
    try:
        for owner, original in originals.items():
            owner.__call__ = _watching(original, numbers, calls, scope)  # type: ignore[method-assign]
        yield calls
    finally:
        for owner, original in originals.items():
            owner.__call__ = original  # type: ignore[method-assign]


def _watching(original: Any, numbers: Mapping[int, int], calls: Calls, scope: Callable) -> Any:
    # A tf.function that was traced before would not call what is inside it again.
    python = getattr(original, "python_function", None)
    made = tf.function(python) if python else original

    @functools.wraps(python or original)
    def call(self, *args, **kwargs):
        number = numbers.get(id(self))
        if number is None or number in calls.active[-1:]:
            # Of another model, or the class above calls on.
            return made.__get__(self, type(self))(*args, **kwargs)
        record = calls.found.setdefault(number, Call(len(calls.found)))
        calls.callers.update(calls.active[-1:])
        calls.active.append(number)
        try:
            with tf.name_scope(scope(calls.active)):
                outputs = made.__get__(self, type(self))(*args, **kwargs)
        finally:
            calls.active.pop()
        record.count += 1
        if record.count == 1:
            record.output = tf.nest.map_structure(_shape, outputs)
        return outputs

    return call


def _shape(leaf: Any) -> list | None:
    shape = getattr(leaf, "shape", None)
    if not isinstance(shape, tf.TensorShape):
        return None
    return None if shape.rank is None else _Shape(shape)


class _Shape(list):
    """A shape that a nest holds as one leaf, as it prints."""

    def __repr__(self):
        return f"[{', '.join('?' if size is None else str(size) for size in self)}]"
