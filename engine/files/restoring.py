"""Restoring: every value by path, shape and dtype, or an error that shows the difference."""

import dataclasses
import fnmatch
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import tensorflow as tf

from engine.files.checkpoints import PREFIX, CheckpointError, manifest, resolve, save, snapshot
from engine.files.models import WeightsReader
from engine.names import variable_paths

_MODEL = "model."
# Of an average of its own, or that of a schedule-free rule, perhaps within others.
_AVERAGE = re.compile(r"(?:average\.averages|optimizer\.(?:.+\.)?slots\.x)\.(.+)")
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


class Reader:
    """The values of a checkpoint whose files are unharmed: `facts`, `shapes` and `dtypes` by path, `get(path)`."""

    def __init__(self, folder: Path):
        self.folder, self.facts = folder, manifest(folder)
        self._reader = tf.train.load_checkpoint(str(folder / PREFIX))
        shapes, dtypes = self._reader.get_variable_to_shape_map(), self._reader.get_variable_to_dtype_map()
        self._keys = {key: key for key in shapes} if self.facts["format"] > 1 else _paths_of_format_1(shapes)
        self.shapes = {path: list(shapes[key]) for path, key in self._keys.items()}
        self.dtypes = {path: dtypes[key] for path, key in self._keys.items()}

    def get(self, path: str):
        """A value, as NumPy has it."""
        return self._reader.get_tensor(self._keys[path])

    def __contains__(self, path: str) -> bool:
        return path in self._keys

    def shown(self, path: str) -> str:
        """Dtype and shape, as one would write them."""
        return f"{self.dtypes[path].name}{self.shapes[path]}"


def _paths_of_format_1(keys: Iterable[str]) -> dict[str, str]:
    """TensorFlow's escapes in object names: ".." is a point, ".S" a slash."""
    return {
        re.sub(r"\.(.)", lambda m: "/" if m[1] == "S" else m[1], key[len("variables/") : -len(_SUFFIX)]): key
        for key in keys
        if key.startswith("variables/") and key.endswith(_SUFFIX)
    }


def saved_variables(folder: Path) -> dict[str, tuple[list[int], tf.DType]]:
    """Shape and dtype of every value in a checkpoint, by path."""
    reader = Reader(folder)
    return {path: (reader.shapes[path], reader.dtypes[path]) for path in reader.shapes}


def restore(source: Path | Reader, variables: Mapping[str, tf.Variable], *, ignore: Iterable[str] = ()) -> None:
    """Sets `variables` (by path) from a checkpoint, given by its folder or its reader.

    Every path must be there with its shape and dtype, and the checkpoint must hold nothing else, but for paths that
    begin with one of `ignore`. Otherwise nothing is set, and CheckpointError lists what is missing, unexpected or
    different, and what may have been renamed.
    """
    reader, ignored = source if isinstance(source, Reader) else Reader(source), tuple(ignore)
    _check(reader, variables, {path for path in reader.shapes if not path.startswith(ignored)})
    for path, variable in variables.items():
        variable.assign(reader.get(path))


def _check(reader: Reader | WeightsReader, variables: Mapping[str, tf.Variable], expected: Iterable[str]) -> None:
    missing = [path for path in variables if path not in reader]
    unexpected = sorted(set(expected) - set(variables))
    lines = [f"  missing     {path}" for path in missing]
    lines += [f"  unexpected  {path}" for path in unexpected]
    for path, variable in variables.items():
        if path in reader and (list(variable.shape), variable.dtype) != (reader.shapes[path], reader.dtypes[path]):
            lines.append(f"  different   {path}: {reader.shown(path)} in the checkpoint, {_shown(variable)} here")
    if lines:
        lines += _renamed(reader, variables, missing, unexpected)
        raise CheckpointError(f"checkpoint {reader.folder} does not fit:\n" + "\n".join(lines))


