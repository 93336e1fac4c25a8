"""The compiled loops, each traced once for what it is traced for; and a word when another trace is needed."""

from collections.abc import Callable, Mapping
from typing import Any

import absl.logging


class TooManyTraces(RuntimeError):
    """A loop would have to be traced more often than was allowed."""


class Traces:
    """Compiled functions by kind and facts: the arguments that a trace depends on, in words.

    limit: how often loops may be traced in all, or None. `count`: how often they were.
    A second trace of a kind is reported, with the facts that differ from the last one's; beyond the limit that is an
    error instead.
    """

    def __init__(self, limit: int | None = None):
        if limit is not None and limit < 1:
            raise ValueError(f"max_traces must be at least 1, got {limit}")
        self.limit, self.count = limit, 0
        self._made: dict[tuple, Callable] = {}
        self._last: dict[str, dict[str, Any]] = {}

    def get(self, kind: str, facts: Mapping[str, Any], make: Callable[[], Callable]) -> Callable:
        """The function made for these facts, or a new one."""
        key = (kind, *facts.items())
        if key not in self._made:
            self._made[key] = make()
        self._last[kind], before = dict(facts), self._last.get(kind, dict(facts))
        self._changes = [
            f"{name} was {_short(before.get(name))}, is {_short(facts.get(name))}"
            for name in (*before, *(name for name in facts if name not in before))
            if before.get(name) != facts.get(name)
        ]
        return self._made[key]

    def traced(self) -> None:
        """To be called while the training loop is traced."""
        if self.limit is not None and self.count >= self.limit:
            raise TooManyTraces(f"{self._reason()}; max_traces allows {self.limit}")
        self.count += 1
        if self.count > 1:
            absl.logging.warning("%s", self._reason())

    def forgive(self, count: int) -> None:
        """The traces beyond `count` do not count: what they were for was not compiled."""
        self.count = count

    def _reason(self) -> str:
        changes = "; ".join(self._changes) or "a Python argument or the devices changed"
        return f"the training loop is traced once more: {changes}"


def _short(fact: Any) -> Any:
    """A fact in as many words as one reads: of many names the first."""
    names = str(fact).split(", ")
    return fact if len(names) < 5 or len(str(fact)) < 200 else f"{names[0]}, … ({len(names)} in all)"


def specs(spec: Any) -> dict[str, Any]:
    """The batch's tensors by name, in words."""
    if isinstance(spec, Mapping):
        return {f"batch[{name!r}]": str(part) for name, part in spec.items()}
    return {"batch": str(spec)}
