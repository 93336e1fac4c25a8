"""Published weights, in the HDF5 files that Keras wrote before its version 3: read strictly, layer by layer."""

import h5py
import numpy as np


def load_keras_weights(path, layers, ignore=()):
    """Sets the variables of `layers`, by the names that a file knows them by, from the file.

    layers: by name, in their order; a tuple of names means that the file has one of them. A variable is found by its
    field (`kernel`, `gamma`, `moving_mean`, …). Nothing is set unless all fits: ValueError names the file and the
    first layer that it lacks, has in other shapes, or has too many. ignore: layers of the file that may be passed over.
    """
    try:
        with h5py.File(path, "r") as file:
            held = _held(path, file)
            found = [
                (variable, held[name][field])
                for names, layer in layers.items()
                for name in [_checked(path, held, names, layer)]
                for field, variable in _variables(layer).items()
            ]
            known = {name for names in layers for name in (names if isinstance(names, tuple) else (names,))}
            extra = [name for name in held if name not in known and name not in ignore]
            if extra:
                raise ValueError(
                    f"{path}: the file has layer {extra[0]} ({_shown(held[extra[0]])}), the network has not"
                )
            values = [(variable, _array(path, dataset)) for variable, dataset in found]
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: no file of weights, or a damaged one: {said}") from error
    for variable, array in values:
        variable.assign(array.astype(variable.dtype.as_numpy_dtype))


def _held(path, file):
    """The datasets of each layer that has any, by layer and field, in the file's order."""
    group = file.get("model_weights", file)
    names = _names(group, "layer_names")
    if names is None:
        raise ValueError(f"{path}: expected weights in Keras' legacy format, found no layer_names")
    held = {}
    for name in names:
        weights = _names(group[name], "weight_names") or []
        if weights:
            held[name] = {weight.rpartition("/")[2].partition(":")[0]: group[name][weight] for weight in weights}
    return held


def _names(group, attribute):
    """An attribute of names, or None; long ones are cut into `<attribute>0`, `<attribute>1`, …."""
    found = [group.attrs[attribute]] if attribute in group.attrs else []
    while attribute not in group.attrs and f"{attribute}{len(found)}" in group.attrs:
        found.append(group.attrs[f"{attribute}{len(found)}"])
    names = [name for part in found for name in np.asarray(part).ravel().tolist()]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names] if found else None


def _checked(path, held, names, layer):
    """The name of a layer in the file, if it is there in the right shapes."""
    names = names if isinstance(names, tuple) else (names,)
    name = next((name for name in names if name in held), None)
    expected = {field: list(variable.shape) for field, variable in _variables(layer).items()}
    if name is None:
        there = ", ".join([*held][:3])
        raise ValueError(f"{path}: expected layer {names[0]} ({expected}), the file has none; it has {there}, …")
    found = {field: list(dataset.shape) for field, dataset in held[name].items()}
    if found != expected:
        raise ValueError(f"{path}: layer {name} must have {expected}, the file has {found}")
    return name


def _variables(layer):
    """The variables of a plain layer by field."""
    fields = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
    return {field: getattr(layer, field) for field in fields if getattr(layer, field, None) is not None}


def _shown(datasets):
    return ", ".join(f"{field} {list(dataset.shape)}" for field, dataset in datasets.items())


def _array(path, dataset):
    """A dataset's values, no larger than the file holds."""
    if dataset.dtype.kind != "f" or dataset.id.get_storage_size() < dataset.size * dataset.dtype.itemsize:
        raise ValueError(f"{path}: {dataset.name} does not hold its {dataset.size} numbers, as they are")
    return dataset[()]
