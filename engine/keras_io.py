"""Weights from Keras, and to Keras: its files are read and written here, Keras itself is not needed.

Our layers keep their variables under the names, in the order and in the layouts of Keras' layers; so what is
to be found out is which layer is which: by their order, or by name.
"""

import contextlib
import dataclasses
import io
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import tensorflow as tf

from engine.files.hdf5 import ModelFileError
from engine.files.keras_files import KerasLayer, read_layers
from engine.names import module_paths, variable_paths

__all__ = ["Mapped", "load_weights", "read_layers", "save_weights"]

# Our names of classes where Keras' are others, as its files spell them.
_CLASSES = {
    "BatchNorm": "batch_normalization", "LayerNorm": "layer_normalization", "GroupNorm": "group_normalization",
    "RMSNorm": "rms_normalization", "PReLU": "p_re_lu", "LSTM": "lstm", "GRU": "gru", "SimpleRNN": "simple_rnn",
    "RNN": "rnn",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Mapped:
    """Which variable got which weight: pairs (path of ours, `layer/part/weight` of the file), in order."""

    path: Path
    pairs: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        width = max((len(ours) for ours, _ in self.pairs), default=0)
        lines = [f"  {ours:<{width}}  {theirs}" for ours, theirs in self.pairs]
        return "\n".join([f"{len(self.pairs)} weights of {self.path}:", *lines])


@dataclasses.dataclass
class _Layer:
    """A layer of ours with variables: its path, and the variables of its parts, by the part's path in it."""

    path: str
    kind: str
    parts: dict[str, dict[str, tf.Variable]]

    def __str__(self) -> str:
        shapes = ", ".join(str(list(v.shape)) for part in self.parts.values() for v in part.values())
        return f"{self.path or 'the model'} {self.kind} ({shapes})"


def load_weights(
    model: tf.Module, path: str | Path, *, by_name: bool = False, names: Mapping[str, str] | None = None
) -> Mapped:
    """Sets a model's variables from a Keras file: `x.weights.h5`, `x.h5` (legacy HDF5) or `x.keras`.

    By position the k-th of our layers that has variables is the k-th layer in the file that has weights. by_name: the
    layer whose path in the model is `a.b` is Keras' layer `a.b`, or `b` if there is none; what one of the two
    lacks is passed over. names: Keras' names of layers by our paths, for those that are called otherwise; gives
    by_name. Layers that are made of others (Bidirectional, MultiHeadAttention) are one layer.

    Returns what went where. ModelFileError names the first layer that disagrees, and nothing is set then; or the file
    and what is wrong with it.
    """
    path = Path(path)
    theirs, ours = read_layers(path), _layers(model)
    if names is not None:
        unknown = set(names) - {layer.path for layer in ours}
        if unknown:
            there = ", ".join(layer.path for layer in ours)
            raise ModelFileError(f"names: the model has no layer {min(unknown)!r}; there are {there}")
    pairs = _by_name(ours, theirs, names or {}) if by_name or names else _by_position(path, ours, theirs)
    found = [triple for mine, other in pairs for triple in _matched(path, mine, other)]
    for variable, values, _ in found:
        variable.assign(values.astype(variable.dtype.as_numpy_dtype))
    paths = {variable.ref(): name for name, variable in variable_paths(model).items()}
    return Mapped(path, tuple((paths[variable.ref()], where) for variable, _, where in found))


def save_weights(model: tf.Module, path: str | Path) -> Path:
    """Writes a model's variables so that Keras' `load_weights` takes them: `x.weights.h5`, `x.h5` or `x.keras`.

    The Keras model must have the same layers in the same order. A legacy `x.h5` fits by order alone. The others name
    layers by their classes, and fit models whose layers all lie in one `Sequential` or functional model.
    """
    path = Path(path)
    layers = _layers(model)
    aside = path.with_name(f".writing-{path.name}-{os.getpid()}")
    try:
        if path.suffix == ".keras":
            held = io.BytesIO()
            with h5py.File(held, "w") as file:
                _write_version_3(file, layers)
            with zipfile.ZipFile(aside, "w") as archive:
                archive.writestr("model.weights.h5", held.getvalue())
        elif path.suffix == ".h5":
            with h5py.File(aside, "w") as file:
                (_write_version_3 if path.name.endswith(".weights.h5") else _write_legacy)(file, layers)
        else:
            raise ValueError(f"save_weights: the name must end in .weights.h5, .h5 or .keras, found {path.name}")
        aside.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()
    return path


def _layers(model: tf.Module) -> list[_Layer]:
    """Our layers with variables, in order. Layers that Keras has as one, made of parts, are one."""
    owners: dict[str, dict[str, tf.Variable]] = {}
    for path, variable in variable_paths(model).items():
        owner, _, name = path.rpartition(".")
        owners.setdefault(owner, {})[name] = variable
    modules, result = module_paths(model), {}
    for owner, variables in owners.items():
        whole = _whole(owner, modules)
        part = owner[len(whole) :].strip(".").replace(".", "/")
        layer = result.setdefault(whole, _Layer(whole, type(modules[whole]).__name__ if whole in modules else "", {}))
        layer.parts[part] = variables
    return list(result.values())


_MADE_OF_PARTS = ("Bidirectional", "MultiHeadAttention", "LSTM", "GRU", "SimpleRNN", "RNN")


def _whole(owner: str, modules: Mapping[str, tf.Module]) -> str:
    """The outermost layer around a part that is one layer in Keras."""
    parts = owner.split(".")
    for end in range(len(parts) + 1):
        path = ".".join(parts[:end])
        if path in modules and type(modules[path]).__name__ in _MADE_OF_PARTS:
            return path
    return owner


def _by_position(path: Path, ours: list[_Layer], theirs: list[KerasLayer]):
    if len(ours) != len(theirs) and all(set(other.parts) == {""} for other in theirs):
        # A legacy file has a nested model as one layer: then the order of the weights alone can tell.
        whole = _Layer("", "", {layer.path + "/" + part: held for layer in ours for part, held in layer.parts.items()})
        names = [f"{other.name}/{name}" for other in theirs for name in other.names[""]]
        flat = KerasLayer("", {"": [values for other in theirs for values in other.parts[""]]}, {"": names})
        if _fits(whole, flat):
            return [(whole, flat)]
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
        if not _fits(mine, other):
            raise ModelFileError(f"{path}: layer {number} with weights is {mine} here, and {other} in the file")
    if len(ours) != len(theirs):
        more, where = (ours, "the model") if len(ours) > len(theirs) else (theirs, "the file")
        found = f"{len(ours)} layers with weights here, {len(theirs)} in the file"
        raise ModelFileError(f"{path}: {found}; {where} goes on with {more[min(len(ours), len(theirs))]}")
    return zip(ours, theirs, strict=True)


def _by_name(ours: list[_Layer], theirs: list[KerasLayer], names: Mapping[str, str]):
    known = {layer.name: layer for layer in theirs}
    for mine in ours:
        asked = names.get(mine.path)
        if asked is not None and asked not in known:
            raise ModelFileError(f"there is no layer {asked!r} in the file; there are {', '.join(known)}")
        name = asked or next((n for n in (mine.path, mine.path.rpartition(".")[2]) if n in known), None)
        if name is not None:
            yield mine, known[name]


def _arrays(mine: _Layer, other: KerasLayer) -> list[tuple[tf.Variable, np.ndarray, str]] | None:
    """Our variables with the arrays that belong to them, or None if their numbers differ."""
    if set(mine.parts) == set(other.parts):
        found = [(part, mine.parts[part], other.parts[part], other.names[part]) for part in mine.parts]
    else:
        # Legacy files list the weights of all parts, in our order.
        variables = {f"{part}/{name}": v for part, held in mine.parts.items() for name, v in held.items()}
        values = [value for held in other.parts.values() for value in held]
        found = [("", variables, values, [name for held in other.names.values() for name in held])]
    if any(len(variables) != len(values) for _, variables, values, _ in found):
        return None
    return [
        (variable, value, "/".join(filter(None, (other.name, part, name))))
        for part, variables, values, names in found
        for variable, value, name in zip(variables.values(), values, names, strict=True)
    ]


def _fits(mine: _Layer, other: KerasLayer) -> bool:
    found = _arrays(mine, other)
    return found is not None and all(tuple(variable.shape) == value.shape for variable, value, _ in found)


def _matched(path: Path, mine: _Layer, other: KerasLayer):
    if not _fits(mine, other):
        raise ModelFileError(f"{path}: {mine} here is {other} in the file")
    return _arrays(mine, other)


def _write_legacy(file: h5py.File, layers: list[_Layer]) -> None:
    names = [layer.path.replace(".", "_") or "model" for layer in layers]
    file.attrs["layer_names"] = np.array(names, "S")
    file.attrs["backend"], file.attrs["keras_version"] = "tensorflow", "3.0.0"
    for name, layer in zip(names, layers, strict=True):
        group, weights = file.create_group(name), []
        for part, variables in layer.parts.items():
            for weight, variable in variables.items():
                weights.append("/".join(filter(None, (name, part, weight))))
                group.create_dataset(weights[-1], data=variable.numpy())
        group.attrs["weight_names"] = np.array(weights, "S")
    file.create_group("top_level_model_weights").attrs["weight_names"] = np.array([], "S")


def _write_version_3(file: h5py.File, layers: list[_Layer]) -> None:
    counts: dict[str, int] = {}
    for layer in layers:
        kind = _CLASSES.get(layer.kind) or _snake(layer.kind)
        number = counts[kind] = counts.get(kind, -1) + 1
        group = file.create_group(f"layers/{kind}_{number}" if number else f"layers/{kind}")
        for part, variables in layer.parts.items():
            held = group.require_group("/".join(filter(None, (part, "vars"))))
            for place, variable in enumerate(variables.values()):
                held.create_dataset(str(place), data=variable.numpy())


def _snake(name: str) -> str:
    """Keras' spelling of a class in its files: `Conv2DTranspose` is `conv2d_transpose`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
