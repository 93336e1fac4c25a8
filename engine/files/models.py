"""Whole models in one HDF5 file: structure, weights, and optionally the optimizer's state and notes on training.

    /                  attributes `tapeline`, the format, and `sha256`, of all that follows
    /structure         JSON, UTF-8: see `engine.files.architecture`; with what else is needed to make the model again
    /arrays/<n>        arrays among the constructors' arguments
    /weights/<path>    every variable of the model
    /optimizer/<path>  every variable of the optimizer, if it was saved

Loading runs no code that is not there already: no pickle, nothing imported or evaluated, only registered classes,
called with the arguments in the file.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import tensorflow as tf

from engine.files.architecture import Decoder, Encoder
from engine.files.checkpoints import sync
from engine.files.hdf5 import ModelFileError, array, datasets, opened, write_array
from engine.names import module_paths, variable_paths
from engine.precision import cast

FORMAT = 1
_LONGEST_STRUCTURE = 1 << 24
_ALLOWED = {"structure", "arrays", "weights", "optimizer"}


class ModelFile(NamedTuple):
    """What a file of a model holds: the model, and the notes on training that were given to `save_model`."""

    model: tf.Module
    training: dict


def save_model(
    model: tf.Module, path: str | Path, *, optimizer: tf.Module | None = None, training: Mapping | None = None
) -> Path:
    """Writes a whole model to `path` (HDF5, by custom `.h5`), from which `load_model` makes it again, bit for bit.

    model: of registered layers (`layers.register`; all layers of the library are), with what they were given: a
        structure that was changed after it was made is refused, since its constructors would not make it.
    optimizer: its state is kept, too (slots, steps, factors), not its settings, which are code: `load_model` puts it
        into an optimizer that was made alike.
    training: notes to go with the model, such as names of classes or the settings of the run: what JSON can hold.

    The file is there whole or not at all. ValueError names what can't be saved.

    >>> import tempfile, layers, engine
    >>> path = tempfile.mkdtemp() + "/model.h5"
    >>> model = layers.Sequential([layers.Dense(3, 4, activation="relu"), layers.Dropout(0.5), layers.Dense(4, 2)])
    >>> _ = engine.save_model(model, path)
    >>> engine.load_model(path)
    Sequential([Dense(3, 4, activation='relu'), Dropout(0.5), Dense(4, 2)])
    """
    path, encoder, variables = Path(path), Encoder(), variable_paths(model)
    structure = {"model": encoder.encode(model), "dtype": None, "training": dict(training or {})}
    try:
        json.dumps(structure["training"], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"save_model: training must be what JSON can hold: {error}") from None
    structure["dtype"] = _dtype_to_cast(structure["model"], encoder.arrays, variables)
    frozen = [name for name, part in module_paths(model).items() if getattr(part, "trainable", True) is False]
    aside = path.with_name(f".writing-{path.name}-{os.getpid()}")
    try:
        with h5py.File(aside, "w") as file:
            file.attrs["tapeline"] = FORMAT
            text = json.dumps({**structure, "frozen": frozen}).encode()
            file.create_dataset("structure", data=np.frombuffer(text, np.uint8))
            for number, values in enumerate(encoder.arrays):
                write_array(file, f"arrays/{number}", values)
            for group, held in (("weights", variables), ("optimizer", variable_paths(optimizer) if optimizer else {})):
                for name, variable in held.items():
                    if variable.dtype == tf.string:
                        raise ValueError(f"save_model: {group} {name} holds text, which has no place in the file")
                    write_array(file.require_group(group), name, variable.numpy())
            file.attrs["sha256"] = _sha256(datasets(file))
        sync(aside)
        aside.replace(path)
        sync(path.absolute().parent)
    except OSError as error:
        raise OSError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        aside.unlink(missing_ok=True)
    return path


def load_model(path: str | Path, *, optimizer: tf.Module | None = None) -> tf.Module:
    """The model that `save_model` wrote, its weights the same bit for bit.

    optimizer: one that was made like the one that was saved; it is initialised for the model, and gets its state.

    The file may come from anywhere: no code of it is run, only registered classes are made (those of the program:
    import the modules that register yours first), nothing is allocated that the file does not hold. ModelFileError,
    one line, for a file that is damaged, hostile, or of another kind.
    """
    return read_model(path, optimizer=optimizer).model


def read_model(path: str | Path, *, optimizer: tf.Module | None = None) -> ModelFile:
    """As `load_model`, with the notes on training."""
    with opened(path) as file:
        found = _verified(path, file)
        structure = _structure(path, found)
        arrays = _arrays(path, found)
        weights = _weights(found)
        # In a graph variables have shapes and no values: what is made here takes no memory.
        with tf.Graph().as_default():
            made = {name: (v.shape, v.dtype) for name, v in variable_paths(_made(structure, arrays)).items()}
        _check(path, "weights", made, weights, structure["dtype"])
        model = _made(structure, arrays)
        if structure["dtype"]:
            model = cast(model, structure["dtype"])
        for name, variable in variable_paths(model).items():
            variable.assign(array(weights[name]))
        for name, part in module_paths(model).items():
            if hasattr(part, "trainable"):
                part.trainable = name not in structure["frozen"]
        if optimizer is not None:
            _fill(path, optimizer, model, found)
        return ModelFile(model, structure["training"])


def is_model_file(path: str | Path) -> bool:
    """Whether a file was written by `save_model`, by its own account. ModelFileError: it is no HDF5 file."""
    with opened(path) as file:
        return "tapeline" in file.attrs


class WeightsReader:
    """The weights in a file of a model, under the names that a checkpoint has for them; see `restoring.Reader`."""

    def __init__(self, path: str | Path):
        self.folder = Path(path)
        with opened(path) as file:
            held = _weights(_verified(path, file))
            self._values = {f"model.{name}": array(data) for name, data in held.items()}
        self.shapes = {name: list(values.shape) for name, values in self._values.items()}
        self.dtypes = {name: tf.as_dtype(values.dtype) for name, values in self._values.items()}

    def get(self, name: str) -> np.ndarray:
        """A variable's value."""
        return self._values[name]

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def shown(self, name: str) -> str:
        """Dtype and shape, as one would write them."""
        return f"{self.dtypes[name].name}{self.shapes[name]}"


