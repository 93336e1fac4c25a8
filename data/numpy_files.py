"""NumPy's files: `.npz` read into memory, `.npy` read where it lies, neither ever unpickled.

An `.npy` file is `\\x93NUMPY`, a version, the length of a header, the header (a Python dict of dtype, order and
shape as text) and the values. NumPy enhancement proposal 1, "A simple file format for NumPy arrays".
"""

import functools
import os
import re
import struct
import zipfile
import zlib

import numpy as np

from data import files
from data.sources import Arrays, Info, check_labels, check_weights

_NAMES = ("inputs", "labels", "weights")
_HEADER = re.compile(
    rb"\{'descr': '([<>|=][a-zA-Z]\d{1,4})', 'fortran_order': (True|False), 'shape': \(([\d, ]{0,200})\), \} *\n"
)
_LONGEST_HEADER = 1 << 12
_BLOCK = 1 << 20


class NpyFiles:
    """A source of `.npy` files of any length, one for each of `inputs`, `labels` and `weights`, read as asked for.

    `paths` maps these names to files with the same number of rows; labels are checked against `classes`. Only the
    headers are read at the start. Rows are read, not mapped: a file that loses its end under a memory map kills
    the process. Raises ValueError naming file, byte or row for pickled objects, a dtype that is no number, Fortran
    order, a length that is not the header's, labels outside the classes, values that are not finite, and a file that
    changes while the source is in use.
    """

    arrays = None

    def __init__(self, paths, classes=None):
        if "inputs" not in paths or not set(paths) <= set(_NAMES):
            raise ValueError(f"npy: expected inputs and perhaps labels and weights, found {', '.join(paths)}")
        self._files = {name: _Npy(path) for name, path in paths.items()}
        first = self._files["inputs"]
        for file in self._files.values():
            if len(file) != len(first):
                raise ValueError(
                    f"{file.path}: expected {len(first)} rows, as many as in {first.path}, found {len(file)}"
                )
        self._paths = dict(paths)
        self.info = Info("npy", classes, input_shape=first.shape[1:])

    def __len__(self):
        return len(self._files["inputs"])

    @functools.cached_property
    def labels(self):
        """All labels, or None: they are read at once, without the inputs."""
        return self._files["labels"].rows(np.arange(len(self))) if "labels" in self._files else None

    def __getitem__(self, indices):
        rows = {name: file.rows(indices) for name, file in self._files.items()}
        for name, array in rows.items():
            check_finite(array, self._paths[name], indices)
        _check_labels(rows, self.info, self._paths.get("labels"), indices)
        check_weights(rows, self.info, indices)
        return rows


def load_npy(split, data_dir, classes=None):
    """`NpyFiles` of `<split>_inputs.npy` and, if they are there, `<split>_labels.npy` and `<split>_weights.npy`."""
    folder = files.folder(data_dir, f"{split}_inputs.npy")
    paths = {name: folder / f"{split}_{name}.npy" for name in _NAMES}
    if not paths["inputs"].is_file():
        raise FileNotFoundError(f"{folder} has no {split}_inputs.npy; put it there, or correct data_dir")
    return NpyFiles({name: path for name, path in paths.items() if path.exists()}, classes)


