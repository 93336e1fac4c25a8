"""Layers with inputs that fit them, from nothing but the layer's class."""

import dataclasses
import functools
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from engine.names import variable_paths
from engine.testing.directions import generator
from engine.testing.strategies.shapes import Convolution, convolutions

_INPUT_SIZES = ("in_features", "in_channels", "channels", "features")
_RANKS = (2, 3, 4)
_BY_NAME = {
    **dict.fromkeys(_INPUT_SIZES, st.integers(1, 4)),
    **dict.fromkeys(("units", "filters", "output_dim", "out_features", "out_channels"), st.integers(1, 4)),
    # The size of a vocabulary: the inputs are integers below it.
    "input_dim": st.integers(1, 8),
    "rate": st.sampled_from([0.0, 0.5, 0.2, 0.9]),
    "stddev": st.sampled_from([0.0, 0.5, 2.0]),
    # Smooth ones: a kink that a random case comes upon would look like a wrong gradient.
    "activation": st.sampled_from([None, "tanh", "softplus", "gelu"]),
    **dict.fromkeys(("use_bias", "center", "scale"), st.booleans()),
    # Drawn inputs may be one wide.
    "cropping": st.just(0),
}
_BY_GEOMETRY = {
    "in_channels": lambda geometry: geometry.in_channels,
    "filters": lambda geometry: geometry.filters,
    "kernel_size": lambda geometry: geometry.kernel_size,
    "pool_size": lambda geometry: geometry.kernel_size,
    "strides": lambda geometry: geometry.strides,
    "padding": lambda geometry: geometry.padding,
    "dilation_rate": lambda geometry: geometry.dilations,
    "groups": lambda geometry: geometry.groups,
}


@dataclasses.dataclass(frozen=True, repr=False)
class LayerCase:
    """A layer and its inputs, made from plain values: equal cases hold equal numbers.

    layer_class, arguments: how the layer is made. input_shape: of the one input, int32 below `arguments["input_dim"]`
    if there is such an argument, else float32. seed: of the input and of all floating variables.

    The floating input holds distinct values, evenly spaced over [−2, 2] and in random order: none is 0, and no
    two are near each other, so that maxima are not tied. Variables of rank 2 or more are uniform with variance
    1 / fan_in; others are what they were made if that is whole numbers, else 0, and up to 0.3 off.

    It unpacks into (layer, inputs), the same objects each time.
    """

    layer_class: type
    arguments: Mapping[str, Any]
    input_shape: tuple[int, ...]
    seed: int = 0

    def __repr__(self) -> str:
        shown = ", ".join(f"{name!r}: {_show(value)}" for name, value in self.arguments.items())
        return f"LayerCase({self.layer_class.__name__}, {{{shown}}}, {self.input_shape}, seed={self.seed})"

    def __iter__(self) -> Iterator:
        return iter((self.layer, self.inputs))

    @functools.cached_property
    def layer(self) -> tf.Module:
        """The layer, its variables set from the seed."""
        layer, rng = self.layer_class(**self.arguments), generator(self.seed, 0)
        for variable in variable_paths(layer).values():
            if variable.dtype.is_floating:
                variable.assign(tf.constant(_values(rng, variable), variable.dtype))
        return layer

    @functools.cached_property
    def inputs(self) -> tf.Tensor:
        """The input, drawn from the seed."""
        rng = generator(self.seed, 1)
        if "input_dim" in self.arguments:
            return tf.constant(rng.integers(0, self.arguments["input_dim"], self.input_shape), tf.int32)
        size = int(np.prod(self.input_shape))
        even = size + size % 2
        levels = (2 * rng.permutation(even)[:size] + 1 - even) * (2 / even)
        return tf.constant(levels.reshape(self.input_shape), tf.float32)


