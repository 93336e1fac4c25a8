"""One training step: sums over all slices of a batch, one division, one update. Small, public, free of any loop."""

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
    finite: whether they are (True where nobody asked).
    """

    loss: tf.Tensor
    weight: tf.Tensor
    examples: tf.Tensor
    penalty: tf.Tensor
    gradients: list
    metrics: dict[str, tf.Tensor]
    finite: Any


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
) -> StepValues:
    """One update of `variables` from one batch: total = Σ wᵢ·ℓᵢ / Σ wᵢ + penalty.

    Compile it into a loop of your own, or use it eagerly. `optimizer.init` has been called; `variables` are what is
    to be trained (`engine.trainable_variables(model)`). Floating inputs are cast to `compute_dtype`. In a replica,
    `batch` is its slice (`Replicas.slices`), and sums over all replicas are what is divided.

    cut: how the slice is cut further; one update follows from all parts.
    scale: of the loss in the backward pass, for float16; an update whose gradients are not finite is then left out,
        and nothing at all moves.
    average: moved by its `update()` after the update.

    Σ wᵢ not above 0: no update; only the optimizer's `step` advances, and with it the schedule.
    A variable that neither the loss nor the penalty reaches is a ValueError of the optimizer's, naming it.
    """
    if compute_dtype is not None:
        batch = {**batch, "inputs": cast_floating(batch["inputs"], compute_dtype)}
    moving = {} if scale is None else {v.ref(): tf.identity(v) for v in untrained_variables(model)}

    def sums_of(batch, context):
        return slice_sums(model, objective, batch, variables, context, metrics, scale)

    sums = all_reduced(cut_sums(sums_of, batch, context, cut), context)
    gradients = mean_gradients(sums, scale)
    finite = True if scale is None else all_finite([sums.loss, *gradients])

    def update():
        optimizer.apply(gradients, variables)
        if average is not None:
            average.update()
        return tf.constant(True)

    def skip():
        if hasattr(optimizer, "step"):
            optimizer.step.assign_add(tf.cast(finite, optimizer.step.dtype))
        return tf.constant(False)

    tf.cond(tf.logical_and(sums.weight > 0, finite), update, skip)
    if moving:

        def put_back():
            for reference, before in moving.items():
                reference.deref().assign(before)
            return tf.constant(True)

        tf.cond(finite, lambda: tf.constant(False), put_back)
    penalty = tf.where(sums.weight > 0, sums.penalty, tf.zeros_like(sums.penalty))
    return StepValues(sums.loss, sums.weight, sums.examples, penalty, gradients, sums.metrics, finite)


def all_finite(gradients: Sequence) -> tf.Tensor:
    """Whether every value is finite; None counts as such."""
    values = [getattr(gradient, "values", gradient) for gradient in gradients if gradient is not None]
    return tf.reduce_all(tf.stack([tf.reduce_all(tf.math.is_finite(value)) for value in values]))
