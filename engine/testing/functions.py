"""Any callable as a pure function of a list of tensors: its floating inputs and its variables."""

import contextlib
import copy
import dataclasses
import inspect
import math
from collections.abc import Iterator

import tensorflow as tf

from engine.testing.callables import Callable
from engine.testing.directions import scale
from engine.testing.nests import is_floating, named_leaves

EPSILON = {tf.float64: 2.0**-52, tf.float32: 2.0**-23, tf.float16: 2.0**-10, tf.bfloat16: 2.0**-7}


@dataclasses.dataclass
class Point:
    """A tensor that the derivative is taken by: an input (its place among the leaves) or a variable."""

    name: str
    value: tf.Tensor
    place: int | None = None
    variable: tf.Variable | None = None


class Function:
    """`function.outputs(values)`: the floating outputs at those values of `function.points`, and nothing else changes.

    Variables are set to the values, `restore()` puts back what they held; statistics that the callable moves are
    put back after every evaluation, and every evaluation gets its own copy of a step context.
    ignored: names of outputs that do not count.
    """

    def __init__(self, callee: Callable, inputs, dtype: tf.DType | None, training):
        arguments = tuple(inputs) if type(inputs) in (list, tuple) else (inputs,)
        self.callee, self.training, self.evaluations = callee, training, 0
        self.leaves = []
        self.points = []
        self.output_names = []
        self._structure = arguments
        for place, (name, leaf) in enumerate(named_leaves(arguments, "inputs")):
            if is_floating(leaf):
                leaf = _tensor(leaf, dtype)
                self.points.append(Point(name, leaf, place=place))
            self.leaves.append(leaf)
        self._options = {"training"} if training is not None and takes_training(callee.function) else set()
        self._held = {}
        self.ignored = set()
        self._find_variables()

    @property
    def arguments(self) -> tuple:
        """What the callable is called with, in the dtype of the check."""
        return tf.nest.pack_sequence_as(self._structure, self.leaves, expand_composites=True)

    def keep(self, wanted) -> None:
        """Drops all points but the wanted ones: they stay what they are."""
        self.points = [point for point in self.points if wanted(point)]

    def _find_variables(self) -> None:
        with tf.GradientTape() as tape:
            self.outputs([point.value for point in self.points])
        for name, variable in self.callee.tested(tape.watched_variables()):
            if variable.dtype.is_complex:
                raise TypeError(f"{name}: {variable.dtype.name} is not supported")
            if variable.dtype.is_floating:
                value = variable.read_value()
                self.points.append(Point(name, value, variable=variable))
                self._held[id(variable)] = value

    @property
    def values(self) -> list[tf.Tensor]:
        """The values of the points at which the check is made."""
        return [point.value for point in self.points]

    @contextlib.contextmanager
    def at(self, values: list[tf.Tensor]) -> Iterator[list]:
        """The sources to differentiate by, holding `values`: tensors, and the variables themselves."""
        sources = []
        for point, value in zip(self.points, values, strict=True):
            if point.variable is not None and self._held[id(point.variable)] is not value:
                self._held[id(point.variable)] = value
                point.variable.assign(value)
            sources.append(value if point.variable is None else point.variable)
        kept = [(variable, variable.read_value()) for variable in self.callee.statistics]
        try:
            yield sources
        finally:
            for variable, value in kept:
                variable.assign(value)

    def restore(self) -> None:
        """Puts back what the variables held before the check."""
        with self.at(self.values):
            pass

    def __call__(self, sources: list) -> list[tf.Tensor]:
        """The floating outputs, to be called within `at`."""
        self.evaluations += 1
        leaves = list(self.leaves)
        for point, source in zip(self.points, sources, strict=False):
            if point.place is not None:
                leaves[point.place] = source
        arguments = tf.nest.pack_sequence_as(self._structure, leaves, expand_composites=True)
        options = {name: copy.copy(self.training) for name in self._options}
        outputs = self.callee.function(*arguments, **options)
        named = [(name, leaf) for name, leaf in named_leaves(outputs, "outputs") if is_floating(leaf)]
        named = [(name, leaf) for name, leaf in named if name not in self.ignored]
        self.output_names = [name for name, _ in named]
        return [tf.convert_to_tensor(leaf) for _, leaf in named]

    def outputs(self, values: list[tf.Tensor]) -> list[tf.Tensor]:
        """The floating outputs at `values`."""
        with self.at(values) as sources:
            return self(sources)

    def cancellation(self, cotangents: list[tf.Tensor]) -> float:
        """What rounding could make of ∑ v·outputs where these are differences of larger numbers: unknown, 0."""
        return 0.0


class Gradient:
    """The gradient of ∑ v·outputs by the points, a function of these and of v: for derivatives of second order."""

    def __init__(self, function: Function, cotangents: list[tf.Tensor]):
        self._function = function
        outputs = function.outputs(function.values)
        upstream = [tf.cast(v, y.dtype) for v, y in zip(cotangents, outputs, strict=True)]
        self._sources = len(function.points)
        self.points = list(function.points)
        for name, v in zip(function.output_names, upstream, strict=True):
            self.points.append(Point(f"cotangent of {name}", v))
        self.output_names = [f"gradient of {point.name}" for point in function.points]
        parts = zip(cotangents, outputs, strict=True)
        self._size = math.hypot(*(float(tf.norm(v * tf.cast(y, tf.float64))) for v, y in parts))

    @property
    def evaluations(self) -> int:
        """How often the function was computed."""
        return self._function.evaluations

    @property
    def values(self) -> list[tf.Tensor]:
        """The values of the points at which the check is made."""
        return [point.value for point in self.points]

    @contextlib.contextmanager
    def at(self, values: list[tf.Tensor]) -> Iterator[list]:
        """See `Function.at`."""
        with self._function.at(values[: self._sources]) as sources:
            yield [*sources, *values[self._sources :]]

    def __call__(self, sources: list) -> list[tf.Tensor]:
        """The gradients, zeros where there is none."""
        sources, upstream = sources[: self._sources], sources[self._sources :]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            outputs = self._function(sources)
        gradients = tape.gradient(outputs, sources, upstream)
        return [dense(gradient, source) for gradient, source in zip(gradients, sources, strict=True)]

    def outputs(self, values: list[tf.Tensor]) -> list[tf.Tensor]:
        """The gradients at `values`."""
        with self.at(values) as sources:
            return self(sources)

    def cancellation(self, cotangents: list[tf.Tensor]) -> float:
        """What rounding could make of ∑ v·gradients: a gradient sums up numbers of the size of outputs / points."""
        parts = [
            EPSILON[point.value.dtype] * float(tf.norm(v / scale(point.value, "floored")))
            for v, point in zip(cotangents, self._function.points, strict=True)
        ]
        return self._size * math.hypot(*parts)


def dense(gradient, source) -> tf.Tensor:
    """A gradient as a tensor like its source: None is zeros, the rows of `tf.IndexedSlices` are added up."""
    if gradient is None:
        return tf.zeros(source.shape, source.dtype)
    if isinstance(gradient, tf.IndexedSlices):
        return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, source.shape[0])
    return gradient


def _tensor(leaf, dtype: tf.DType | None) -> tf.Tensor:
    if isinstance(leaf, float):
        return tf.constant(leaf, dtype)
    return tf.identity(leaf) if dtype is None else tf.cast(leaf, dtype)


def takes_training(function) -> bool:
    """Whether a callable has a parameter `training`, or takes any keyword."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    return "training" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
