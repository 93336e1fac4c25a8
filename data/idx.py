"""The IDX format of MNIST: a header of big-endian words, then the values in row-major order.

Two zero bytes, a byte for the dtype (8: unsigned byte), a byte for the number of dimensions, the dimensions
as 32-bit words, the values. Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
"""

import contextlib
import gzip
import math
import pathlib
import struct
import zlib

import numpy as np

from data import files

_UNSIGNED_BYTE = 8
_CHUNK = 1 << 20


def find(data_dir, name):
    """The path of `name` or `name.gz` in `data_dir`; FileNotFoundError says what to put where."""
    folder = files.folder(data_dir, f"{name}[.gz]")
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(f"{folder} has neither {name} nor {name}.gz; put one there, or correct data_dir")


def read(path, item_shape):
    """The unsigned bytes of an IDX file, gzipped where its name ends in `.gz`: uint8 `[items, *item_shape]`.

    The header is checked against `item_shape` and against the bytes that are there: nothing is allocated on
    its word. Raises ValueError naming the file, what was expected and what was found.
    """
    path = pathlib.Path(path)
    try:
        with files.opened(path) as stream:
            zipped = gzip.GzipFile(fileobj=stream) if path.suffix == ".gz" else contextlib.nullcontext(stream)
            with zipped as plain:
                return _parse(plain, path, item_shape)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: truncated or corrupted gzip ({error}); fetch the file again") from error


def _parse(stream, path, item_shape):
    dimensions = 1 + len(item_shape)
    header = stream.read(4 + 4 * dimensions)
    if header[:2] != b"\0\0":
        raise ValueError(f"{path}: expected the IDX magic 0000, found {header[:2].hex() or 'nothing'}")
    if header[2:4] != bytes([_UNSIGNED_BYTE, dimensions]):
        raise ValueError(
            f"{path}: expected IDX type 08{dimensions:02x}, unsigned bytes in {dimensions} dimensions, "
            f"found {header[2:4].hex() or 'nothing'}"
        )
    if len(header) < 4 + 4 * dimensions:
        raise ValueError(f"{path}: expected a header of {4 + 4 * dimensions} bytes, found {len(header)}")
    items, *found_shape = struct.unpack(f">{dimensions}I", header[4:])
    if tuple(found_shape) != item_shape:
        raise ValueError(f"{path}: expected items of shape {item_shape}, found {tuple(found_shape)}")
    if items == 0:
        raise ValueError(f"{path}: expected at least one item, found 0")
    expected = items * math.prod(item_shape)
    body = _read_at_most(stream, expected + 1)
    if len(body) != expected:
        found = f"only {len(body)}" if len(body) < expected else "more"
        raise ValueError(f"{path}: expected {expected} bytes of values, found {found}; fetch the file again")
    return np.frombuffer(body, np.uint8).reshape(items, *item_shape)


def _read_at_most(stream, size):
    body = bytearray()
    # Asking gzip for the byte after the last one is what makes it verify its checksum.
    while chunk := stream.read(min(_CHUNK, size - len(body))):
        body += chunk
    return body
