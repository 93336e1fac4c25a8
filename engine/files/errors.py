"""Errors of files, as one line."""

import re

_NOISE = re.compile(r"\{\{.*?\}\} ?| ?\[Op:.*")


def reason(error: Exception) -> str:
    """What went wrong, in one line and without the names of TensorFlow's nodes.

    >>> reason(OSError(28, "No space left on device", "/runs/a"))
    'No space left on device'
    """
    lines = _NOISE.sub("", getattr(error, "strerror", None) or str(error)).splitlines()
    return lines[0] if lines else type(error).__name__
