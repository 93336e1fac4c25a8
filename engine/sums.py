"""Sums over a slice of a batch: what replicas and micro-batches contribute, before anything is divided."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from engine.context import StepContext
from engine.metrics import Metric
from engine.objective import Terms


class SliceSums(NamedTuple):
    """What a slice of a batch contributes to an update. Slices are added up; only then is anything divided.

    loss: Σ wᵢ·ℓᵢ; weight: Σ wᵢ; examples: rows that are no padding; gradients: of `loss`, by variable (None: not
    reached); penalty and penalty_gradients: of the slice's penalty, times its examples; metrics: float64 sums by name.
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
    scale: tf.Tensor | None = None,
) -> SliceSums:
    """Forward and backward over one slice of a batch.

    The gradient is that of the sum, not of a mean. Padding rows (`context.valid_rows`) weigh 0. A penalty counts as
    often as the slice has examples, and is divided by those of the whole batch later: so each slice has its share.
    Losses of less than 32 bits are summed in float32. With `scale` the gradients, and they alone, are that much larger.
    """
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(variables)
        terms = at_least_float32(objective(model, batch, context))
        weights = masked_weights(terms, context)
        loss = tf.reduce_sum(tf.math.multiply_no_nan(terms.losses, weights))
        penalty = total_penalty(terms.penalty)
    seed = None if scale is None else tf.cast(scale, loss.dtype)
    gradients = _shaped(tape.gradient(loss, variables, seed), variables)
    rows = tf.shape(terms.losses, tf.int64)[0] if context.valid_rows is None else tf.cast(context.valid_rows, tf.int64)
    penalty_gradients = [None] * len(variables)
    if tf.is_tensor(penalty):
        # A second backward pass, but only for those who have a penalty; one over weights touches nothing else.
        share = tf.cast(rows, penalty.dtype)
        seed = share if scale is None else share * tf.cast(scale, penalty.dtype)
        penalty_gradients = _shaped(tape.gradient(penalty, variables, seed), variables)
    return SliceSums(
        loss,
        tf.reduce_sum(weights),
        rows,
        gradients,
        tf.cast(penalty, loss.dtype) * tf.cast(rows, loss.dtype),
        penalty_gradients,
        {name: metric.sums(terms.labels, terms.outputs, weights) for name, metric in (metrics or {}).items()},
    )


def _shaped(gradients: list, variables: Sequence[tf.Variable]) -> list:
    """Dense gradients with the static shape of their variable, which some operations lose (a matmul of rank 3)."""
    return [
        gradient if gradient is None or _sparse(gradient) else tf.ensure_shape(gradient, variable.shape)
        for gradient, variable in zip(gradients, variables, strict=True)
    ]


def _sparse(gradient: Any) -> bool:
    return isinstance(gradient, tf.IndexedSlices)


def at_least_float32(terms: Terms) -> Terms:
    """Terms whose losses, weights and penalties can be added up."""

    def wide(value):
        narrow = tf.is_tensor(value) and value.dtype.is_floating and value.dtype.size < 4
        return tf.cast(value, tf.float32) if narrow else value

    losses = wide(terms.losses)
    penalty = tf.nest.map_structure(wide, terms.penalty)
    return terms._replace(losses=losses, weights=tf.cast(terms.weights, losses.dtype), penalty=penalty)


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


def added(sums: SliceSums, more: SliceSums) -> SliceSums:
    """The sums over two slices together. Rows' gradients (`tf.IndexedSlices`) follow one another."""
    return SliceSums(
        sums.loss + more.loss,
        sums.weight + more.weight,
        sums.examples + more.examples,
        [_added(*pair) for pair in zip(sums.gradients, more.gradients, strict=True)],
        sums.penalty + more.penalty,
        [_added(*pair) for pair in zip(sums.penalty_gradients, more.penalty_gradients, strict=True)],
        {name: value + more.metrics[name] for name, value in sums.metrics.items()},
    )


def _added(gradient, more):
    if gradient is None:
        return None
    if _sparse(gradient):
        values = tf.concat([gradient.values, more.values], 0)
        return tf.IndexedSlices(values, tf.concat([gradient.indices, more.indices], 0), gradient.dense_shape)
    return gradient + more


def all_reduced(sums: SliceSums, context: StepContext) -> SliceSums:
    """The sums over all replicas, in one collective for the numbers and one for the dense gradients of a dtype."""
    if context.replicas == 1:
        return sums
    numbers = [sums.loss, sums.weight, sums.examples, sums.penalty, *sums.metrics.values()]
    total = context.all_reduce(tf.concat([tf.reshape(tf.cast(n, tf.float64), [-1]) for n in numbers], 0))
    parts = tf.split(total, [n.shape.num_elements() for n in numbers])
    loss, weight, examples, penalty, *metrics = (
        tf.cast(tf.reshape(part, n.shape), n.dtype) for part, n in zip(parts, numbers, strict=True)
    )
    gradients = _all_reduced([*sums.gradients, *sums.penalty_gradients], context)
    half = len(sums.gradients)
    names = dict(zip(sums.metrics, metrics, strict=True))
    return SliceSums(loss, weight, examples, gradients[:half], penalty, gradients[half:], names)


def _all_reduced(gradients: list, context: StepContext) -> list:
    result = [context.all_reduce(g) if _sparse(g) else g for g in gradients]
    dense = [n for n, g in enumerate(gradients) if g is not None and not _sparse(g)]
    for dtype in dict.fromkeys(gradients[n].dtype for n in dense):
        same = [n for n in dense if gradients[n].dtype == dtype]
        flat = context.all_reduce(tf.concat([tf.reshape(gradients[n], [-1]) for n in same], 0))
        parts = tf.split(flat, [gradients[n].shape.num_elements() for n in same])
        for n, part in zip(same, parts, strict=True):
            result[n] = tf.reshape(part, gradients[n].shape)
    return result
