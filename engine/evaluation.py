"""The compiled loops that train nothing: evaluation and prediction."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from engine.columns import Columns
from engine.metrics import Metric
from engine.objective import Terms, call_model
from engine.precision import cast_floating
from engine.replicas import Replicas
from engine.sums import at_least_float32, masked_weights, total_penalty

# Of a prediction in one compiled call.
_BATCHES = 32
# A batch begins while the last operations of the one before it, which are small, leave cores idle. Nothing is written.
_AT_ONCE = 2


def evaluation_loop(
    model: tf.Module,
    objective: Callable[..., Terms],
    metrics: Mapping[str, Metric],
    columns: Columns,
    stop: tf.Variable,
    *,
    replicas: Replicas,
    compute_dtype: tf.DType,
) -> Callable:
    """A compiled function `(iterator, count, stoppable) -> (done, sums)` over `count` batches.

    It ends early, between two batches, when `stop` becomes True on any worker, if it is stoppable.
    """

    def replica_sums(own):
        batch, context = own.batch, replicas.context(own, 0, 0)
        batch = {**batch, "inputs": cast_floating(batch["inputs"], compute_dtype)}
        terms = at_least_float32(objective(model, batch, False))
        weights = masked_weights(terms, context)
        rows = tf.shape(terms.losses)[0] if context.valid_rows is None else context.valid_rows
        return columns.row(
            {name: metric.sums(terms.labels, terms.outputs, weights) for name, metric in metrics.items()},
            examples=rows,
            loss=tf.reduce_sum(tf.math.multiply_no_nan(terms.losses, weights)),
            weight=tf.reduce_sum(weights),
            penalty=tf.cast(total_penalty(terms.penalty), tf.float64) * tf.cast(rows, tf.float64),
        )

    @tf.function(autograph=False)
    def loop(iterator, count, stoppable):
        def stopped():
            return tf.logical_and(replicas.agreed(stop), stoppable)

        def body(done, _, total):
            total += tf.add_n(replicas.run(replica_sums, replicas.slices(next(iterator))))
            return done + 1, stopped(), total

        done, _, total = tf.while_loop(
            lambda done, stopped, _: tf.logical_and(done < count, tf.logical_not(stopped)),
            body,
            (0, stopped(), tf.zeros([columns.width], tf.float64)),
            parallel_iterations=_AT_ONCE,
        )
        return done, total

    return loop


def prediction_step(model: tf.Module, *, compute_dtype: tf.DType) -> Callable:
    """A compiled function `batch -> outputs`, in inference."""

    @tf.function(autograph=False)
    def predict(batch):
        return call_model(model, cast_floating(batch["inputs"], compute_dtype), False)

    return predict


def prediction_loop(predict: Any, spec: Any) -> Callable | None:
    """A compiled function `(iterator, count) -> outputs` of `count` batches of `spec`, one or more, side by side.

    predict: of `prediction_step`. None where outputs of two batches may differ in more than their rows.
    """
    made = predict.get_concrete_function(spec).structured_outputs
    if any(not part.shape.rank or not part.shape[1:].is_fully_defined() for part in tf.nest.flatten(made)):
        return None

    @tf.function(autograph=False)
    def loop(iterator, count):
        parts = [
            tf.TensorArray(part.dtype, count, infer_shape=False, element_shape=[None, *part.shape[1:]])
            for part in tf.nest.flatten(made)
        ]

        def body(done, *parts):
            found = tf.nest.flatten(predict(next(iterator)))
            return done + 1, *(part.write(done, value) for part, value in zip(parts, found, strict=True))

        _, *parts = tf.while_loop(lambda done, *_: done < count, body, (0, *parts), parallel_iterations=_AT_ONCE)
        return tf.nest.pack_sequence_as(made, [part.concat() for part in parts])

    return loop


def predictions(dataset: Any, batches: int, step: Callable, loop: Callable | None) -> Iterator:
    """The outputs for all batches of `dataset`, a batch at a time by `step`, or many at a time by a `loop`."""
    if loop is None:
        yield from map(step, dataset)
        return
    iterator = iter(dataset)
    for done in range(0, batches, _BATCHES):
        yield loop(iterator, tf.constant(min(_BATCHES, batches - done)))


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The rows of all arrays, in an array as wide as the widest of them, with zeros where one is narrower."""
    widths = {part.shape[1:] for part in parts}
    if len(widths) == 1:
        return np.concatenate(parts)
    rows = np.zeros((sum(map(len, parts)), *map(max, zip(*widths, strict=True))), parts[0].dtype)
    first = 0
    for part in parts:
        rows[(slice(first, first + len(part)), *map(slice, part.shape[1:]))] = part
        first += len(part)
    return rows
