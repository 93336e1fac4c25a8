"""One training step: sums over a slice, one division, one update. Small, public, and free of any loop."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from engine.context import StepContext
from engine.metrics import Metric
from engine.objective import Terms
from engine.precision import cast_floating


class SliceSums(NamedTuple):
    """What a slice of a batch contributes to an update. Slices are added up; only then is anything divided.

    loss: Σ wᵢ·ℓᵢ; weight: Σ wᵢ; examples: rows that are no padding; gradients: of `loss`, by variable (None: not
    reached); penalty and penalty_gradients: of the slice's penalty; metrics: float64 sums by name.
    """

    loss: tf.Tensor
    weight: tf.Tensor
    examples: tf.Tensor
    gradients: list
    penalty: tf.Tensor
    penalty_gradients: list
    metrics: dict[str, tf.Tensor]


def slice_sums(
    model: tf.Module,
    objective: Callable[..., Terms],
    batch: Mapping[str, Any],
    variables: Sequence[tf.Variable],
    context: StepContext,
    metrics: Mapping[str, Metric] | None = None,
) -> SliceSums:
    """Forward and backward over one slice of a batch.

    The gradient is that of the sum, not of a mean. Padding rows (`context.valid_rows`) weigh 0.
    """
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(variables)
        terms = objective(model, batch, context)
        weights = masked_weights(terms, context)
        loss = tf.reduce_sum(tf.math.multiply_no_nan(terms.losses, weights))
        penalty = total_penalty(terms.penalty)
    gradients = tape.gradient(loss, variables)
    # A second backward pass, but only for those who have a penalty; one over weights touches nothing else.
    penalty_gradients = tape.gradient(penalty, variables) if tf.is_tensor(penalty) else [None] * len(variables)
    rows = tf.shape(terms.losses, tf.int64)[0]
    return SliceSums(
        loss,
        tf.reduce_sum(weights),
        rows if context.valid_rows is None else tf.cast(context.valid_rows, tf.int64),
        gradients,
        tf.cast(penalty, loss.dtype),
        penalty_gradients,
        {name: metric.sums(terms.labels, terms.outputs, weights) for name, metric in (metrics or {}).items()},
    )


def masked_weights(terms: Terms, context: StepContext | None) -> tf.Tensor:
    """The weights, 0 on padding rows."""
    if terms.losses.shape.rank == 0 or not terms.losses.shape.is_compatible_with(terms.weights.shape):
        raise ValueError(
            "losses and weights must both be [batch] or [batch, time], "
            f"got {terms.losses.shape} and {terms.weights.shape}"
        )
    mask = context.mask(tf.shape(terms.losses)[0]) if context else None
    if mask is None:
        return terms.weights
    mask = tf.reshape(mask, [-1] + [1] * (terms.losses.shape.rank - 1))
    return tf.where(mask, terms.weights, tf.zeros_like(terms.weights))


def total_penalty(penalty: Any) -> Any:
    """The sum of the penalties, named or not."""
    return sum(penalty.values()) if isinstance(penalty, Mapping) else penalty


def mean_gradients(sums: SliceSums, variables: Sequence[tf.Variable]) -> list:
    """∇(Σwℓ/Σw + penalty), from sums over the whole batch. Where Σw = 0 the mean loss has gradient 0."""
    gradients = []
    for gradient, penalty, variable in zip(sums.gradients, sums.penalty_gradients, variables, strict=True):
        if gradient is not None:
            weight = tf.cast(sums.weight, variable.dtype)
            gradient = _scaled(gradient, tf.math.reciprocal_no_nan(weight))
        if penalty is not None:
            gradient = penalty if gradient is None else tf.convert_to_tensor(gradient) + tf.convert_to_tensor(penalty)
        gradients.append(gradient)
    return gradients


def _scaled(gradient: tf.Tensor | tf.IndexedSlices, factor: tf.Tensor) -> tf.Tensor | tf.IndexedSlices:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values * factor, gradient.indices, gradient.dense_shape)
    return gradient * factor


class StepValues(NamedTuple):
    """What a step says of itself. loss and weight are sums over the batch, as are the metrics.

    gradients: those of the update, divided, by variable.
    """

    loss: tf.Tensor
    weight: tf.Tensor
    examples: tf.Tensor
    penalty: tf.Tensor
    gradients: list
    metrics: dict[str, tf.Tensor]


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
) -> StepValues:
    """One update of `variables` from one batch: total = Σ wᵢ·ℓᵢ / Σ wᵢ + penalty.

    Compile it into a loop of your own, or use it eagerly. `optimizer.init` has been called; `variables` are what is
    to be trained (`engine.trainable_variables(model)`). Floating inputs are cast to `compute_dtype`.

    Σ wᵢ = 0: no update; only the optimizer's `step` advances, and with it the schedule.
    A variable that neither the loss nor the penalty reaches is a ValueError of the optimizer's, naming it.
    """
    if compute_dtype is not None:
        batch = {**batch, "inputs": cast_floating(batch["inputs"], compute_dtype)}
    sums = slice_sums(model, objective, batch, variables, context, metrics)
    gradients = mean_gradients(sums, variables)

    def update():
        optimizer.apply(gradients, variables)
        return tf.constant(True)

    def skip():
        if hasattr(optimizer, "step"):
            optimizer.step.assign_add(1)
        return tf.constant(False)

    tf.cond(sums.weight > 0, update, skip)
    return StepValues(sums.loss, sums.weight, sums.examples, sums.penalty, gradients, sums.metrics)
