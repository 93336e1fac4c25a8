"""TensorBoard's event files: one for each time that a run was started, read in the order of their names."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError

_NAME = "events.out.tfevents."
# A record is its length, a checksum of that, the event, and a checksum of the event.
_LENGTH, _HEADER, _FOOTER = struct.Struct("<Q"), 12, 4


def cut_back(folder: Path, stays: Callable[[int], bool]) -> None:
    """Cuts each event file off where its first event stands whose step is not to stay, or that is not whole.

    Files are numbered in their order, as the clock that TensorFlow names them by may have been set back since.
    """
    for number, path in enumerate(sorted(folder.glob(f"{_NAME}*")), 1):
        end = _end(path, stays)
        if end < path.stat().st_size:
            os.truncate(path, end)
        _, _, rest = path.name.removeprefix(_NAME).partition(".")
        path.rename(path.with_name(f"{_NAME}{number:010d}.{rest}"))


def _end(path: Path, stays: Callable[[int], bool]) -> int:
    size, end = path.stat().st_size, 0
    with path.open("rb") as file:
        while len(header := file.read(_HEADER)) == _HEADER:
            after = end + _HEADER + _LENGTH.unpack_from(header)[0] + _FOOTER
            if after > size:
                break
            try:
                event = tf.compat.v1.Event.FromString(file.read(after - end - _HEADER - _FOOTER))
            except DecodeError:
                break
            # The first event of a file says what it is, and is of no step.
            if event.HasField("summary") and not stays(event.step):
                break
            file.seek(after)
            end = after
    return end
