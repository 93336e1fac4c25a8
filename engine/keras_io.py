"""Weights from Keras, and to Keras: its files are read and written here, Keras itself is not needed.

Our layers keep their variables under the names, in the order and in the layouts of Keras' layers; so what is
to be found out is which layer is which: by their order, or by name.
"""

import contextlib
import dataclasses
import io
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np
import tensorflow as tf

from engine.files.checkpoints import sync
from engine.files.errors import reason
from engine.files.hdf5 import ModelFileError
from engine.files.keras_files import KerasFile, KerasLayer, read_file
from engine.files.keras_layers import OurLayer, fit, matched, our_layers, our_parts, their_parts, weights_of
from engine.files.keras_order import counted, fitted, in_order, kind_and_number
from engine.names import variable_paths

__all__ = ["Mapped", "load_weights", "read_file", "save_weights"]


@dataclasses.dataclass(frozen=True)
class Mapped:
    """Which variable got which weight: pairs (path of ours, `layer/part/weight` of the file), in order.

    unset: paths of ours that got nothing; unused: weights of the file that went nowhere. By position there are none.
    """

    path: Path
    pairs: tuple[tuple[str, str], ...]
    unset: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def __str__(self) -> str:
        width = max((len(ours) for ours, _ in self.pairs), default=0)
        lines = [f"  {ours:<{width}}  {theirs}" for ours, theirs in self.pairs]
        rest = [f"{what}: {', '.join(left)}" for what, left in (("unset", self.unset), ("unused", self.unused)) if left]
        return "\n".join([f"{len(self.pairs)} weights of {self.path}:", *lines, *rest])


def load_weights(
    model: tf.Module, path: str | Path, *, by_name: bool = False, names: Mapping[str, str] | None = None
) -> Mapped:
    """Sets a model's variables from a Keras file: `x.weights.h5`, `x.h5` (legacy HDF5) or `x.keras`.

    By position the k-th of our layers that has variables is the k-th layer in the file that has weights. A
    `x.weights.h5` has the order of layers of the same class alone; the rest follows from what fits, or an error says
    that more than one order does. Shapes alone can tell that layers of one class are in another order here: where they
    are, give names. A legacy file without the model's configuration lists weights that were frozen in a
    model inside the model last, as Keras does.

    by_name: the layer whose path in the model is `a.b` is Keras' layer `a.b`, or `b` if there is none; what one of the
    two lacks is passed over, and reported. names: Keras' names of layers by our paths, for those that are called
    otherwise; gives by_name. Where Keras' name is not unique, or attributes of a model name its layers, the place in
    the file will do: `sequential/dense_1`, `encoder/dense`. Layers that are made of others (Bidirectional,
    MultiHeadAttention) are one layer.

    Returns what went where. ModelFileError names the first layer that disagrees, and nothing is set then; or the file
    and what is wrong with it.
    """
    path = Path(path)
    file, ours = read_file(path), our_layers(model)
    pairs = list(_by_name(file, ours, names or {}) if by_name or names else _by_position(file, ours))
    found = [triple for mine, other in pairs for triple in matched(path, mine, other)]
    if not found:
        raise ModelFileError(
            f"{path}: no layer here has a name that is in the file; {_some(x.name for x in file.layers)}"
        )
    for variable, values, _ in found:
        variable.assign(values.astype(variable.dtype.as_numpy_dtype))
    paths = {variable.ref(): name for name, variable in variable_paths(model).items()}
    mapped = tuple((paths[variable.ref()], where) for variable, _, where in found)
    unset = tuple(sorted(set(paths.values()) - {mine for mine, _ in mapped}))
    used = {id(values) for _, values, _ in found}
    unused = [where for layer in file.layers for values, where in weights_of(layer) if id(values) not in used]
    return Mapped(path, mapped, unset, tuple(unused))