def layer_cases(layer_class: type, *, input_shape: Any = None, **parameters: Any) -> st.SearchStrategy:
    """A `LayerCase` of the class: (layer, inputs).

    Arguments are drawn by the names of the constructor's parameters (Keras' names, as in `layers`); what has a default
    and an unknown name keeps it. `parameters` are values or strategies that take the place of those drawn, and
    `input_shape` likewise. A class with windows (`kernel_size` or `pool_size`) says over how many dimensions they go in
    its name, as "Conv2D". Otherwise the input's rank, from 2 to 4, or from 1 to 3 for integers, is any that the layer
    takes; its last dimension is the argument called in_features, in_channels, channels or features, if there is one.

    TypeError, before anything is drawn, names a parameter that has neither a default nor a strategy.
    """
    if not (isinstance(layer_class, type) and issubclass(layer_class, tf.Module)):
        raise TypeError(f"layer_cases needs a class of tf.Modules, found {layer_class!r}")
    name = layer_class.__name__
    known = inspect.signature(layer_class.__init__).parameters  # type: ignore[misc]
    for parameter in parameters:
        if parameter not in known:
            raise TypeError(f"{name} has no parameter {parameter!r}")
    _check_call(layer_class)
    geometry = None if input_shape is not None else _geometry(layer_class, known, parameters)
    drawn = {}
    for parameter in list(known.values())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in parameters:
            value = parameters[parameter.name]
            drawn[parameter.name] = value if isinstance(value, st.SearchStrategy) else st.just(value)
        elif geometry is not None and parameter.name in _BY_GEOMETRY:
            drawn[parameter.name] = None
        elif parameter.name in _BY_NAME:
            drawn[parameter.name] = _BY_NAME[parameter.name]
        elif parameter.default is parameter.empty:
            raise TypeError(
                f"there is no strategy for {name}'s parameter {parameter.name!r}: "
                f"give one, layer_cases({name}, {parameter.name}=…)"
            )
    return _cases(layer_class, known, drawn, geometry, input_shape)


@st.composite
def _cases(draw, layer_class, known, drawn, geometry, input_shape):
    window = None if geometry is None else draw(geometry)
    arguments = {
        name: _BY_GEOMETRY[name](window) if strategy is None else draw(strategy) for name, strategy in drawn.items()
    }
    if window is None and "groups" in known and "channels" in arguments and "groups" not in arguments:
        channels = arguments["channels"]
        arguments["groups"] = draw(st.sampled_from([n for n in range(1, channels + 1) if channels % n == 0]))
    if isinstance(input_shape, st.SearchStrategy):
        input_shape = draw(input_shape)
    if input_shape is None:
        input_shape = _input_shape(draw, layer_class, arguments, window)
    return LayerCase(layer_class, arguments, tuple(input_shape), draw(st.integers(0, 2**16)))


def _input_shape(draw, layer_class, arguments, window: Convolution | None):
    size = next((arguments[name] for name in _INPUT_SIZES if name in arguments), None)
    if window is not None:
        return (window.batch, *window.size, window.in_channels if size is None else size)
    spatial = _dimensions(layer_class)
    ids = "input_dim" in arguments
    ranks = (spatial + 2,) if spatial else (1, *_RANKS[:-1]) if ids else _RANKS
    last = [] if ids else [size]
    first = draw(st.integers(0, len(ranks) - 1))
    for rank in (*ranks[first:], *ranks[:first]):
        free = rank - len(last)
        if _takes(layer_class, arguments, (1,) * free, last):
            break
    else:
        shown = ", ".join(map(str, ranks))
        raise TypeError(f"{layer_class.__name__} takes no input of rank {shown}: give input_shape=…")
    sides = tuple(draw(st.integers(1, 3)) for _ in range(free))
    return (*sides, *(draw(st.integers(1, 4)) if size is None else size for size in last))


def _takes(layer_class, arguments, sides, last):
    """Whether the layer computes on an input of that shape."""
    try:
        layer, x = LayerCase(layer_class, arguments, (*sides, *(size or 1 for size in last)))
        layer(x)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError):
        return False
    return True


def _geometry(layer_class, known, given):
    """A strategy for the window of a class that has one."""
    windows = {"kernel_size", "pool_size"} & set(known)
    if not windows or windows & set(given):
        return None
    rank = _dimensions(layer_class)
    if not rank:
        raise TypeError(
            f"{layer_class.__name__} does not say over how many dimensions its {min(windows)} goes: "
            f"give {min(windows)}=… and input_shape=…"
        )
    options = {"max_stride": "strides", "max_dilation": "dilation_rate", "max_groups": "groups"}
    return convolutions(rank, **{maximum: 1 for maximum, name in options.items() if name not in known})


def _check_call(layer_class):
    """TypeError unless the class is called with one input, and perhaps `training`."""
    if "__call__" not in dir(layer_class):
        raise TypeError(f"{layer_class.__name__} cannot be called: there is no input to draw")
    _, *parameters = inspect.signature(layer_class.__call__).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if len(needed) != 1:
        raise TypeError(
            f"layer_cases draws one input, {layer_class.__name__} is called with {', '.join(needed) or 'none'}"
        )


def _dimensions(layer_class):
    found = re.search(r"([123])D", layer_class.__name__)
    return int(found[1]) if found else 0


def _values(rng, variable):
    uniform = rng.uniform(-1, 1, variable.shape)
    if variable.shape.rank >= 2:
        return uniform * np.sqrt(3 / np.prod(variable.shape[:-1]))
    made = np.asarray(variable, np.float64)
    return np.where(made == np.round(made), made, 0) + 0.3 * uniform


def _show(value):
    return getattr(value, "__name__", None) or repr(value)