def _verified(path, file: h5py.File) -> dict[str, h5py.Dataset]:
    """All that a file of a model holds, once it is known to be what was written."""
    if file.attrs.get("tapeline") != FORMAT:
        raise ModelFileError(f"{path}: expected a model of format {FORMAT}, found {file.attrs.get('tapeline')!r}")
    if extra := set(file) - _ALLOWED:
        raise ModelFileError(f"{path}: expected {', '.join(sorted(_ALLOWED))} alone, found {sorted(extra)[0]}")
    found = datasets(file)
    if file.attrs.get("sha256") != _sha256(found):
        raise ModelFileError(f"{path} is damaged: its contents are not what was written")
    return found


def _weights(found: Mapping[str, h5py.Dataset]) -> dict[str, h5py.Dataset]:
    return {name[len("weights/") :]: data for name, data in found.items() if name.startswith("weights/")}


def _sha256(found: Mapping[str, h5py.Dataset]) -> str:
    digest = hashlib.sha256()
    for name in sorted(found):
        values = array(found[name])
        digest.update(f"{name}\0{values.dtype.str}\0{list(values.shape)}\0".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _structure(path, found) -> dict:
    text = array(found["structure"]) if "structure" in found else np.zeros(0)
    if text.dtype != np.uint8 or not 0 < text.size <= _LONGEST_STRUCTURE:
        raise ModelFileError(f"{path}: there is no structure, or one of more than {_LONGEST_STRUCTURE} bytes")
    try:
        structure = json.loads(text.tobytes())
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: the structure is no JSON: {type(error).__name__}") from None
    keys = {"model": dict, "training": dict, "frozen": list, "dtype": str | None}
    if not isinstance(structure, dict) or set(structure) != set(keys):
        raise ModelFileError(f"{path}: the structure must have {', '.join(keys)}")
    for key, kind in keys.items():
        if not isinstance(structure[key], kind):
            raise ModelFileError(f"{path}: {key} of the structure is of another kind: {structure[key]!r:.80}")
    if structure["dtype"] not in (None, "float16", "bfloat16", "float32", "float64"):
        raise ModelFileError(f"{path}: there is no dtype {structure['dtype']!r:.80}")
    return structure


def _arrays(path, found) -> list[np.ndarray]:
    names = [name for name in found if name.startswith("arrays/")]
    if sorted(names) != sorted(f"arrays/{number}" for number in range(len(names))):
        raise ModelFileError(f"{path}: the arrays must be numbered from 0, found {', '.join(sorted(names))[:80]}")
    return [array(found[f"arrays/{number}"]) for number in range(len(names))]


def _made(structure: dict, arrays: list[np.ndarray]) -> tf.Module:
    model = Decoder(arrays).decode(structure["model"])
    if not isinstance(model, tf.Module):
        raise ModelFileError(f"the structure must be of a layer, found {type(model).__name__}")
    return model


def _check(path, what: str, made: Mapping, held: Mapping, dtype: str | None) -> None:
    for name in sorted({*made, *held}):
        if name not in held or name not in made:
            where = "the file" if name not in held else "the model that its structure makes"
            raise ModelFileError(f"{path}: {what} {name} is missing in {where}")
        shape, kind = made[name]
        kind = tf.as_dtype(dtype) if dtype and kind.is_floating else kind
        found = held[name].attrs.get("dtype") or held[name].dtype.name
        if tuple(shape) != held[name].shape or kind.name != found:
            expected = f"{kind.name}{list(shape)}"
            raise ModelFileError(f"{path}: {what} {name} must be {expected}, found {found}{list(held[name].shape)}")


def _fill(path, optimizer, model, found) -> None:
    held = {name[len("optimizer/") :]: data for name, data in found.items() if name.startswith("optimizer/")}
    if not held:
        raise ModelFileError(f"{path} holds no optimizer")
    optimizer.init({name: variable for name, variable in variable_paths(model).items() if variable.trainable})
    variables = variable_paths(optimizer)
    _check(path, "optimizer", {name: (v.shape, v.dtype) for name, v in variables.items()}, held, None)
    for name, variable in variables.items():
        variable.assign(array(held[name]))


def _dtype_to_cast(structure: dict, arrays: list, variables: Mapping[str, tf.Variable]) -> str | None:
    """The dtype that the model was cast to after it was made (`engine.cast`), or None.

    ValueError if the structure does not make these variables: then it was changed since.
    """
    with tf.Graph().as_default():
        made = variable_paths(Decoder(arrays).decode(structure))
        made = {name: (tuple(v.shape), v.dtype) for name, v in made.items()}
    have = {name: (tuple(v.shape), v.dtype) for name, v in variables.items()}
    if made == have:
        return None
    floating = {dtype for _, dtype in have.values() if dtype.is_floating}
    if len(floating) == 1:
        (dtype,) = floating
        if {n: (shape, dtype if d.is_floating else d) for n, (shape, d) in made.items()} == have:
            return dtype.name
    odd = next(name for name in sorted({*made, *have}) if made.get(name) != have.get(name))
    raise ValueError(f"save_model: {odd} is not what the constructors make: the model was changed after it was made")
