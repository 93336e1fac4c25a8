"""Numbers that are not finite: who made them, and what becomes of the step.

The compiled step says that a loss or a gradient is not finite, and moves nothing. What follows happens between loops:
the batch is computed once more, eagerly, and the first layer that turned finite numbers into others is named.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from engine.context import StepContext
from engine.names import module_paths, trainable_variables, untrained_variables, variable_paths
from engine.precision import cast_floating
from engine.sums import at_least_float32, masked_weights, slice_sums, total_penalty

POLICIES = ("raise", "skip", "rollback")


@dataclasses.dataclass
class NonFiniteReport:
    """What is known of a step that was not finite.

    step: its number; epoch, index: where its batch stands, both from 0; loss: as the compiled step had it.
    where: the layer, forward or backward, the loss, a variable or the batch, in words; None where a second, eager
    computation met finite numbers only.
    values: lines on what is not finite: name, how many NaN and Inf, and the range of the rest.
    folder: where batch and state were saved, if they were.
    """

    step: int
    epoch: int
    index: int
    loss: float
    where: str | None = None
    values: tuple[str, ...] = ()
    folder: Path | None = None

    def __str__(self) -> str:
        where = self.where or "nowhere in a second computation, eagerly and in one piece"
        first = f"step {self.step} is not finite: loss {self.loss:g}; {where}"
        lines = [first, *(f"  {line}" for line in self.values)]
        if self.folder:
            lines.append(f"  batch and state: {self.folder}; to look again: python train.py --replay={self.folder}")
        return "\n".join(lines)


class NonFinite(ArithmeticError):
    """A step whose loss or gradients are not finite. `report` says where; `history` is that of the fit so far."""

    def __init__(self, report: NonFiniteReport, history: Any = None):
        super().__init__(str(report))
        self.report, self.history = report, history


def counts(name: str, value: Any) -> str | None:
    """A line on a tensor that is not finite: how many NaN and Inf, and the range of the rest; None if all is well."""
    value = tf.convert_to_tensor(getattr(value, "values", value))
    if not value.dtype.is_floating:
        return None
    array = tf.cast(value, tf.float64).numpy()
    finite = np.isfinite(array)
    if finite.all():
        return None
    rest = f"the rest from {array[finite].min():.4g} to {array[finite].max():.4g}" if finite.any() else "no other"
    return f"{name}: {np.isnan(array).sum()} NaN, {np.isinf(array).sum()} Inf of {array.size}, {rest}"


def overflowed(model: tf.Module) -> tuple[str, ...]:
    """A line on each variable of a model that is not finite."""
    lines = []
    for path, variable in variable_paths(model).items():
        if variable.dtype.is_floating and not _finite(variable.read_value()):
            lines.append(counts(f"variable {path}", variable))
    return tuple(lines)


def _finite(value: tf.Tensor) -> bool:
    # The sum of squares is one pass without a temporary; if it overflows, it says nothing.
    return bool(tf.math.is_finite(tf.nn.l2_loss(value))) or bool(tf.reduce_all(tf.math.is_finite(value)))


@contextlib.contextmanager
def checked_numerics() -> Iterator[None]:
    """Within it every op that is run or traced stops where it makes a NaN or an infinity, also in later calls."""
    tf.debugging.enable_check_numerics()
    try:
        yield
    finally:
        tf.debugging.disable_check_numerics()


def first_op(
    model: tf.Module,
    objective: Callable,
    batch: Mapping[str, Any],
    *,
    seed: int,
    step: int,
    compute_dtype: tf.DType | None = None,
    scale: float | None = None,
) -> str | None:
    """The first op of a step, computed eagerly and in one piece, that makes a NaN or an infinity; None if none does."""
    batch = _cast(batch, compute_dtype)
    factor = None if scale is None else tf.constant(scale)
    try:
        with _unmoved(model), checked_numerics():
            slice_sums(model, objective, batch, trainable_variables(model), StepContext(seed, step), None, factor)
    except tf.errors.InvalidArgumentError as error:
        if (found := detected(error)) is None:
            raise
        return found
    return None


def _cast(batch: Mapping[str, Any], dtype: tf.DType | None) -> Mapping[str, Any]:
    return batch if dtype is None else {**batch, "inputs": cast_floating(batch["inputs"], dtype)}


@contextlib.contextmanager
def _unmoved(model: tf.Module) -> Iterator[None]:
    """After it moving statistics are what they were before."""
    moving = [(variable, tf.identity(variable)) for variable in untrained_variables(model)]
    try:
        yield
    finally:
        for variable, before in moving:
            variable.assign(before)


def detected(error: tf.errors.InvalidArgumentError) -> str | None:
    """What `checked_numerics` found, in a line: the op, its counts, and where it was made; None for another error."""
    lines = [line.strip() for line in error.message.splitlines()]
    found = [line.strip("! ") for line in lines if line.startswith("!!! Detected")]
    if not found:
        return None
    found += [line for line in lines if line.startswith("# of ")]
    # The stack of a traced op ends in TensorFlow's own files.
    made = [line[2:] for line in lines if line.startswith("+ ") and "tensorflow/python" not in line]
    return ", ".join([*found, *(f"made in {line}" for line in made[-1:])])


class _Call:
    """One call of a module: what went in and came out, and whose variables it has."""

    def __init__(self, path: str, module: tf.Module, inputs: list, outputs: list):
        self.path, self.module, self.inputs, self.outputs = path, module, inputs, outputs

    def __str__(self) -> str:
        return f"{self.path} {self.module!r}" if self.path else f"the model {type(self.module).__name__}"


@contextlib.contextmanager
def _recorded(model: tf.Module, tape: tf.GradientTape) -> Iterator[list[_Call]]:
    """Within it every call of a module below `model` is recorded, in the order in which calls end."""
    paths, calls = {id(module): path for path, module in module_paths(model).items()}, []

    def recording(call: Callable) -> Callable:
        # A model's signature says whether it takes `training`.
        @functools.wraps(call)
        def wrapped(self, *args, **kwargs):
            outputs = call(self, *args, **kwargs)
            if id(self) in paths:
                calls.append(_Call(paths[id(self)], self, _floating((args, kwargs)), _floating(outputs)))
            return outputs

        return wrapped

    # Python looks `__call__` up in the class.
    kinds = {kind for module in module_paths(model).values() for kind in type(module).__mro__}
    own = {kind: vars(kind)["__call__"] for kind in kinds if "__call__" in vars(kind) and kind is not object}
    try:
        for kind, call in own.items():
            kind.__call__ = recording(call)  # type: ignore[method-assign]
        yield calls
    finally:
        for kind, call in own.items():
            kind.__call__ = call  # type: ignore[method-assign]


def _floating(nest: Any) -> list:
    return [leaf for leaf in tf.nest.flatten(nest) if tf.is_tensor(leaf) and leaf.dtype.is_floating]


def diagnose(
    model: tf.Module,
    objective: Callable,
    batch: Mapping[str, Any],
    *,
    seed: int,
    step: int,
    compute_dtype: tf.DType | None = None,
    scale: float | None = None,
) -> tuple[str | None, tuple[str, ...]]:
    """Where a step first goes wrong, in words, and lines on what is not finite.

    The step is computed eagerly, in one piece, with the draws of (seed, step): forward, then backward. The model is
    afterwards as it was before. step: updates done before this one.
    """
    if found := overflowed(model):
        return "a variable was not finite before it: an update overflowed", found
    lines = [counts(f"batch[{name!r}]", value) for name, value in batch.items() if tf.is_tensor(value)]
    if any(lines):
        return "the batch is not finite", tuple(filter(None, lines))
    with _unmoved(model):
        return _computed(model, objective, batch, StepContext(seed, step), compute_dtype, scale)


def _computed(model, objective, batch, context, compute_dtype, scale):
    variables = trainable_variables(model)
    paths = {variable.ref(): path for path, variable in variable_paths(model).items()}
    batch = _cast(batch, compute_dtype)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(variables)
        tape.watch(_floating(batch["inputs"]))
        with _recorded(model, tape) as calls:
            terms = at_least_float32(objective(model, batch, context))
        weights = masked_weights(terms, context)
        loss = tf.reduce_sum(tf.math.multiply_no_nan(terms.losses, weights))
        penalty = total_penalty(terms.penalty)
        total = loss + tf.cast(penalty, loss.dtype)
        total = total if scale is None else total * tf.cast(scale, loss.dtype)
    for call in calls:
        lines = [counts(f"output of {call}", output) for output in call.outputs]
        if any(lines):
            return f"forward, in {call}", tuple(filter(None, lines))
    parts = {"the losses": terms.losses, "the weights": weights, "the penalty": penalty, "the sum Σwℓ": loss}
    for name, value in parts.items():
        if line := counts(name, value):
            return f"forward, in {name}", (line,)
    leaves = [call for call in calls if not any(_within(other, call) for other in calls)]
    gradients = tape.gradient(total, {
        "variables": variables,
        "calls": [(call.outputs, call.inputs, list(call.module.trainable_variables)) for call in leaves],
    })  # fmt: skip
    named = zip(variables, gradients["variables"], strict=True)
    lines = tuple(filter(None, (counts(f"gradient of {paths[v.ref()]}", g) for v, g in named if g is not None)))
    for call, (above, below, own) in reversed([*zip(leaves, gradients["calls"], strict=True)]):
        if any(counts("", g) for g in above if g is not None):
            return f"backward, after {call}: what comes to its output is not finite", lines
        if any(counts("", g) for g in (*below, *own) if g is not None):
            return f"backward, in {call}", lines
    return (f"backward, outside the layers of {type(model).__name__}" if lines else None), lines


def _within(inner: _Call, outer: _Call) -> bool:
    return inner is not outer and (not outer.path or inner.path.startswith(outer.path + "."))
