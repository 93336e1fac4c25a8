"""Checks of constructor arguments and inputs; every error is one line that names the layer and the argument."""

import numbers
import operator


def positive(layer, name, value):
    """`value` as an int of at least 1."""
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{layer!r}: {name} must be a positive integer, found {value!r}")
    return number


def pair(layer, name, value):
    """`value`, one positive integer or two of them (height, width), as a tuple of two."""
    height, width = value if isinstance(value, (tuple, list)) and len(value) == 2 else (value, value)
    return positive(layer, name, height), positive(layer, name, width)


def fraction(layer, name, value):
    """`value` as a float in [0, 1)."""
    if not (isinstance(value, numbers.Real) and 0 <= value < 1):
        raise ValueError(f"{layer!r}: {name} must lie in [0, 1), found {value!r}")
    return float(value)


def padding(layer, value):
    """`value`, if it is "valid" or "same"."""
    if value not in ("valid", "same"):
        raise ValueError(f"{layer!r}: padding must be 'valid' or 'same', found {value!r}")
    return value


def window(layer, x, size):
    """Refuses images `x: [batch, height, width, channels]` smaller than a window `size` that is not padded."""
    if layer.padding == "valid":
        for side, length, needed in zip(("height", "width"), x.shape[1:3], size, strict=True):
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
