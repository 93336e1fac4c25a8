"""Reading HDF5 files that nobody vouches for: plain arrays, no larger than the file, and no link out of it."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np


class ModelFileError(ValueError):
    """A file of a model that is damaged, hostile, or does not fit."""


@contextlib.contextmanager
def opened(path: str | Path | io.BytesIO) -> Iterator[h5py.File]:
    """The file, to be read; what the library makes of damage is a ModelFileError in one line."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except ModelFileError:
        raise
    except FileNotFoundError:
        raise ModelFileError(f"{path}: there is no such file") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError, SystemError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelFileError(f"{path}: no file of a model, or a damaged one: {said}") from error


def datasets(group: h5py.Group, prefix: str = "") -> dict[str, h5py.Dataset]:
    """Every dataset below a group by its path with `/` between; only hard links are followed, and none twice."""
    found, seen, waiting = {}, set(), [(group, prefix)]
    while waiting:
        here, path = waiting.pop()
        for name in here:
            kind = here.get(name, getlink=True)
            if not isinstance(kind, h5py.HardLink):
                raise ModelFileError(
                    f"{here.file.filename}: {path}{name} is a link to elsewhere, which is not followed"
                )
            item = here[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise ModelFileError(f"{here.file.filename}: {path}{name} is there twice")
            seen.add(address)
            if isinstance(item, h5py.Dataset):
                found[path + name] = item
            elif isinstance(item, h5py.Group):
                waiting.append((item, f"{path}{name}/"))
    return found


def array(dataset: h5py.Dataset, opaque: np.dtype | None = None) -> np.ndarray:
    """A dataset's values, if it is a plain array whose bytes are all in the file.

    bfloat16 is kept as uint16 with the attribute `dtype`. opaque: what bytes without a type of their own stand for,
    where a file may have such.
    """
    where = f"{dataset.file.filename}: {dataset.name}"
    untyped = opaque is not None and dataset.dtype == np.dtype(("V", opaque.itemsize))
    if not untyped and (dataset.dtype.kind not in "fiub" or dataset.dtype.hasobject):
        raise ModelFileError(f"{where} must be an array of numbers, found {dataset.dtype}")
    size = dataset.size * dataset.dtype.itemsize if dataset.size is not None else -1
    plist = dataset.id.get_create_plist()
    # A small file may claim any size: without values, or by filters that blow them up.
    if size < 0 or plist.get_external_count() or dataset.is_virtual or plist.get_nfilters():
        raise ModelFileError(f"{where} does not hold its values itself, as they are")
    if dataset.id.get_storage_size() < size:
        raise ModelFileError(f"{where} claims {size} bytes, the file holds {dataset.id.get_storage_size()} of them")
    values = dataset[()]
    if untyped:
        return np.asarray(values).view(opaque)
    if dataset.attrs.get("dtype") == "bfloat16" and values.dtype == np.uint16:
        return values.view(ml_dtypes.bfloat16)
    return np.asarray(values)


def write_array(group: h5py.Group, path: str, values: np.ndarray) -> None:
    """Writes an array so that `array` reads it."""
    if values.dtype == ml_dtypes.bfloat16:
        group.create_dataset(path, data=values.view(np.uint16)).attrs["dtype"] = "bfloat16"
    else:
        group.create_dataset(path, data=values)
