"""A model's layers as Keras' files have them, and which of their variables is which weight of a file's layer."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from engine.files.hdf5 import ModelFileError
from engine.files.keras_files import KerasLayer
from engine.files.keras_order import counted, snake
from engine.names import module_paths, variable_paths

# Our names of classes where Keras' are others.
_CLASSES = {
    "BatchNorm": "BatchNormalization", "LayerNorm": "LayerNormalization", "GroupNorm": "GroupNormalization",
    "RMSNorm": "RMSNormalization",
}  # fmt: skip
_MADE_OF_PARTS = ("Bidirectional", "MultiHeadAttention", "LSTM", "GRU", "SimpleRNN", "RNN")


@dataclasses.dataclass
class OurLayer:
    """A layer of ours with variables: its path, and the variables of its parts, by the part's path in it.

    kinds: what Keras' files may call its class, or one that it is a subclass of.
    """

    path: str
    kind: str
    kinds: tuple[str, ...]
    parts: dict[str, dict[str, tf.Variable]]

    def __str__(self) -> str:
        shapes = ", ".join(str(list(v.shape)) for part in self.parts.values() for v in part.values())
        return f"{self.path or 'the model'} {self.kind} ({shapes})"


def our_layers(model: tf.Module) -> list[OurLayer]:
    """Our layers with variables, in order. Layers that Keras has as one, made of parts, are one."""
    owners: dict[str, dict[str, tf.Variable]] = {}
    for path, variable in variable_paths(model).items():
        owner, _, name = path.rpartition(".")
        owners.setdefault(owner, {})[name] = variable
    modules, result = module_paths(model), {}
    for owner, variables in owners.items():
        whole = _whole(owner, modules)
        if whole not in result:
            module = modules.get(whole)
            names = [kind.__name__ for kind in type(module).__mro__ if kind.__module__ != "builtins"] if module else []
            kinds = tuple(snake(_CLASSES.get(name, name)) for name in names)
            result[whole] = OurLayer(whole, names[0] if names else "", kinds, {})
        result[whole].parts[_part(owner, whole, modules)] = variables
    return list(result.values())


def _whole(owner: str, modules: Mapping[str, tf.Module]) -> str:
    """The outermost layer around a part that is one layer in Keras."""
    parts = owner.split(".")
    for end in range(len(parts) + 1):
        path = ".".join(parts[:end])
        if path in modules and any(kind.__name__ in _MADE_OF_PARTS for kind in type(modules[path]).__mro__):
            return path
    return owner


def _part(owner: str, whole: str, modules: Mapping[str, tf.Module]) -> str:
    """Keras' path of a part in its layer: in lists it counts the items of each class, `cells/lstm_cell_1`."""
    here, part = whole, []
    for name in owner[len(whole) :].strip(".").split("."):
        within, here = here, f"{here}.{name}".strip(".")
        if name.isdigit():
            counts: dict[str, int] = {}
            siblings = [snake(type(modules[f"{within}.{n}".strip(".")]).__name__) for n in range(int(name) + 1)]
            name = [counted(kind, counts) for kind in siblings][-1]
        part.append(name)
    return "/".join(part)


def our_parts(layer: OurLayer) -> Iterator[OurLayer]:
    """Its parts as layers, in order."""
    for part, held in layer.parts.items():
        yield OurLayer(
            ".".join(filter(None, (layer.path, part.replace("/", ".")))), layer.kind, layer.kinds, {"": held}
        )


def their_parts(layer: KerasLayer) -> Iterator[KerasLayer]:
    """Its parts as layers."""
    for part, values in layer.parts.items():
        place = tuple(part.split("/")) if part else layer.place
        yield KerasLayer(place[-1], place, {"": values}, {"": layer.names[part]})


def weights_of(layer: KerasLayer) -> Iterator[tuple[np.ndarray, str]]:
    """Its arrays, each with what it goes by in reports."""
    for part, held in layer.parts.items():
        for values, name in zip(held, layer.names[part], strict=True):
            # In legacy files a weight's name has all of its path.
            yield values, name if "/" in name else "/".join(filter(None, (layer.name, part, name)))


def _arrays(mine: OurLayer, other: KerasLayer) -> list[tuple[tf.Variable, np.ndarray, str]] | None:
    """Our variables with the arrays that belong to them, or None if their numbers differ."""
    where = {id(values): name for values, name in weights_of(other)}
    if set(mine.parts) == set(other.parts):
        parts = [(list(held.values()), other.parts[part]) for part, held in mine.parts.items()]
    elif len(mine.parts) == len(other.parts) == 1:
        # The part of a wrapper, or of a layer in a legacy file.
        ((held, values),) = zip(mine.parts.values(), other.parts.values(), strict=True)
        parts = [(list(held.values()), values)]
    else:
        return None
    if any(len(variables) != len(values) for variables, values in parts):
        return None
    return [
        (variable, array, where[id(array)])
        for variables, values in parts
        for variable, array in zip(variables, values, strict=True)
    ]


def fit(mine: OurLayer, other: KerasLayer) -> bool:
    """Whether the weights of the one have the parts and shapes of the other's."""
    found = _arrays(mine, other)
    return found is not None and all(tuple(variable.shape) == value.shape for variable, value, _ in found)


def matched(path: Path, mine: OurLayer, other: KerasLayer) -> list[tuple[tf.Variable, np.ndarray, str]]:
    """Variables of ours with their arrays and what those go by; ModelFileError if they do not fit."""
    if not fit(mine, other):
        raise ModelFileError(f"{path}: {mine} here is {other} in the file")
    return _arrays(mine, other)
