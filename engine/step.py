"""One training step: sums over all slices of a batch, one division, one update. Small, public, free of any loop."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from engine.context import StepContext
from engine.cut import WHOLE, Cut, cut_sums
from engine.metrics import Metric
from engine.names import untrained_variables
from engine.objective import Terms
from engine.precision import cast_floating
from engine.sums import SliceSums, all_reduced, slice_sums


def mean_gradients(sums: SliceSums, scale: tf.Tensor | None = None) -> list:
    """∇(Σwℓ/Σw + penalty), from sums over the whole batch. Where Σw = 0 the mean loss has gradient 0.

    scale: the gradients' scale, taken out again.
    """
    gradients = []
    for gradient, penalty in zip(sums.gradients, sums.penalty_gradients, strict=True):
        parts = [
            _divided(part, total, scale)
            for part, total in ((gradient, sums.weight), (penalty, sums.examples))
            if part is not None
        ]
        if len(parts) == 2:
            parts = [tf.convert_to_tensor(parts[0]) + tf.convert_to_tensor(parts[1])]
        gradients.append(parts[0] if parts else None)
    return gradients


def _divided(gradient: tf.Tensor | tf.IndexedSlices, total: tf.Tensor, scale: tf.Tensor | None) -> Any:
    factor = tf.math.reciprocal_no_nan(tf.cast(total, gradient.dtype))
    if scale is not None:
        factor /= tf.cast(scale, gradient.dtype)
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values * factor, gradient.indices, gradient.dense_shape)
    return gradient * factor


class StepValues(NamedTuple):
    """What a step says of itself. loss and weight are sums over the batch, as are the metrics.

    penalty: times the examples, 0 where nothing weighs; gradients: those of the update, divided, by variable;
    squares: the sum of squares of each gradient (of rows: of each entry), 0 for None; finite: whether the loss and all
    of these are, or nothing weighs.
    """

    loss: tf.Tensor
    weight: tf.Tensor
    examples: tf.Tensor
    penalty: tf.Tensor
    gradients: list
    metrics: dict[str, tf.Tensor]
    squares: tf.Tensor
    finite: tf.Tensor


def step(
    model: tf.Module,
    objective: Callable[..., Terms],
    optimizer: Any,
    batch: Mapping[str, Any],
    variables: Sequence[tf.Variable],
    context: StepContext,
    *,
    metrics: Mapping[str, Metric] | None = None,
    compute_dtype: tf.DType | None = None,
    cut: Cut = WHOLE,
    scale: tf.Tensor | None = None,
    average: Any = None,
    in_xla: bool = False,
) -> StepValues:
    """One update of `variables` from one batch: total = Σ wᵢ·ℓᵢ / Σ wᵢ + penalty.

    Compile it into a loop of your own, or use it eagerly. `optimizer.init` has been called; `variables` are what is
    to be trained (`engine.trainable_variables(model)`). Floating inputs are cast to `compute_dtype`. In a replica,
    `batch` is its slice (`Replicas.slices`), and sums over all replicas are what is divided.

    cut: how the slice is cut further; one update follows from all parts.
    scale: of the loss in the backward pass, for float16.
    average: moved by its `update()` after the update.
    in_xla: the step is part of an XLA program. The same results, without a branch: XLA copies what a branch may write,
        while a choice between new values and old ones costs nothing.

    Σ wᵢ not above 0: no update; only the optimizer's `step` advances, and with it the schedule. Moving statistics stay.
    A loss, a sum of weights or a gradient that is not finite (nor is one whose sum of squares leaves its dtype):
    nothing at all moves, moving statistics included. That costs one pass over the gradients, and works under XLA.
    A variable that neither the loss nor the penalty reaches is a ValueError of the optimizer's, naming it.
    """
    if compute_dtype is not None:
        batch = {**batch, "inputs": cast_floating(batch["inputs"], compute_dtype)}
    moving = [(variable, tf.identity(variable)) for variable in untrained_variables(model)]
    updated = [*variables, *getattr(optimizer, "variables", ()), *getattr(average, "variables", ())]

    def sums_of(batch, context):
        return slice_sums(model, objective, batch, variables, context, metrics, scale)

    sums = all_reduced(cut_sums(sums_of, batch, context, cut), context)
    gradients = mean_gradients(sums, scale)
    squares = sums_of_squares(gradients, in_xla)
    numbers = [tf.cast(number, squares.dtype) for number in (sums.loss, sums.penalty, sums.weight)]
    all_finite = tf.reduce_all(tf.math.is_finite(tf.concat([squares, numbers], 0)))
    # A sum of weights that is NaN is neither above 0 nor nothing.
    finite = tf.logical_or(all_finite, sums.weight <= 0)

    moves = tf.logical_and(sums.weight > 0, finite)

    def update(where=None):
        chosen = applied(optimizer, gradients, variables, where)
        if average is not None:
            average.update()
        return chosen

    def skip():
        if hasattr(optimizer, "step"):
            optimizer.step.assign_add(tf.cast(finite, optimizer.step.dtype))
        for variable, before in moving:
            variable.assign(before)

    if in_xla:
        _select(moves, update, skip, [*updated, *(variable for variable, _ in moving)])
    else:
        tf.cond(moves, lambda: _done(update), lambda: _done(skip))
    penalty = tf.where(sums.weight > 0, sums.penalty, tf.zeros_like(sums.penalty))
    return StepValues(sums.loss, sums.weight, sums.examples, penalty, gradients, sums.metrics, squares, finite)


def _done(action: Callable) -> tf.Tensor:
    action()
    return tf.constant(True)


def applied(optimizer: Any, gradients: Sequence, variables: Sequence[tf.Variable], where: tf.Tensor | None) -> list:
    """Applies the optimizer; returns those of its variables that stay as they are if `where` is False.

    An optimizer may take `where`, a scalar bool, and return such, as those of `optim` do; of another's there are none.
    See `_select`.
    """
    if where is None or "where" not in inspect.signature(optimizer.apply).parameters:
        optimizer.apply(gradients, variables)
        return []
    return optimizer.apply(gradients, variables, where=where) or []


def _select(condition: tf.Tensor, update: Callable, skip: Callable, variables: Sequence[tf.Variable]) -> None:
    """`tf.cond(condition, update, skip)`, which both may write `variables` alone, without a branch.

    Variables that `update(condition)` returns stay as they are if the condition is False, and `skip` leaves them alone.
    Where the new value of a slot and the chosen one are two, XLA computes other variables from the former, and for that
    copies the old value of the slot before it writes the latter.
    """
    own = list({id(variable): variable for variable in variables}.values())
    before = [variable.read_value() for variable in own]
    chosen = {id(variable) for variable in update(condition)}
    pairs = [(variable, value) for variable, value in zip(own, before, strict=True) if id(variable) not in chosen]
    after = [variable.read_value() for variable, _ in pairs]
    for variable, value in pairs:
        variable.assign(value)
    skip()
    for (variable, _), value in zip(pairs, after, strict=True):
        variable.assign(tf.where(condition, value, variable))


def sums_of_squares(gradients: Sequence, in_xla: bool = False) -> tf.Tensor:
    """Σg² of each gradient, `[gradients]`: not finite where the gradient is not. None counts as 0."""
    values = [getattr(gradient, "values", gradient) for gradient in gradients]
    dtype = next((value.dtype for value in values if value is not None), tf.float32)
    sum_of = _sum_of_squares if in_xla else lambda value: 2 * tf.nn.l2_loss(value)
    return tf.stack([tf.zeros([], dtype) if v is None else sum_of(tf.cast(v, dtype)) for v in values])


def _sum_of_squares(value: tf.Tensor) -> tf.Tensor:
    # XLA adds one number after the other, and is many times faster as a product.
    if value.shape.rank < 2:
        return tf.reduce_sum(tf.square(value))
    rows = tf.reshape(value, [-1, value.shape[-1]])
    return tf.reduce_sum(tf.matmul(tf.square(rows), tf.ones([value.shape[-1], 1], value.dtype)))
