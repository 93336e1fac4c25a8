"""Checkpoints: folders `step-00001234` that hold every variable by its path, complete or not there at all.

A checkpoint is written aside, synced to the disk, described by a manifest with the SHA-256 of each file, and
renamed into place. Restoring is strict: by path, shape and dtype, or an error that shows the difference.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import tensorflow as tf

from engine.names import variable_paths

FORMAT = 1
_MANIFEST = "manifest.json"
_PREFIX = "variables"
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


class CheckpointError(ValueError):
    """A checkpoint that is damaged or that does not fit what it is restored into."""


def save(folder: Path, variables: Mapping[str, tf.Variable], **facts) -> Path:
    """Writes `variables` (by path) as the checkpoint `folder`, atomically; `facts` go into its manifest."""
    aside = folder.parent / f".writing-{folder.name}-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        write(aside, variables)
        files = {path.name: _sha256(path) for path in sorted(aside.iterdir())}
        (aside / _MANIFEST).write_text(json.dumps({"format": FORMAT, "files": files, **facts}, indent=1) + "\n")
        for path in (*aside.iterdir(), aside):
            _sync(path)
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
        _sync(folder.parent)
    except (OSError, tf.errors.OpError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise OSError(f"checkpoint {folder} could not be written: {str(error).splitlines()[0]}") from error
    return folder


def write(folder: Path, variables: Mapping[str, tf.Variable]) -> None:
    """Writes the variables into a folder that is there, without a manifest: no checkpoint yet."""
    tf.train.Checkpoint(variables=dict(variables)).write(str(folder / _PREFIX))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def manifest(folder: Path) -> dict:
    """The manifest of a checkpoint whose files are all there and unharmed; CheckpointError otherwise."""
    try:
        facts = json.loads((folder / _MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint {folder} has no readable {_MANIFEST}: {error}") from None
    if facts.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint {folder} has format {facts.get('format')}, this version reads {FORMAT}")
    for name, digest in facts["files"].items():
        with contextlib.suppress(OSError):
            if _sha256(folder / name) == digest:
                continue
        raise CheckpointError(f"checkpoint {folder} is damaged: {name} is missing or is not what was written")
    return facts


def latest(directory: Path) -> Path | None:
    """The newest checkpoint below `directory` that is complete and unharmed, or None where there are none at all.

    Damaged ones that are newer are named on stderr and set aside as `damaged-…`. CheckpointError if all are damaged.
    """
    damaged = []
    for folder in sorted(directory.glob("step-*"), reverse=True):
        try:
            manifest(folder)
        except CheckpointError as error:
            damaged.append((folder, error))
            continue
        for harmed, error in damaged:
            print(f"{error}; set aside, going back to {folder.name}", file=sys.stderr)
            harmed.rename(harmed.with_name(f"damaged-{harmed.name}"))
        return folder
    if damaged:
        raise CheckpointError(f"no checkpoint in {directory} is whole: {'; '.join(str(error) for _, error in damaged)}")
    return None


def keep_last(directory: Path, count: int) -> None:
    """Removes all but the newest `count` checkpoints, and what interrupted writes left behind."""
    for folder in [*sorted(directory.glob("step-*"))[:-count], *directory.glob(".writing-*")]:
        shutil.rmtree(folder, ignore_errors=True)


def saved_variables(folder: Path) -> dict[str, tuple[list[int], tf.DType]]:
    """Shape and dtype of every variable in a checkpoint, by path."""
    reader = tf.train.load_checkpoint(str(folder / _PREFIX))
    dtypes = reader.get_variable_to_dtype_map()
    found = {}
    for key, shape in reader.get_variable_to_shape_map().items():
        if key.startswith("variables/") and key.endswith(_SUFFIX):
            # TensorFlow's escapes in object names: ".." is a point, ".S" a slash.
            path = re.sub(r"\.(.)", lambda m: "/" if m[1] == "S" else m[1], key[len("variables/") : -len(_SUFFIX)])
            found[path] = (shape, dtypes[key])
    return found


def restore(folder: Path, variables: Mapping[str, tf.Variable], *, ignore: Iterable[str] = ()) -> None:
    """Sets `variables` (by path) from a checkpoint.

    Every path must be there with its shape and dtype, and the checkpoint must hold nothing else, but for paths that
    begin with one of `ignore`. Otherwise CheckpointError lists what is missing, unexpected or different.
    """
    manifest(folder)
    saved = saved_variables(folder)
    lines = [f"  missing     {path}" for path in variables if path not in saved]
    lines += [
        f"  unexpected  {path}"
        for path in sorted(saved)
        if path not in variables and not path.startswith(tuple(ignore))
    ]
    for path, variable in variables.items():
        if path in saved:
            shape, dtype = saved[path]
            if (list(variable.shape), variable.dtype) != (list(shape), dtype):
                lines.append(
                    f"  different   {path}: {dtype.name}{list(shape)} in the checkpoint, "
                    f"{variable.dtype.name}{list(variable.shape)} in the run"
                )
    if lines:
        raise CheckpointError(f"checkpoint {folder} does not fit:\n" + "\n".join(lines))
    status = tf.train.Checkpoint(variables=dict(variables)).read(str(folder / _PREFIX))
    status.assert_existing_objects_matched().expect_partial()


def save_model(folder: Path, model: tf.Module) -> Path:
    """Writes a model's variables, by path."""
    return save(folder, {f"model.{path}": variable for path, variable in variable_paths(model).items()})


def restore_model(model: tf.Module, folder: str | Path) -> None:
    """Sets a model's variables from a run's checkpoint or from a saved model; the rest of a run is passed over."""
    others = tuple(path for path in saved_variables(Path(folder)) if not path.startswith("model."))
    restore(Path(folder), {f"model.{path}": v for path, v in variable_paths(model).items()}, ignore=others)