def _renamed(
    reader: Reader | WeightsReader, variables: Mapping[str, tf.Variable], missing: list[str], unexpected: list[str]
):
    """Pairs that may be one variable under two names: what is missing and unexpected, equal in shape and last name."""
    left = list(unexpected)
    for path in missing:
        alike = [
            other
            for other in left
            if other.rpartition(".")[2] == path.rpartition(".")[2] and reader.shown(other) == _shown(variables[path])
        ]
        if alike:
            left.remove(alike[0])
            yield f"  renamed?    {alike[0]} in the checkpoint, {path} here"


def _shown(variable: tf.Variable) -> str:
    return f"{variable.dtype.name}{list(variable.shape)}"


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a restore did, by the paths of the model's variables.

    folder: the checkpoint; restored: what was set; left: what the model has and keeps as it was; unused: what the
    checkpoint holds of a model and nobody asked for.
    """

    folder: Path
    restored: tuple[str, ...]
    left: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{len(self.restored)} variables restored from {self.folder}"]
        for count, what in ((len(self.left), "left as they were"), (len(self.unused), "of the checkpoint not used")):
            if count:
                parts.append(f"{count} {what}")
        return ", ".join(parts)


def save_model(folder: str | Path, model: tf.Module) -> Path:
    """Writes a model's variables, by path, as a checkpoint of its own."""
    return save(Path(folder), snapshot({_MODEL + path: variable for path, variable in variable_paths(model).items()}))


def restore_model(
    model: tf.Module, path: str | Path, *, only: str | Iterable[str] | None = None, averaged: bool = False
) -> Restored:
    """Sets a model's variables from a run's checkpoint, saved weights or a whole model; the rest is passed over.

    path: a checkpoint, saved weights, `<run>/latest`, `<run>/best`, a run's folder, which means its latest, or a file
        that `save_model` wrote.
    only: patterns of paths, such as "backbone.*" (or "backbone/*"): `*` stands for any number of any characters,
        `?` for one, `[ab]` for one of those. Only what fits one of them is set, and must be there in shape and dtype;
        the rest of the model stays as it is. Without `only` the two must hold the very same variables.
    averaged: take the run's averages of the weights, where it keeps them.

    CheckpointError shows every difference, or the patterns that fit nothing; then nothing is set.

    >>> import tempfile, layers, engine
    >>> folder = tempfile.mkdtemp() + "/weights"
    >>> _ = engine.save_weights(folder, layers.Sequential([layers.Dense(3, 4), layers.Dense(4, 2)]))
    >>> other = layers.Sequential([layers.Dense(3, 4), layers.Dense(4, 5)])
    >>> engine.restore(other, folder, only="layers.0.*").restored
    ('layers.0.kernel', 'layers.0.bias')
    """
    reader = WeightsReader(path) if Path(path).is_file() else Reader(resolve(path))
    folder = reader.folder
    saved = {name[len(_MODEL) :]: name for name in reader.shapes if name.startswith(_MODEL)}
    if averaged:
        averages = {m[1]: name for name in reader.shapes if (m := _AVERAGE.fullmatch(name))}
        if not averages:
            raise CheckpointError(f"checkpoint {folder} holds no averages of the weights")
        saved |= averages
    variables = variable_paths(model)
    wanted = dict(variables)
    if only is not None:
        patterns = [pattern.replace("/", ".") for pattern in ([only] if isinstance(only, str) else only)]
        for pattern in patterns:
            if not any(fnmatch.fnmatchcase(path, pattern) for path in variables):
                raise CheckpointError(
                    f"only={pattern!r} fits no variable of the model; there are {', '.join(variables)}"
                )
        wanted = {p: v for p, v in variables.items() if any(fnmatch.fnmatchcase(p, pattern) for pattern in patterns)}
    expected = set(wanted) if only is not None else set(saved)
    by_name = {saved.get(path, _MODEL + path): variable for path, variable in wanted.items()}
    _check(reader, by_name, {saved[path] for path in expected if path in saved})
    for name, variable in by_name.items():
        variable.assign(reader.get(name))
    left = tuple(path for path in variables if path not in wanted)
    return Restored(folder, tuple(wanted), left, tuple(path for path in saved if path not in wanted))
