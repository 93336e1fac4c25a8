"""What flags hold, as numbers."""

import math
from pathlib import Path

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


def output_path(what: str, *suffixes: str) -> Path | None:
    """The file of --output, if it is given and can be one, of one of the suffixes; before anything is computed."""
    path = Path(FLAGS.output) if FLAGS.output else None
    if path and suffixes and path.suffix not in suffixes:
        raise ValueError(f"--output={path}: {what} as {' or '.join(suffixes)}")
    if path and (path.is_dir() or not path.parent.is_dir()):
        raise ValueError(f"--output={path}: {'this is a folder' if path.is_dir() else f'there is no {path.parent}'}")
    return path
