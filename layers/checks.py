"""Checks of constructor arguments and inputs; every error is one line that names the layer and the argument."""

import numbers
import operator


def positive(layer, name, value):
    """`value` as an int of at least 1."""
    return _whole(layer, name, value, 1)


def sides(layer, name, value, rank, least=1):
    """`value`, one integer of at least 1 (or 0) or `rank` of them, such as (height, width), as a tuple of `rank`."""
    if isinstance(value, (tuple, list)) and len(value) != rank:
        raise ValueError(f"{layer!r}: {name} must be {_WHOLE[least]} or {rank} of them, found {value!r}")
    each = value if isinstance(value, (tuple, list)) else (value,) * rank
    return tuple(_whole(layer, name, side, least) for side in each)


def margins(layer, name, value, rank):
    """`value` as (before, after) for each of `rank` sides: one integer of at least 0, or one or two for each side."""
    each = [value] * rank if rank == 1 or not isinstance(value, (tuple, list)) else value
    pairs = [tuple(side) if isinstance(side, (tuple, list)) else (side, side) for side in each]
    if len(pairs) != rank or any(len(pair) != 2 or min(map(_index, pair)) < 0 for pair in pairs):
        forms = "a pair of them" if rank == 1 else f"{rank} of them or {rank} pairs"
        raise ValueError(f"{layer!r}: {name} must be {_WHOLE[0]}, {forms}, found {value!r}")
    return tuple((_index(before), _index(after)) for before, after in pairs)


def fraction(layer, name, value):
    """`value` as a float in [0, 1)."""
    if not (isinstance(value, numbers.Real) and 0 <= value < 1):
        raise ValueError(f"{layer!r}: {name} must lie in [0, 1), found {value!r}")
    return float(value)


def above_zero(layer, name, value):
    """`value` as a finite float above 0."""
    if isinstance(value, bool) or not (isinstance(value, numbers.Real) and 0 < value < float("inf")):
        raise ValueError(f"{layer!r}: {name} must be positive, found {value!r}")
    return float(value)


def not_negative(layer, name, value):
    """`value` as a finite float of at least 0."""
    if isinstance(value, bool) or not (isinstance(value, numbers.Real) and 0 <= value < float("inf")):
        raise ValueError(f"{layer!r}: {name} must be at least 0, found {value!r}")
    return float(value)


def padding(layer, value, allowed=("valid", "same")):
    """`value`, if it is one of those allowed."""
    if value not in allowed:
        *others, last = map(repr, allowed)
        raise ValueError(f"{layer!r}: padding must be {', '.join(others)} or {last}, found {value!r}")
    return value


SIDES = {1: ["length"], 2: ["height", "width"], 3: ["depth", "height", "width"]}


def window(layer, x, size):
    """Refuses an input `x: [batch, *sides, channels]` smaller than a window `size` that is not padded."""
    if layer.padding == "valid":
        for side, length, needed in zip(SIDES[len(size)], x.shape[1:-1], size, strict=True):
            if length is not None and length < needed:
                raise ValueError(
                    f"{layer!r}: the window's {side} of {needed} exceeds the input {x.shape.as_list()}; "
                    "use a smaller window, less pooling before it, or padding='same'"
                )


def lookup(kind, choice, by_name):
    """The function that `choice` names in the table `by_name`, or `choice` itself if it is a function."""
    if callable(choice):
        return choice
    if isinstance(choice, str) and choice in by_name:
        return by_name[choice]
    raise ValueError(f"unknown {kind} {choice!r}: expected a function or one of {', '.join(sorted(by_name))}")


_WHOLE = ("an integer of at least 0", "a positive integer")


def _whole(layer, name, value, least):
    """`value` as an int of at least 0 or 1."""
    number = _index(value)
    if number < least:
        raise ValueError(f"{layer!r}: {name} must be {_WHOLE[least]}, found {value!r}")
    return number


def _index(value):
    """`value` as an int, −1 if it is none."""
    try:
        return -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return -1
