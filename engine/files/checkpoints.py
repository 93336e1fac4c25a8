"""Checkpoints: folders `step-00001234` that hold every value of a run by its path, complete or not there at all.

A checkpoint is written aside, synced to the disk, described by a manifest with the SHA-256 of each file, and
renamed into place. `tf.train.load_checkpoint(folder / "variables")` reads it without this code.

Format 2 keeps values under their paths. Format 1, which is still read, kept them under TensorFlow's escaped names.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from engine.files.errors import reason
from engine.files.replacing import REPLACED, replace

FORMAT = 2
READABLE = (1, 2)
PREFIX = "variables"
_MANIFEST = "manifest.json"
_ASIDE = ".writing-"


class CheckpointError(ValueError):
    """A checkpoint that is damaged or that does not fit what it is restored into."""


class UnknownFormat(CheckpointError):
    """A checkpoint of a version that is newer than this one: it is unharmed, and nothing may go on without it."""


def snapshot(variables: Mapping[str, tf.Variable]) -> dict[str, tf.Tensor]:
    """The present values by path, in the host's memory, where no later update reaches them.

    On a processor nothing is copied here: a variable whose value is held like this is copied by its next update, in
    the threads of the compiled step.
    """
    with tf.device("CPU:0"):
        return {path: tf.identity(variable.read_value()) for path, variable in variables.items()}


def save(folder: Path, values: Mapping[str, Any], **facts) -> Path:
    """Writes `values` (arrays or tensors by path) as the checkpoint `folder`, atomically; `facts` go into its manifest.

    OSError in one line if that is not possible; then nothing of it is left, and what stood there before stands.
    """
    aside = folder.parent / f"{_ASIDE}{folder.name}-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        _write(aside, values)
        files = {path.name: sha256(path) for path in sorted(aside.iterdir())}
        facts = {"format": FORMAT, "files": files, **facts}
        (aside / _MANIFEST).write_text(json.dumps({**facts, "sha256": _digest(facts)}, indent=1) + "\n")
        for path in (*aside.iterdir(), aside):
            sync(path)
        replace(folder, aside)
        sync(folder.parent)
    except (OSError, tf.errors.OpError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise OSError(f"checkpoint {folder} could not be written: {reason(error)}") from error
    return folder


def _write(folder: Path, values: Mapping[str, Any]) -> None:
    with tf.device("CPU:0"):
        tensors = [tf.convert_to_tensor(value) for value in values.values()]
        tf.raw_ops.SaveV2(
            prefix=str(folder / PREFIX), tensor_names=list(values), shape_and_slices=[""] * len(values), tensors=tensors
        )


def _digest(facts: Mapping) -> str:
    """The SHA-256 of what a manifest says beside it."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Returns when the file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def manifest(folder: Path) -> dict:
    """The manifest of a checkpoint whose files are all there and unharmed; CheckpointError otherwise."""
    facts = facts_of(folder)
    for name, digest in facts["files"].items():
        with contextlib.suppress(OSError):
            if sha256(folder / name) == digest:
                continue
        raise CheckpointError(f"checkpoint {folder} is damaged: {name} is missing or is not what was written")
    return facts


def facts_of(folder: Path) -> dict:
    """The manifest of a checkpoint, without a look at its other files; CheckpointError if there is none to be read."""
    try:
        facts = json.loads((folder / _MANIFEST).read_text())
        files, digest = facts["files"], facts.pop("sha256", None)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"checkpoint {folder} has no readable {_MANIFEST}: {error}") from None
    number = facts.get("format")
    # Before manifests had a checksum there was none.
    if digest not in (None, _digest(facts)):
        raise CheckpointError(f"checkpoint {folder} is damaged: {_MANIFEST} is not what was written")
    if number not in READABLE or not isinstance(files, dict) or not files:
        kind = UnknownFormat if isinstance(number, int) and number > FORMAT else CheckpointError
        known = " and ".join(map(str, READABLE))
        raise kind(f"checkpoint {folder} has format {number}, this version reads {known}")
    return facts


def folders(directory: Path) -> list[Path]:
    """The checkpoints of steps below `directory`, oldest first, harmed ones among them."""
    return sorted((path for path in directory.glob("step-*") if path.name[len("step-") :].isdigit()), key=step_of)


def step_of(folder: Path) -> int:
    """The step of a checkpoint, by its name."""
    return int(folder.name.rpartition("-")[2])


def latest(directory: Path, *, set_aside: bool = False) -> Path | None:
    """The newest checkpoint below `directory` that is complete and unharmed, or None where there are none at all.

    Damaged ones that are newer are named on stderr and, with `set_aside`, renamed to `damaged-…`. CheckpointError if
    all are damaged, or if a newer version of this code wrote one.
    """
    return _first_whole(directory, folders(directory)[::-1], set_aside)


