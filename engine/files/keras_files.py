"""What Keras' files hold, read without Keras: weights in the order in which its layers come.

- `x.h5`, legacy HDF5 (also the published ImageNet weights): the attribute `layer_names` orders groups, `weight_names`
  of each its arrays; in the file of a whole model they lie in `model_weights`.
- `x.weights.h5`: `layers/<class>/…/vars/<n>`, nested as the layers are. The groups have no order; but Keras writes
  layer after layer, so the places of the arrays in the file have it.
- `x.keras`: a zip file with the second in it.
"""

import dataclasses
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from engine.files.hdf5 import ModelFileError, array, datasets, opened

_INSIDE = "model.weights.h5"
# Generators of random numbers, whose state is no weight.
_NO_WEIGHTS = ("seed_generator", "optimizer")
_VARS = "vars"


@dataclasses.dataclass
class KerasLayer:
    """A layer of a Keras file: its name, and arrays by the path of the part that holds them, in the parts' order.

    parts: `{"": [kernel, bias]}` of a plain layer, `{"forward_layer/cell": […], "backward_layer/cell": […]}` of one
    that is made of others; legacy files know one part alone. names: of the arrays, part by part.
    """

    name: str
    parts: dict[str, list[np.ndarray]]
    names: dict[str, list[str]]

    def __str__(self) -> str:
        shapes = ", ".join(str(list(values.shape)) for part in self.parts.values() for values in part)
        return f"{self.name} ({shapes})"


def read_layers(path: str | Path) -> list[KerasLayer]:
    """The layers of a Keras file that have weights, in their order. ModelFileError for any other file."""
    path = Path(path)
    if zipfile.is_zipfile(path):
        with opened(_unzipped(path)) as file:
            return _of_version_3(path, file)
    with opened(path) as file:
        group = file.get("model_weights", file)
        if not isinstance(group, h5py.Group):
            raise ModelFileError(f"{path}: model_weights must be a group")
        names = _names(group, "layer_names")
        return _of_version_3(path, file) if names is None else list(_of_legacy(path, group, names))


def _unzipped(path: Path) -> io.BytesIO:
    try:
        with zipfile.ZipFile(path) as archive:
            about = archive.getinfo(_INSIDE)
            # No stored member is larger than its file, and a packed one is by 1,032 at most.
            if about.file_size > 1100 * path.stat().st_size:
                raise ModelFileError(f"{path}: {_INSIDE} claims {about.file_size} bytes")
            with archive.open(about) as member:
                content = member.read(about.file_size + 1)
            if len(content) != about.file_size:
                raise ModelFileError(f"{path}: {_INSIDE} is longer than it says")
            return io.BytesIO(content)
    except KeyError:
        raise ModelFileError(f"{path} holds no {_INSIDE}") from None
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path}: a damaged zip file: {error}") from error


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


def _of_legacy(path: Path, group: h5py.Group, names: list[str]) -> Iterator[KerasLayer]:
    found = datasets(group)
    for name in names:
        layer = group.get(name)
        weights = _names(layer, "weight_names") if isinstance(layer, h5py.Group) else None
        if weights is None:
            raise ModelFileError(f"{path}: layer {name} is named, and has no weight_names")
        missing = [weight for weight in weights if f"{name}/{weight}" not in found]
        if missing:
            raise ModelFileError(f"{path}: layer {name} lacks its weight {missing[0]}")
        if weights:
            values = [array(found[f"{name}/{weight}"]) for weight in weights]
            yield KerasLayer(name, {"": values}, {"": [_bare(weight) for weight in weights]})


def _bare(weight: str) -> str:
    """`conv1/kernel:0` is `kernel`."""
    return weight.rpartition("/")[2].partition(":")[0]


def _of_version_3(path: Path, file: h5py.File) -> list[KerasLayer]:
    layers: dict[str, dict[str, dict[int, h5py.Dataset]]] = {}
    for place, dataset in datasets(file).items():
        *holder, number = place.split("/")
        if not (len(holder) > 1 and holder[-1] == _VARS and number.isdigit() and holder[0] == "layers"):
            if set(_NO_WEIGHTS) & set(holder) or holder == [_VARS]:
                continue
            raise ModelFileError(f"{path}: {place} is no weight of a Keras layer")
        if set(_NO_WEIGHTS) & set(holder):
            continue
        layer, part = _split(holder[:-1])
        layers.setdefault(layer, {}).setdefault(part, {})[int(number)] = dataset
    if not layers:
        raise ModelFileError(f"{path} holds no weights of Keras layers")
    ordered = sorted(layers.items(), key=lambda item: _first_byte(item[1]))
    result = []
    for layer, parts in ordered:
        name = file[f"{layer}/{_VARS}"].attrs.get("name", layer) if f"{layer}/{_VARS}" in file else layer
        values = {part: [array(held[n]) for n in sorted(held)] for part, held in parts.items()}
        numbers = {part: [str(number) for number in sorted(held)] for part, held in parts.items()}
        result.append(KerasLayer(str(name), values, numbers))
    return result


def _first_byte(parts: dict[str, dict[int, h5py.Dataset]]) -> int:
    return min(dataset.id.get_offset() or 0 for held in parts.values() for dataset in held.values())


def _split(holder: list[str]) -> tuple[str, str]:
    """`layers/a/layers/b/cell` is the layer `layers/a/layers/b` and its part `cell`."""
    end = 2
    while holder[end : end + 1] == ["layers"] and len(holder) > end + 1:
        end += 2
    return "/".join(holder[:end]), "/".join(holder[end:])
