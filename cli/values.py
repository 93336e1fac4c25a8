"""What flags hold, as numbers."""

import math

from absl import flags

FLAGS = flags.FLAGS


def above_0(name: str) -> float:
    """The number of a flag, which must be above 0."""
    value = FLAGS[name].value
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"--{name} must be a finite number above 0, got {value}")
    return value


def integers(name: str) -> list[int]:
    """The whole numbers of a list flag."""
    try:
        return [int(part) for part in FLAGS[name].value]
    except ValueError:
        raise ValueError(f"--{name} must be whole numbers with commas between, got {FLAGS[name].serialize()}") from None
