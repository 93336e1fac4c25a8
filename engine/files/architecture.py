"""A model's structure as plain data: names of registered classes and functions, and their arguments.

Encoded, a value is JSON: numbers, strings, booleans and null stand for themselves, lists are lists, and all else is
an object with one of the keys below.

    {"layer": name, "args": [...], "kwargs": {...}}    a layer, made anew by its registered class
    {"shared": n}                                       the n-th layer that was complete, once more
    {"object": name, "fields": {...}}                   a dataclass, such as an initializer
    {"function": name}                                  a registered function or class itself
    {"tuple": [...]}, {"dict": {...}}, {"dtype": name}, {"float": "inf"}, {"array": n}

Decoding makes objects of registered names alone; it imports nothing and evaluates nothing.
"""

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from engine.files.hdf5 import ModelFileError

_DEPTH, _NODES, _LONGEST = 60, 100_000, 10_000
# What constructors raise for arguments that nobody checked for them.
_REFUSALS = (ValueError, TypeError, ArithmeticError, AttributeError, LookupError, RuntimeError, MemoryError)
_PLAIN = (bool, int, str, type(None))
_KEYS = {
    "layer": {"layer", "args", "kwargs"},
    "object": {"object", "fields"},
    **{key: {key} for key in ("shared", "function", "tuple", "dict", "dtype", "float", "array")},
}


def registry() -> dict[str, Callable]:
    """What may be named: the mappings `registry` of all base classes of layers that this program has imported.

    So the engine need not know a library of layers: a subclass of `tf.Module` with a class attribute `registry`, from
    names to classes and functions, is enough.
    """
    found, waiting = {}, [tf.Module]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        own = vars(kind).get("registry")
        if isinstance(own, Mapping):
            found |= own
    return found


class Encoder:
    """Turns a model into plain data; `arrays` collects what is kept beside it."""

    def __init__(self):
        # A name for each thing; of several the first.
        self._names = {id(thing): name for name, thing in reversed(registry().items())}
        self._complete: dict[int, int] = {}
        self.arrays: list[np.ndarray] = []

    def encode(self, value: Any, where: str = "the model") -> Any:
        """The value as plain data. ValueError, naming the argument, for what no file can hold."""
        if id(value) in self._complete:
            return {"shared": self._complete[id(value)]}
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, tf.DType):
            return {"dtype": value.name}
        if isinstance(value, tf.Module):
            return self._layer(value, where)
        if id(value) in self._names:
            return {"function": self._names[id(value)]}
        if isinstance(value, tuple):
            return {"tuple": [self.encode(item, f"{where}[{n}]") for n, item in enumerate(value)]}
        if isinstance(value, list):
            return [self.encode(item, f"{where}[{n}]") for n, item in enumerate(value)]
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {"dict": {key: self.encode(item, f"{where}[{key!r}]") for key, item in value.items()}}
        if isinstance(value, np.ndarray | tf.Tensor) and np.asarray(value).dtype.kind in "fiub":
            self.arrays.append(np.asarray(value))
            return {"array": len(self.arrays) - 1}
        if dataclasses.is_dataclass(value) and id(type(value)) in self._names:
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            encoded = {name: self.encode(item, f"{where}.{name}") for name, item in fields.items()}
            return {"object": self._names[id(type(value))], "fields": encoded}
        hint = "give it to layers.register" if callable(value) else "it is no plain value"
        raise ValueError(f"{where}: {value!r} can't be saved: {hint}")

    def _layer(self, layer: tf.Module, where: str) -> dict:
        arguments = getattr(layer, "arguments", None)
        if id(type(layer)) not in self._names or not isinstance(arguments, inspect.BoundArguments):
            raise ValueError(f"{where}: {type(layer).__name__} can't be saved: @layers.register a subclass of Layer")
        name = self._names[id(type(layer))]
        encoded = {
            "layer": name,
            "args": [self.encode(item, f"{where}, {name}[{n}]") for n, item in enumerate(arguments.args)],
            "kwargs": {key: self.encode(item, f"{where}, {name}.{key}") for key, item in arguments.kwargs.items()},
        }
        self._complete[id(layer)] = len(self._complete)
        return encoded


