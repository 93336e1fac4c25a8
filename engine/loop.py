"""The compiled loops: many steps in one call, Python not in it.

They are traced without AutoGraph: a model that branches on tensors uses `tf.cond`, or `@tf.function` on its own
`__call__`. That keeps tracing quick and errors one line long.
"""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from engine.cut import Cut
from engine.metrics import Metric
from engine.names import trainable_variables
from engine.objective import Terms, call_model
from engine.precision import cast_floating
from engine.replicas import Replicas
from engine.state import TrainState
from engine.step import StepValues, step, sums_of_squares
from engine.sums import at_least_float32, masked_weights, total_penalty

_SUMS = ("steps", "examples", "loss", "weight", "penalty", "empty_steps", "skipped_steps")
_LAST = ("learning_rate", "loss_scale", "gradient_norm", "parameter_norm", "update_norm")


class Columns:
    """Where each number stands in the float64 row that a step leaves behind.

    The first are sums, which add up over steps; after them come the values of the last step. One row a step keeps
    the loop's bookkeeping to one write, and every per-step value is there afterwards. Counts are exact to 2⁵³.
    """

    def __init__(self, metrics: Mapping[str, Metric]):
        self.metrics = dict(metrics)
        self._at, start = {}, 0
        for name in self.metrics:
            if name in (*_SUMS, *_LAST, "data_loss", "split", "step", "epoch"):
                raise ValueError(f"a metric can't be called {name!r}: the engine records that itself")
        for name, size in [(n, 1) for n in _SUMS] + [(n, int(np.prod(m.shape))) for n, m in self.metrics.items()]:
            self._at[name] = slice(start, start + size)
            start += size
        self._sums = start
        for name in _LAST:
            self._at[name] = slice(start, start + 1)
            start += 1
        self.width = start

    def row(self, metrics: Mapping[str, tf.Tensor], **values) -> tf.Tensor:
        """The row [width] of one step or batch; what is not given is 0."""
        values = {**values, **metrics}
        parts = [
            tf.reshape(tf.cast(values[name], tf.float64), [-1])
            if name in values
            else tf.zeros([at.stop - at.start], tf.float64)
            for name, at in self._at.items()
        ]
        return tf.concat(parts, axis=0)

    def left_out(self, row: tf.Tensor) -> tf.Tensor:
        """The row of a step that was left out: its loss is as good as any, unless it was what overflowed."""
        bare = tf.concat([tf.zeros([self._sums], tf.float64), row[self._sums :]], 0)
        bare += self.row({}, steps=1, skipped_steps=1)
        return tf.where(tf.reduce_all(tf.math.is_finite(row[: self._sums])), row, bare)

    def add(self, sums: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """`sums` after the steps of `rows`: sums added up, last values replaced.

        One step after the other, so that the bits do not depend on where calls of the loop were cut.
        """
        every = np.concatenate([sums[np.newaxis, : self._sums], rows[:, : self._sums]])
        return np.concatenate([np.add.accumulate(every)[-1], rows[-1, self._sums :]])

    def get(self, row: np.ndarray, name: str) -> float:
        """One number of a row."""
        return float(row[self._at[name]][0])

    def total(self, rows: np.ndarray, name: str) -> float:
        """One number summed over rows."""
        return float(rows[:, self._at[name]].sum())

    def values(self, row: np.ndarray) -> dict[str, float]:
        """What a row of sums means: loss, data_loss and the metrics.

        data_loss = Σwℓ/Σw (0 where nothing weighs); loss adds the penalty, its mean over the examples.
        """
        weight, examples = self.get(row, "weight"), self.get(row, "examples")
        data_loss = self.get(row, "loss") / weight if weight else 0.0
        penalty = self.get(row, "penalty") / examples if examples else 0.0
        sums = self.metric_sums(row)
        results = {name: metric.result(sums[name]) for name, metric in self.metrics.items()}
        return {"loss": data_loss + penalty, "data_loss": data_loss, **results}

    def metric_sums(self, row: np.ndarray) -> dict[str, np.ndarray]:
        """The metrics' sums in a row, each in its metric's shape."""
        return {name: row[self._at[name]].reshape(metric.shape) for name, metric in self.metrics.items()}

    def last_values(self, row: np.ndarray) -> dict[str, float]:
        """The norms of the last step, where they were asked for."""
        return {name: self.get(row, name) for name in _LAST[2:]}


def training_loop(
    state: TrainState,
    objective: Callable[..., Terms],
    metrics: Mapping[str, Metric],
    columns: Columns,
    stop: tf.Variable,
    *,
    replicas: Replicas,
    cut: Cut,
    compute_dtype: tf.DType,
    norms: bool,
    on_trace: Callable[[], None],
) -> Callable:
    """A compiled function `(iterator, count) -> (rows [done, columns.width], stopped, halted)`: up to `count` steps.

    It ends early, between two steps, when `stop` becomes True on any worker, and at a step whose loss or gradients are
    not finite: `halted`. That step's row is then the last, but it moved nothing, and is not counted in `state.step`.
    Where a loss scale may still fall, such a step is left out, counted, and training goes on.
    `norms` records, for the last step of a call, the norms of gradients, parameters and updates.
    """
    variables = trainable_variables(state.model)
    if not variables:
        raise ValueError("nothing to train: every variable of the model is frozen")
    hyper_parameter = getattr(state.optimizer, "value", lambda name: tf.constant(float("nan"), tf.float64))

    def replica_step(own, seed, step_number, is_last, scale, exhausted):
        values = {"learning_rate": hyper_parameter("learning_rate")}
        if norms:
            before = tf.cond(is_last, lambda: _flat(variables), lambda: tf.zeros([0], variables[0].dtype))
        done = step(
            state.model,
            objective,
            state.optimizer,
            own.batch,
            variables,
            replicas.context(own, seed, step_number),
            metrics=metrics,
            compute_dtype=compute_dtype,
            cut=cut,
            scale=scale,
            average=state.average,
        )
        if norms:

            def measure():
                after = _flat(variables)
                return tf.stack([_norm(done), tf.norm(after), tf.norm(after - before)])

            found = tf.cond(is_last, measure, lambda: tf.zeros([3], variables[0].dtype))
            values |= dict(zip(_LAST[2:], tf.unstack(found), strict=True))
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


def _norm(done: StepValues) -> tf.Tensor:
    """The norm of all gradients together, from their sums of squares."""
    # A row's gradients count together, however often the row occurs.
    dense = [g if g is None else tf.convert_to_tensor(g) for g in done.gradients]
    sparse = any(isinstance(gradient, tf.IndexedSlices) for gradient in done.gradients)
    return tf.sqrt(tf.reduce_sum(sums_of_squares(dense) if sparse else done.squares))


def _flat(tensors) -> tf.Tensor:
    return tf.concat([tf.cast(tf.reshape(tensor, [-1]), tensors[0].dtype) for tensor in tensors], axis=0)


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
            with tf.control_dependencies([total]):
                return done + 1, stopped(), total

        done, _, total = tf.while_loop(
            lambda done, stopped, _: tf.logical_and(done < count, tf.logical_not(stopped)),
            body,
            (0, stopped(), tf.zeros([columns.width], tf.float64)),
            parallel_iterations=1,
        )
        return done, total

    return loop


def prediction_step(model: tf.Module, *, compute_dtype: tf.DType) -> Callable:
    """A compiled function `batch -> outputs`, in inference."""

    @tf.function(autograph=False)
    def predict(batch):
        return call_model(model, cast_floating(batch["inputs"], compute_dtype), False)

    return predict
