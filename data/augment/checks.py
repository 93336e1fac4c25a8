"""Arguments that cannot be are refused where they are given, in one line that names them."""

import math
import operator
import sys


def number(name, argument, value, low, high=math.inf):
    """`value` as a float in [low, high]; ValueError unless it is a finite number there."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not known or not low <= value <= high or abs(value) > sys.float_info.max:
        limits = f"number from {low:g} to {high:g}" if high < math.inf else f"finite number of at least {low:g}"
        raise ValueError(f"{name}: {argument} must be a {limits}, found {value!r}")
    return float(value)


def whole(name, argument, value, low):
    """`value` as an int from `low` to 2³¹ − 1; ValueError unless it is one."""
    try:
        if not isinstance(value, bool) and low <= operator.index(value) < 2**31:
            return operator.index(value)
    except TypeError:
        pass
    raise ValueError(f"{name}: {argument} must be a whole number of at least {low}, found {value!r}")


def interval(name, argument, value, low, high=math.inf):
    """`value`, a pair, as two floats in [low, high], the second not below the first."""
    try:
        first, last = value
    except (TypeError, ValueError):
        raise ValueError(f"{name}: {argument} must be a pair of numbers, found {value!r}") from None
    first, last = number(name, argument, first, low, high), number(name, argument, last, low, high)
    if first > last:
        raise ValueError(f"{name}: {argument} must not fall, found {value!r}")
    return first, last


def one_of(name, argument, value, known):
    """`value`; ValueError unless it is one of `known`."""
    if value not in known:
        raise ValueError(f"{name}: {argument} must be one of {', '.join(known)}, found {value!r}")
    return value