class Decoder:
    """Makes a model of plain data, of registered classes only. ModelFileError for all that is not as it must be."""

    def __init__(self, arrays: list[np.ndarray]):
        self._registry, self._arrays = registry(), arrays
        self._complete: list[tf.Module] = []
        self._nodes = 0

    def decode(self, data: Any, depth: int = 0) -> Any:
        """The value that was encoded."""
        self._nodes += 1
        if depth > _DEPTH or self._nodes > _NODES:
            raise ModelFileError(f"the structure is more than {_DEPTH} deep, or of more than {_NODES} parts")
        if isinstance(data, str) and len(data) > _LONGEST:
            raise ModelFileError(f"the structure holds a text of {len(data)} characters")
        if isinstance(data, (*_PLAIN, float)):
            return data
        if isinstance(data, list):
            return [self.decode(item, depth + 1) for item in data]
        kind = next((key for key in _KEYS if isinstance(data, dict) and key in data), None)
        if kind is None or set(data) != _KEYS[kind]:
            raise ModelFileError(f"the structure holds something unknown: {str(data)[:80]}")
        return getattr(self, f"_{kind}")(data, depth + 1)

    def _layer(self, data, depth):
        kind = self._named(data["layer"])
        if not (isinstance(kind, type) and issubclass(kind, tf.Module)):
            raise ModelFileError(f"{data['layer']!r} is no layer")
        args, kwargs = self._list(data["args"], depth), self._dict({"dict": data["kwargs"]}, depth)
        try:
            layer = getattr(kind, "from_saved", kind)(*args, **kwargs)
        except (
            ValueError,
            TypeError,
            ArithmeticError,
            AttributeError,
            LookupError,
            RuntimeError,
            MemoryError,
        ) as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelFileError(f"{data['layer']} can't be made of what the file says: {said}") from error
        self._complete.append(layer)
        return layer

    def _shared(self, data, depth):
        return self._of(self._complete, data["shared"], "layer")

    def _array(self, data, depth):
        return self._of(self._arrays, data["array"], "array")

    def _of(self, things, number, what):
        if type(number) is not int or not 0 <= number < len(things):
            raise ModelFileError(f"there is no {what} {number!r}")
        return things[number]

    def _object(self, data, depth):
        kind = self._named(data["object"])
        if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
            raise ModelFileError(f"{data['object']!r} is no dataclass")
        try:
            return kind(**self._dict({"dict": data["fields"]}, depth))
        except (ValueError, TypeError) as error:
            raise ModelFileError(f"{data['object']} can't be made of what the file says: {error}") from error

    def _function(self, data, depth):
        return self._named(data["function"])

    def _named(self, name):
        if not isinstance(name, str) or name not in self._registry:
            raise ModelFileError(
                f"{str(name)[:80]!r} is not registered: import the module that does so (layers.register), or layers"
            )
        return self._registry[name]

    def _list(self, data, depth):
        if not isinstance(data, list):
            raise ModelFileError(f"expected a list, found {str(data)[:80]}")
        return [self.decode(item, depth) for item in data]

    def _tuple(self, data, depth):
        return tuple(self._list(data["tuple"], depth))

    def _dict(self, data, depth):
        if not isinstance(data["dict"], dict):
            raise ModelFileError(f"expected names with values, found {str(data['dict'])[:80]}")
        return {key: self.decode(item, depth) for key, item in data["dict"].items()}

    def _dtype(self, data, depth):
        try:
            return tf.as_dtype(data["dtype"])
        except TypeError:
            raise ModelFileError(f"there is no dtype {str(data['dtype'])[:80]!r}") from None

    def _float(self, data, depth):
        if data["float"] not in ("inf", "-inf", "nan"):
            raise ModelFileError(f"expected inf, -inf or nan, found {str(data['float'])[:80]!r}")
        return float(data["float"])