def save_weights(model: tf.Module, path: str | Path) -> Path:
    """Writes a model's variables so that Keras' `load_weights` takes them: `x.weights.h5`, `x.h5` or `x.keras`.

    The Keras model must have the same layers in the same order. A legacy `x.h5` fits by order alone. The others name
    layers by their classes, and fit models whose layers all lie in one `Sequential` or functional model. The file is
    there whole or not at all.
    """
    path = Path(path)
    if path.suffix not in (".keras", ".h5"):
        raise ValueError(f"save_weights: the name must end in .weights.h5, .h5 or .keras, found {path.name}")
    write = _write_legacy if path.suffix == ".h5" and not path.name.endswith(".weights.h5") else _write_version_3
    aside = path.with_name(f".writing-{path.name}-{os.getpid()}")
    try:
        held = io.BytesIO()
        with h5py.File(held if path.suffix == ".keras" else aside, "w") as file:
            write(file, our_layers(model))
        if path.suffix == ".keras":
            with zipfile.ZipFile(aside, "w") as archive:
                archive.writestr("model.weights.h5", held.getvalue())
        sync(aside)
        aside.replace(path)
        sync(path.absolute().parent)
    except OSError as error:
        raise OSError(f"{path} could not be written: {reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()
    return path


def _by_position(file: KerasFile, ours: list[OurLayer]) -> Iterator[tuple[OurLayer, KerasLayer]]:
    theirs, order = file.layers, file.order
    if order == "none":
        example = " or ".join(list(dict.fromkeys(layer.place[0] for layer in theirs if layer.place))[:2])
        raise ModelFileError(
            f"{file.path}: its layers are attributes of a model ({example}), without an order: give by_name or names"
        )
    if order == "parts":
        # A model in the model is one layer there.
        ours = [part for layer in ours for part in our_parts(layer)]
        theirs = [part for layer in theirs for part in their_parts(layer)]
    known = {kind_and_number(layer.place[-1])[0] for layer in theirs} & {kind for mine in ours for kind in mine.kinds}

    def fits(mine: OurLayer, other: KerasLayer) -> bool:
        # What both sides have a name for is the same under that name; wrappers and other modules go by their shapes.
        kind = kind_and_number(other.place[-1])[0]
        same = order == "parts" or kind in mine.kinds or not known & {kind, *mine.kinds}
        return same and fit(mine, other)

    match = fitted if order == "classes" else in_order
    return zip(ours, match(file.path, ours, theirs, fits), strict=True)


def _by_name(file: KerasFile, ours: list[OurLayer], names: Mapping[str, str]) -> Iterator[tuple[OurLayer, KerasLayer]]:
    unknown = sorted(set(names) - {layer.path for layer in ours})
    if unknown:
        raise ModelFileError(f"names: the model has no layer {unknown[0]!r}; {_some(layer.path for layer in ours)}")
    known = _known(file)
    implied = Counter(layer.path.rpartition(".")[2] for layer in ours if layer.path not in {*names, *known})
    for mine in ours:
        last = mine.path.rpartition(".")[2]
        name = names.get(mine.path) or next((name for name in (mine.path, last) if name in known), None)
        if name is None:
            continue
        if name not in known:
            raise ModelFileError(
                f"{file.path}: there is no layer {name!r} in the file; {_some(layer.name for layer in file.layers)}"
            )
        if mine.path not in names and name == last != mine.path and implied[last] > 1:
            raise ModelFileError(f"{implied[last]} layers here are called {last!r}, such as {mine.path}: give names")
        if len(known[name]) > 1:
            there = _some("/".join(layer.place) for layer in known[name])
            raise ModelFileError(
                f"{file.path}: {name!r} is the name of several layers, name {mine.path} by place; {there}"
            )
        (other,) = known[name]
        if file.order == "parts" and len(mine.parts) == len(other.parts):
            # Legacy files call parts otherwise, and have them in our order.
            yield from zip(our_parts(mine), their_parts(other), strict=True)
        else:
            yield mine, other


def _known(file: KerasFile) -> dict[str, list[KerasLayer]]:
    """Layers by their names and places; where none is called so, parts of legacy layers, such as a model's layers."""
    known: dict[str, list[KerasLayer]] = {}
    inner = [part for layer in file.layers for part in their_parts(layer)] if file.order == "parts" else []
    for layers in (inner, file.layers):
        found: dict[str, list[KerasLayer]] = {}
        for layer in layers:
            for name in {layer.name, "/".join(layer.place), ".".join(layer.place)}:
                found.setdefault(name, []).append(layer)
        known |= found
    return known


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return f"there are {', '.join(names[:20])}" + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _write_legacy(file: h5py.File, layers: list[OurLayer]) -> None:
    names = [layer.path or "model" for layer in layers]
    file.attrs["backend"], file.attrs["keras_version"] = "tensorflow", "3.0.0"
    _write_names(file, "layer_names", names)
    for name, layer in zip(names, layers, strict=True):
        group, weights = file.create_group(name), []
        for part, variables in layer.parts.items():
            for weight, variable in variables.items():
                weights.append("/".join(filter(None, (name, part, weight))))
                group.create_dataset(weights[-1], data=variable.numpy())
        _write_names(group, "weight_names", weights)
    _write_names(file.create_group("top_level_model_weights"), "weight_names", [])


def _write_names(group: h5py.Group, attribute: str, names: list[str]) -> None:
    """As Keras does, in several attributes where one would be more than HDF5's 64 KiB."""
    longest = max((len(name.encode()) for name in names), default=1)
    held = max(60_000 // longest, 1)
    parts = [names[start : start + held] for start in range(0, len(names), held)] or [[]]
    for number, part in enumerate(parts):
        group.attrs[f"{attribute}{number}" if len(parts) > 1 else attribute] = np.array(
            [name.encode() for name in part], "S"
        )


def _write_version_3(file: h5py.File, layers: list[OurLayer]) -> None:
    counts: dict[str, int] = {}
    for layer in layers:
        group = file.create_group(f"layers/{counted((layer.kinds or ('layer',))[0], counts)}")
        for part, variables in layer.parts.items():
            held = group.require_group("/".join(filter(None, (part, "vars"))))
            for place, variable in enumerate(variables.values()):
                dataset = held.create_dataset(str(place), data=variable.numpy())
                if variable.dtype == tf.bfloat16:
                    dataset.attrs["dtype"] = "bfloat16"