def load_npz(split, data_dir, classes=None, max_bytes=None):
    """`Arrays` of `<split>.npz` with members `inputs` and perhaps `labels` and `weights`, and no others.

    All of them together may expand to `max_bytes`, unless given the memory of this machine. Raises ValueError naming
    file, member and reason for what `NpyFiles` refuses, and for a wrong checksum.
    """
    path = files.folder(data_dir, f"{split}.npz") / f"{split}.npz"
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} has no {path.name}; put it there, or correct data_dir")
    arrays = read_npz(path, max_bytes or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    if "inputs" not in arrays or not set(arrays) <= set(_NAMES):
        raise ValueError(f"{path}: expected arrays inputs and perhaps labels and weights, found {sorted(arrays)}")
    for name, array in arrays.items():
        check_finite(array, f"{path}: {name}")
    info = Info("npz", classes)
    _check_labels(arrays, info, path)
    try:
        return Arrays(**arrays, info=info)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_npz(path, max_bytes):
    """The arrays of an `.npz` file by name; ValueError naming file, member and reason."""
    with files.opened(path) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                return _members(archive, max_bytes)
        except _BROKEN_ZIP as error:
            reason = files.reason(error) or type(error).__name__
            raise ValueError(f"{path}: {reason}; write the file again with numpy.savez") from error


# What zipfile raises for an archive that is damaged, encrypted, or packed in a way it does not know; an OSError, when
# a damaged offset leads out of the file.
_BROKEN_ZIP = (
    ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error,
    OverflowError, OSError,
)  # fmt: skip


def _members(archive, max_bytes):
    total = sum(member.file_size for member in archive.infolist())
    if total > max_bytes:
        raise ValueError(f"expands to {total} bytes, expected at most {max_bytes}")
    arrays = {}
    for member in archive.infolist():
        name, dot, suffix = member.filename.rpartition(".")
        if (dot, suffix) != (".", "npy") or name in arrays:
            raise ValueError(f"member {member.filename!r}: expected arrays of different names, ending in .npy")
        with archive.open(member) as content:
            try:
                arrays[name] = _read_npy(content, member.file_size)
            except ValueError as error:
                raise ValueError(f"{member.filename}: {error}") from error
    return arrays


class _Npy:
    """The header of an `.npy` file, and its rows."""

    def __init__(self, path):
        self.path, self._mark = path, files.mark(path)
        with files.opened(path, self._mark) as stream:
            try:
                self._dtype, fortran, self.shape, self._start = _header(stream)
                if not self.shape or self.shape[0] == 0:
                    raise ValueError(f"expected at least one row, found shape {self.shape}")
                if fortran:
                    raise ValueError("its rows are not contiguous (Fortran order): write numpy.ascontiguousarray of it")
                self._row = _count(self.shape[1:]) * self._dtype.itemsize
                _check_length(files.size(self._mark), self._start, self.shape[0] * self._row)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error

    def __len__(self):
        return self.shape[0]

    def rows(self, indices):
        indices = np.asarray(indices, np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < len(self):
            found = f"{indices.min()} to {indices.max()}"
            raise IndexError(f"{self.path}: expected rows 0 to {len(self) - 1}, found {found}")
        out = np.empty([len(indices), *self.shape[1:]], self._dtype)
        if out.size:
            content = out.reshape(len(indices), -1).view(np.uint8)
            # Neighbouring rows are one read.
            ends = [*(np.flatnonzero(np.diff(indices) != 1) + 1).tolist(), len(indices)]
            with files.opened(self.path, self._mark) as stream:
                for begin, end in zip([0, *ends], ends, strict=False):
                    at = self._start + int(indices[begin]) * self._row
                    files.read_at(stream, self.path, at, content[begin:end].reshape(-1))
        return out.astype(self._dtype.newbyteorder("="), copy=False)


def _read_npy(stream, size):
    dtype, fortran, shape, start = _header(stream)
    expected = _count(shape) * dtype.itemsize
    _check_length(size, start, expected)
    values = bytearray()
    # The byte after the last one is what makes zipfile verify its checksum.
    while chunk := stream.read(min(_BLOCK, expected + 1 - len(values))):
        values += chunk
    _check_length(start + len(values), start, expected)
    array = np.frombuffer(values, dtype).reshape(shape, order="F" if fortran else "C")
    return np.ascontiguousarray(array, dtype.newbyteorder("="))


def _header(stream):
    """(dtype, whether in Fortran order, shape, where the values begin)."""
    magic = stream.read(8)
    if magic[:6] != b"\x93NUMPY" or len(magic) < 8 or magic[6] not in (1, 2, 3):
        raise ValueError(f"expected the start of an .npy file, found {magic[:8].hex(' ') or 'nothing'}")
    width = 2 if magic[6] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"byte 8: expected a header of at most {_LONGEST_HEADER} bytes, found {length}")
    text = stream.read(length)
    if re.search(rb"'descr': '\|?O", text):
        raise ValueError("holds pickled Python objects, which can run any code: save numbers instead")
    match = _HEADER.fullmatch(text)
    if not match or len(text) < length:
        raise ValueError(f"byte {8 + width}: expected dtype, order and shape of plain numbers, found {text[:100]!r}")
    try:
        dtype = np.dtype(match[1].decode())
    except TypeError as error:
        raise ValueError(f"byte {8 + width}: {error}") from error
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ValueError(f"expected booleans, integers or floats of at most 64 bits, found {dtype}")
    shape = tuple(int(part) for part in match[3].replace(b",", b" ").split())
    return dtype, match[2] == b"True", shape, 8 + width + length


def _count(shape):
    count = 1
    for size in shape:
        count *= size
    return count


def _check_length(size, start, expected):
    if size != start + expected:
        found = f"only {max(0, size - start)}" if size < start + expected else f"{size - start}"
        raise ValueError(f"byte {start}: expected {expected} bytes of values, found {found}")


def check_finite(array, path, rows=None):
    """ValueError naming path and row for a float that is not finite; `rows` are the rows' numbers, unless 0, 1, …."""
    if array.dtype.kind != "f":
        return
    per_row = max(1, array[:1].size)
    step = max(1, _BLOCK // per_row)
    for begin in range(0, len(array), step):
        good = np.isfinite(array[begin : begin + step])
        if not good.all():
            row = begin + int(np.argwhere(~good)[0][0])
            number = row if rows is None else rows[row]
            raise ValueError(f"{path}: row {number} has a value that is not finite; mend it or leave it out")


def _check_labels(rows, info, path, indices=None):
    try:
        check_labels(rows, info, indices)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from error
