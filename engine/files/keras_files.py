"""What Keras' files hold, read without Keras.

- `x.h5`, legacy HDF5 (also the published ImageNet weights): the attribute `layer_names` orders groups, `weight_names`
  of each its arrays; in the file of a whole model they lie in `model_weights`. A model in the model is one group.
- `x.weights.h5`: `layers/<class>_<k>/…/vars/<n>`, nested as the models are: the k-th layer of each class of a model.
  How the classes follow each other is not in the file, nor do the places of its bytes tell.
- `x.keras`: a zip file with the second in it, and the model's configuration, which has the order.
"""

import dataclasses
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np

from engine.files.hdf5 import ModelFileError, array, datasets, opened
from engine.files.keras_order import configured, kind_and_number

_WEIGHTS, _CONFIG = "model.weights.h5", "config.json"
_VARS, _DEEPEST = "vars", 50
# Where a layer that is an attribute of a model ends, and its parts begin.
_PARTS = {"cell", "layer", "forward_layer", "backward_layer", "query_dense", "key_dense", "value_dense", "output_dense"}


@dataclasses.dataclass
class KerasLayer:
    """A layer of a Keras file: its name, and arrays by the path of the part that holds them.

    place: the way to it through models in models, such as `("sequential", "dense_1")`, by classes and their counts;
    in legacy files `(name,)`. parts: `{"": [kernel, bias]}` of a plain layer, `{"forward_layer/cell": […], …}` of one
    that is made of others. names: of the arrays, part by part.
    """

    name: str
    place: tuple[str, ...]
    parts: dict[str, list[np.ndarray]]
    names: dict[str, list[str]]

    def __str__(self) -> str:
        shapes = ", ".join(str(list(values.shape)) for part in self.parts.values() for values in part)
        return f"{self.name} ({shapes})"


@dataclasses.dataclass
class KerasFile:
    """The layers with weights of a file.

    order: "layers" where they are in the model's order; "parts" where those of a legacy file are, with the parts of
    each layer in its order; "classes" where only layers of the same class in the same model are; "none" where they are
    attributes.
    """

    path: Path
    layers: list[KerasLayer]
    order: str

    def __str__(self) -> str:
        return "\n".join([f"{len(self.layers)} layers with weights in {self.path}:", *(f"  {x}" for x in self.layers)])


def read_file(path: str | Path) -> KerasFile:
    """The layers of a Keras file that have weights. ModelFileError for any other file."""
    path = Path(path)
    if zipfile.is_zipfile(path):
        weights, config = (_member(path, name) for name in (_WEIGHTS, _CONFIG))
        if weights is None:
            raise ModelFileError(f"{path} holds no {_WEIGHTS}")
        with opened(io.BytesIO(weights)) as file:
            return _of_version_3(path, file, None if config is None else _json(path, config))
    with opened(path) as file:
        # Before anything is opened by its name: no link is followed.
        found = datasets(file)
        group = file.get("model_weights", file)
        if not isinstance(group, h5py.Group):
            raise ModelFileError(f"{path}: model_weights must be a group")
        names = _names(group, "layer_names")
        if names is None:
            return _of_version_3(path, file, None)
        prefix = group.name.strip("/")
        found = {place.removeprefix(prefix).strip("/"): dataset for place, dataset in found.items()}
        config = _json(path, file.attrs["model_config"]) if "model_config" in file.attrs else None
        return KerasFile(path, list(_of_legacy(path, group, names, found, config)), "parts")