def latest_due(directory: Path, *, set_aside: bool = False) -> Path | None:
    """As `latest`, of those that were due by the step alone; of all, where there is none of these."""
    due = [folder for folder in folders(directory)[::-1] if _fact(folder, "due")]
    return _first_whole(directory, due or folders(directory)[::-1], set_aside)


def best(directory: Path) -> Path | None:
    """The whole checkpoint below `directory` with the best monitored value, the earliest of equals, or None.

    Damaged ones that are better are named on stderr. CheckpointError if all that know a value are damaged.
    """
    return _first_whole(directory, ranked(directory), set_aside=False)


def ranked(directory: Path) -> list[Path]:
    """The checkpoints that know a monitored value, the best first, the earliest of equals; of the newest's monitor."""
    found = []
    for folder in folders(directory):
        with contextlib.suppress(CheckpointError):
            monitored = facts_of(folder).get("monitored")
            if monitored and monitored["value"] is not None:
                found.append((monitored, folder))
    same = [(m, folder) for m, folder in found if all(m[key] == found[-1][0][key] for key in ("name", "mode"))]
    return [folder for _, folder in sorted(same, key=_worth)]


def _worth(pair: tuple[dict, Path]) -> float:
    monitored, _ = pair
    return -monitored["value"] if monitored["mode"] == "max" else monitored["value"]


def _first_whole(directory: Path, candidates: list[Path], set_aside: bool) -> Path | None:
    damaged = []
    for folder in candidates:
        try:
            manifest(folder)
        except UnknownFormat:
            raise
        except CheckpointError as error:
            damaged.append((folder, error))
            continue
        for harmed, why in damaged:
            print(f"{why}; {'set aside, ' * set_aside}going back to {folder.name}", file=sys.stderr)
            if set_aside:
                harmed.rename(_free(harmed.with_name(f"damaged-{harmed.name}")))
        return folder
    if damaged:
        raise CheckpointError(f"no checkpoint in {directory} is whole: {'; '.join(str(error) for _, error in damaged)}")
    return None


def _free(path: Path) -> Path:
    """The path, or the first with a number behind it that is not taken."""
    number, free = 1, path
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.name}-{number}")
    return free


def resolve(path: str | Path) -> Path:
    """The checkpoint that `path` means, complete and unharmed.

    A checkpoint or a saved model means itself; `<run>/checkpoints/latest` and `…/best` those of a run, as does
    `<run>/latest`; a run's folder means its latest. CheckpointError if there is none.
    """
    path = Path(path)
    if not path.exists() and path.name in ("latest", "best"):
        directory = path.parent / "checkpoints" if (path.parent / "checkpoints").is_dir() else path.parent
        found = (latest if path.name == "latest" else best)(directory)
        if found is None:
            lacks = "no checkpoint" if path.name == "latest" else "no checkpoint with a monitored value"
            raise CheckpointError(f"{directory} has {lacks}")
        return found
    if (path / "checkpoints").is_dir():
        return resolve(path / "latest")
    manifest(path)
    return path


def retain(directory: Path, last: int, best: int = 0, every: int | None = None, *, due: bool = False) -> None:
    """Removes checkpoints but the newest `last`, the best `best`, and those due whose number is a multiple of `every`.

    due: the newest that was due stays as well.
    What interrupted writes left behind goes, too: whoever calls this is the only one who writes here.
    """
    found = folders(directory)
    kept = {*found[-last:], *ranked(directory)[:best]} if best else set(found[-last:])
    if due:
        kept |= {*[folder for folder in found if _fact(folder, "due")][-1:]}
    for folder in found:
        if folder not in kept and not (every and _fact(folder, "due") and _fact(folder, "number") % every == 0):
            shutil.rmtree(folder, ignore_errors=True)
    sweep(directory)


def remove_after(directory: Path, last: Path) -> None:
    """Removes the checkpoints that are newer than one of them."""
    for folder in folders(directory):
        if step_of(folder) > step_of(last):
            shutil.rmtree(folder, ignore_errors=True)


def _fact(folder: Path, name: str) -> Any:
    with contextlib.suppress(CheckpointError):
        return facts_of(folder).get(name)
    return None


def sweep(directory: Path) -> None:
    """Removes what interrupted writes left behind, but for what was complete and lacked its name only."""
    new, replaced = (sorted(directory.glob(f"{kind}*")) for kind in (_ASIDE, REPLACED))
    for leftover in (*new, *replaced):
        folder = directory / leftover.name.removeprefix(_ASIDE).removeprefix(REPLACED).rpartition("-")[0]
        with contextlib.suppress(CheckpointError, OSError):
            if not folder.exists() and manifest(leftover):
                # A process that replaces a checkpoint and dies in between has taken away the old one already.
                leftover.rename(folder)
        shutil.rmtree(leftover, ignore_errors=True)
