"""What a law is tried on: a callable with its arguments, called again and again from the same state."""

import contextlib
import copy
from collections.abc import Callable as Function
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from engine.names import variable_paths
from engine.testing.callables import Callable, modules_of
from engine.testing.directions import generator
from engine.testing.functions import dense, takes_training
from engine.testing.nests import is_floating, named_leaves

GRADIENT, MOVED = "the gradient of ", " after the call"


class Subject:
    """A callable and its arguments; with a `dtype`, a copy of its module and of the arguments in that.

    function: what is called. args: its positional arguments; sources: their floating tensors, by name.
    variables: all that are below the module, and those that a plain function reads, by name; trained: those that get
    gradients; statistics: those that a call may move.
    """

    def __init__(self, fn: Function, inputs: Any, training: Any = None, dtype: tf.DType | None = None):
        callee = Callable(fn, dtype)
        self.function, self.training, self._label = callee.function, training, callee.label
        self._takes_training = takes_training(self.function)
        args = tuple(inputs) if type(inputs) in (list, tuple) else (inputs,)
        self.args = map_tensors(lambda leaf: _tensor(leaf, dtype), args)
        self.sources = _floating(self.args)
        modules = list(modules_of(self.function))
        self.variables = variable_paths(modules[0] if len(modules) == 1 else modules)
        names = {id(variable): name for name, variable in self.variables.items()}
        # What a module calls is below it; what a plain function reads shows when it is called.
        watched = [] if modules else self._watched(callee.statistics)
        self.trained = {name: v for name, v in callee.tested(watched) if v.dtype.is_floating}
        self.statistics = {names.get(id(v), v.name.split(":")[0]): v for v in callee.statistics}
        self.variables = {**self.variables, **self.trained, **self.statistics}

    def __str__(self) -> str:
        return self._label

    def call(self, args: Sequence, training: Any = None) -> Any:
        """`function(*args)`, with a copy of `training` (None: the subject's) where the callable takes it."""
        training = self.training if training is None else training
        if training is None or not self._takes_training:
            return self.function(*args)
        # A context counts its draws: each evaluation begins where the given one stands.
        return self.function(*args, training=copy.copy(training))

    def differentiated(self, args: Sequence) -> dict[str, Any]:
        """What gets gradients, by name: the floating tensors of `args`, and the trainable variables."""
        return {**_floating(args), **self.trained}

    def measure(self, args: Sequence, cotangents: Sequence | None = None, training: Any = None) -> dict[str, tf.Tensor]:
        """By name: the outputs, the variables that a call may move, and, where there are cotangents (one for each
        floating output), the gradients of Σ cotangent·output that exist; `tf.IndexedSlices` as tensors."""
        sources = self.differentiated(args)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(list(sources.values()))
            outputs = named_outputs(self.call(args, training))
        found = dict(outputs)
        floating = [y for y in outputs.values() if y.dtype.is_floating]
        if cotangents is not None and floating and sources:
            gradients = tape.gradient(floating, list(sources.values()), output_gradients=list(cotangents))
            for (name, source), gradient in zip(sources.items(), gradients, strict=True):
                if gradient is not None:
                    found[GRADIENT + name] = dense(gradient, source)
        return {**found, **{path + MOVED: tf.identity(variable) for path, variable in self.statistics.items()}}

    def outputs(self) -> dict[str, tf.Tensor]:
        """The outputs by name; the state is put back."""
        with self.undisturbed():
            return named_outputs(self.call(self.args))

    def cotangents(self) -> list[tf.Tensor]:
        """A random direction for each floating output, the same at every call, of values that float32 can hold."""
        rng = generator(1)
        floating = [y for y in self.outputs().values() if y.dtype.is_floating]
        return [tf.cast(rng.normal(size=y.shape).astype(np.float32), y.dtype) for y in floating]

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Within it variables may move; afterwards they hold again what they held."""
        held = [(variable, tf.identity(variable)) for variable in self.variables.values()]
        try:
            yield
        finally:
            for variable, value in held:
                variable.assign(value)

    def _watched(self, statistics):
        held = [(variable, tf.identity(variable)) for variable in statistics]
        with tf.GradientTape() as tape:
            self.call(self.args)
        for variable, value in held:
            variable.assign(value)
        return tape.watched_variables()


def map_tensors(function: Function, nest: Any) -> Any:
    """`function` of every leaf of a nest but None."""
    return tf.nest.map_structure(lambda leaf: None if leaf is None else function(leaf), nest)


def named_outputs(outputs: Any) -> dict[str, tf.Tensor]:
    """`outputs`, or `outputs[0]`, `outputs['a'][1]`, … for what a callable returned."""
    return {name: tf.convert_to_tensor(y) for name, y in named_leaves(outputs, "outputs") if y is not None}


def _floating(args):
    return {name: leaf for name, leaf in named_leaves(args, "inputs") if is_floating(leaf)}


def _tensor(leaf, dtype):
    """A tensor of an input, if it is floating in `dtype`; a Python number is not rounded on the way."""
    if isinstance(leaf, float):
        return tf.constant(leaf, dtype or tf.float32)
    leaf = tf.convert_to_tensor(leaf)
    return tf.cast(leaf, dtype) if dtype is not None and leaf.dtype.is_floating else leaf
