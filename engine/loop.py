"""The compiled loop over an iterator: many steps in one call, Python not in it.

It is traced without AutoGraph: a model that branches on tensors uses `tf.cond`, or `@tf.function` on its own
`__call__`. That keeps tracing quick and errors one line long.
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from engine.columns import LAST, Columns
from engine.cut import Cut
from engine.metrics import Metric
from engine.names import trainable_variables
from engine.objective import Terms
from engine.replicas import Replicas
from engine.state import TrainState
from engine.step import StepValues, applied, step, sums_of_squares


def stepper(
    state: TrainState,
    objective: Callable[..., Terms],
    metrics: Mapping[str, Metric],
    columns: Columns,
    *,
    replicas: Replicas,
    cut: Cut,
    compute_dtype: tf.DType,
    norms: bool,
    in_xla: bool = False,
) -> Callable:
    """`(slices, is_last) -> (row, halted)`: one step on the replicas' slices of a batch, to be compiled into a loop.

    A step that halts has moved nothing, and is not counted in `state.step`.
    norms: records, where `is_last`, the norms of gradients, parameters and updates. in_xla: the loop is an XLA program.
    """
    variables = trainable_variables(state.model)
    if not variables:
        raise ValueError("nothing to train: every variable of the model is frozen")
    optimizer = _Densely(state.optimizer) if in_xla else state.optimizer
    hyper_parameter = getattr(state.optimizer, "value", lambda name: tf.constant(float("nan"), tf.float64))

    def replica_step(own, seed, step_number, is_last, scale, exhausted):
        values = {"learning_rate": hyper_parameter("learning_rate")}
        if norms:
            # XLA wants one shape of both branches.
            unused = sum(v.shape.num_elements() for v in variables) if in_xla else 0
            before = tf.cond(is_last, lambda: _flat(variables), lambda: tf.zeros([unused], variables[0].dtype))
        done = step(
            state.model,
            objective,
            optimizer,
            own.batch,
            variables,
            replicas.context(own, seed, step_number),
            metrics=metrics,
            compute_dtype=compute_dtype,
            cut=cut,
            scale=scale,
            average=state.average,
            in_xla=in_xla,
        )
        if norms:

            def measure():
                after = _flat(variables)
                return tf.stack([_norm(done), tf.norm(after), tf.norm(after - before)])

            found = tf.cond(is_last, measure, lambda: tf.zeros([3], variables[0].dtype))
            values |= dict(zip(LAST[2:], tf.unstack(found), strict=True))
        if scale is not None:
            values["loss_scale"] = scale
        row = columns.row(
            done.metrics,
            steps=1,
            examples=done.examples,
            loss=done.loss,
            weight=done.weight,
            penalty=done.penalty,
            empty_steps=tf.logical_not(done.weight > 0),
            **values,
        )
        row += columns.row({}, skipped_steps=tf.logical_not(done.finite))
        # Who halts is told everything.
        keep = tf.logical_or(done.finite, exhausted)
        return tf.where(keep, row, columns.left_out(row)), done.finite

    def one_step(slices, is_last):
        scaling = state.loss_scale
        scale, exhausted = (scaling.scale.read_value(), scaling.exhausted) if scaling else (None, tf.constant(True))
        arguments = (state.seed.read_value(), state.step.read_value(), is_last, scale, exhausted)
        row, finite = replicas.run(replica_step, slices, *arguments)[0]
        # A scale that can fall no further is not to blame.
        halted = tf.logical_and(tf.logical_not(finite), exhausted)
        if scaling:
            scaling.update(finite)
        state.step.assign_add(tf.cast(tf.logical_not(halted), tf.int64))
        return row, halted

    return one_step


def training_loop(
    one_step: Callable, columns: Columns, stop: tf.Variable, *, replicas: Replicas, on_trace: Callable[[], None]
) -> Callable:
    """A compiled function `(iterator, count) -> (rows [done, columns.width], stopped, halted)`: up to `count` steps.

    one_step: of `stepper`. The loop ends early, between two steps, when `stop` becomes True on any worker, and at a
    step whose loss or gradients are not finite: `halted`. That step's row is then the last, but it moved nothing.
    Where a loss scale may still fall, such a step is left out, counted, and training goes on.
    """

    @tf.function(autograph=False)
    def loop(iterator, count):
        on_trace()
        rows = tf.TensorArray(tf.float64, size=count, element_shape=[columns.width])

        def fetch():
            return replicas.slices(next(iterator))

        def body(done, _stopped, _halted, rows, ahead):
            slices, is_last = ahead or fetch(), tf.equal(done + 1, count)
            if ahead:
                # Independent of the step, hence at the same time.
                ahead = tf.cond(is_last, lambda: slices, fetch)
            row, halted = one_step(slices, is_last)
            with tf.control_dependencies([row]):
                stopped = replicas.agreed(stop)
            return done + 1, stopped, halted, rows.write(done, row), ahead

        done, stopped, halted, rows, _ = tf.while_loop(
            lambda done, stopped, halted, *_: (done < count) & ~stopped & ~halted,
            body,
            (0, replicas.agreed(stop), tf.constant(False), rows, fetch() if replicas.copies_ahead else []),
            parallel_iterations=1,
        )
        return rows.stack()[:done], stopped, halted

    return loop


class _Densely:
    """An optimizer that is given dense gradients alone: how many rows a sparse one has, XLA can't know."""

    def __init__(self, optimizer: Any):
        self._optimizer = optimizer

    def __getattr__(self, name):
        return getattr(self._optimizer, name)

    def apply(self, gradients, variables, where=None):
        dense = [g if g is None else tf.convert_to_tensor(g) for g in gradients]
        return applied(self._optimizer, dense, variables, where)


def _norm(done: StepValues) -> tf.Tensor:
    """The norm of all gradients together, from their sums of squares."""
    # A row's gradients count together, however often the row occurs.
    dense = [g if g is None else tf.convert_to_tensor(g) for g in done.gradients]
    sparse = any(isinstance(gradient, tf.IndexedSlices) for gradient in done.gradients)
    return tf.sqrt(tf.reduce_sum(sums_of_squares(dense) if sparse else done.squares))


def _flat(tensors) -> tf.Tensor:
    return tf.concat([tf.cast(tf.reshape(tensor, [-1]), tensors[0].dtype) for tensor in tensors], axis=0)