def _member(path: Path, name: str) -> bytes | None:
    """A member of a zip file as Keras writes it, not packed: it is no larger than the file. None if there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            if name not in archive.namelist():
                return None
            about = archive.getinfo(name)
            if about.compress_type != zipfile.ZIP_STORED or about.file_size > path.stat().st_size:
                raise ModelFileError(f"{path}: {name} must be stored as it is, without packing")
            return archive.read(about)
    except ModelFileError:
        raise
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError) as error:
        raise ModelFileError(f"{path}: a damaged zip file: {error}") from error


def _json(path: Path, text: str | bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelFileError(f"{path}: the model's configuration is no JSON: {type(error).__name__}") from None


def _names(group: h5py.Group, attribute: str) -> list[str] | None:
    """An attribute of names; long ones are cut into `<attribute>0`, `<attribute>1`, …."""
    if attribute in group.attrs:
        found = [group.attrs[attribute]]
    else:
        found = []
        while f"{attribute}{len(found)}" in group.attrs:
            found.append(group.attrs[f"{attribute}{len(found)}"])
        if not found:
            return None
    names = [name for part in found for name in np.asarray(part).ravel().tolist()]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _of_legacy(path: Path, group: h5py.Group, names: list[str], found: dict, config) -> Iterator[KerasLayer]:
    inside: dict[str, list[str]] = {}
    tops: dict[str, str] = {}
    for place, name in configured(path, config):
        inside.setdefault(tops.setdefault(place[0], name), []).append(name)
    for name in names:
        layer = group.get(name)
        weights = _names(layer, "weight_names") if isinstance(layer, h5py.Group) else None
        if weights is None:
            raise ModelFileError(f"{path}: layer {name} is named, and has no weight_names")
        missing = [weight for weight in weights if f"{name}/{weight}" not in found]
        if missing:
            raise ModelFileError(f"{path}: layer {name} lacks its weight {missing[0]}")
        # First all that is trained, then the rest: what belongs together is known by its name alone.
        parts = {}
        for weight in weights:
            parts.setdefault(weight.rpartition("/")[0], []).append(weight)
        if parts:
            order = _in_model(list(parts), inside.get(name, []))
            yield KerasLayer(
                name,
                (name,),
                {part: [_values(found[f"{name}/{weight}"]) for weight in parts[part]] for part in order},
                {part: [weight.partition(":")[0] for weight in parts[part]] for part in order},
            )


def _in_model(parts: list[str], names: list[str]) -> list[str]:
    """Parts in the order of the model's layers, each known by the last name in its path; as they are if one is not."""
    ranks = {name: rank for rank, name in enumerate(names)}
    found = {part: [ranks[name] for name in part.split("/") if name in ranks] for part in parts}
    return sorted(parts, key=lambda part: found[part][-1]) if all(found.values()) else parts


def _of_version_3(path: Path, file: h5py.File, config) -> KerasFile:
    found: dict[tuple[str, ...], dict[str, dict[int, h5py.Dataset]]] = {}
    holders, ordered = {}, True
    for where, dataset in datasets(file).items():
        *holder, group, number = ["", *where.split("/")] if "/" not in where else where.split("/")
        if group != _VARS or not (number.isascii() and number.isdigit()):
            raise ModelFileError(f"{path}: {where} is no weight of a Keras layer")
        # The state of the optimizer, and of generators of random numbers, is no weight.
        if holder[:1] == ["optimizer"] or holder[-1:] == ["seed_generator"]:
            continue
        place, part = _split(holder)
        if len(place) > _DEEPEST:
            raise ModelFileError(f"{path}: {where[:80]} is more than {_DEEPEST} models deep")
        ordered = ordered and holder[:1] == ["layers"]
        holders[place] = "/".join(holder[: len(holder) - part.count("/") - bool(part)])
        found.setdefault(place, {}).setdefault(part, {})[int(number)] = dataset
    if not found:
        raise ModelFileError(f"{path} holds no weights of Keras layers")
    layers = []
    for place, parts in sorted(found.items(), key=lambda item: [kind_and_number(name) for name in item[0]]):
        group = file.get(f"{holders[place]}/{_VARS}".strip("/"))
        name = place[-1] if place else ""
        if group is not None:
            name = str(group.attrs.get("name", name))
        values = {part: [_values(held[n]) for n in sorted(held)] for part, held in parts.items()}
        numbers = {part: [str(number) for number in sorted(held)] for part, held in parts.items()}
        layers.append(KerasLayer(name, place, values, numbers))
    ranks = {place: rank for rank, (place, _) in enumerate(configured(path, config))}
    if ordered and all(layer.place in ranks for layer in layers):
        return KerasFile(path, sorted(layers, key=lambda layer: ranks[layer.place]), "layers")
    return KerasFile(path, layers, "classes" if ordered else "none")


def _split(holder: list[str]) -> tuple[tuple[str, ...], str]:
    """A layer's place and a part of it: `layers/a/layers/b/cell` is ("a", "b") and "cell"."""
    if holder[:1] != ["layers"]:
        end = next((n for n, name in enumerate(holder) if n and name in _PARTS), len(holder))
        return tuple(holder[:end]), "/".join(holder[end:])
    place = []
    while len(holder) > 1 and holder[0] == "layers":
        place.append(holder[1])
        # A model that is applied to every time step is the `layer` of a wrapper.
        holder = holder[3:] if holder[2:4] == ["layer", "layers"] else holder[2:]
    return tuple(place), "/".join(holder)


def _values(dataset: h5py.Dataset) -> np.ndarray:
    """Its values; Keras writes bfloat16 as what HDF5 has no name for, two bytes each."""
    return array(dataset, opaque=np.dtype(ml_dtypes.bfloat16))
