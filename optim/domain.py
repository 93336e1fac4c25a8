"""The numbers that a hyper-parameter may be."""

import math
from collections.abc import Callable
from numbers import Real
from typing import NamedTuple


class Domain(NamedTuple):
    """A set of finite numbers: in words, and as a predicate.

    >>> ABOVE_0.require("epsilon", 1e-7)
    1e-07
    >>> BELOW_1.require("momentum", 1.5)
    Traceback (most recent call last):
    ValueError: momentum must be a number from 0 to below 1, got 1.5
    """

    text: str
    holds: Callable[[float], bool]

    def require(self, name: str, value: float) -> float:
        """Return `value` if it lies in the domain; raise TypeError or ValueError, naming it, if not."""
        if not isinstance(value, Real) or isinstance(value, bool):
            raise TypeError(f"{name} must be {self.text}, got {value!r}")
        if not (math.isfinite(value) and self.holds(value)):
            raise ValueError(f"{name} must be {self.text}, got {value!r}")
        return value


FINITE = Domain("a finite number", lambda x: True)
ABOVE_0 = Domain("a finite number above 0", lambda x: x > 0)
FROM_0 = Domain("a finite number, 0 or above", lambda x: x >= 0)
FROM_1 = Domain("a finite number, 1 or above", lambda x: x >= 1)
BELOW_1 = Domain("a number from 0 to below 1", lambda x: 0 <= x < 1)
BELOW_0 = Domain("a finite number below 0", lambda x: x < 0)
TO_0 = Domain("a finite number, 0 or below", lambda x: x <= 0)
WHOLE = Domain("a whole number, 0 or above", lambda x: x >= 0 and x == int(x))
COUNT = Domain("a whole number, 1 or above", lambda x: x >= 1 and x == int(x))
