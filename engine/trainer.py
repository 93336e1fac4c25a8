"""The outer loop: positions, boundaries, hooks. The inner one is compiled, in `engine.loop`."""

import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import absl.logging
import numpy as np
import tensorflow as tf

from engine import losses
from engine import precision as precisions
from engine.history import History
from engine.hooks.hook import Hook
from engine.loop import Columns, evaluation_loop, prediction_step, training_loop
from engine.metrics import Metric
from engine.names import trainable_variables, variable_paths
from engine.objective import Supervised, Terms
from engine.run import Run
from engine.signals import stop_on_signals
from engine.state import TrainState


class Trainer:
    """Trains, evaluates and applies a model.

    model: any `tf.Module` that maps inputs to outputs, `model(inputs, training=…)`.
    objective: maps (model, batch, training) to `Terms`; or a per-example loss, a function or its name, which is
        wrapped in `Supervised`.
    optimizer: a `tf.Module` with `init(variables)` and `apply(gradients, variables)`, such as those of `optim`.
    metrics: by name; see `engine.metrics`.
    seed: of every random stream of the run: order, augmentation, dropout.
    precision: "float32" or "float64": the dtype that inputs are cast to and that the variables must have
        (`engine.cast(model, "float64")`).
    steps_per_loop: how many steps one compiled call runs at most; history and hooks come between calls.

    The position in training is part of `trainer.state`: a second `fit` goes on where the first ended.
    """

    def __init__(
        self,
        model: tf.Module,
        objective: Callable[..., Terms] | str,
        optimizer: Any,
        metrics: Mapping[str, Metric] | None = None,
        *,
        seed: int = 0,
        precision: str = "float32",
        steps_per_loop: int = 100,
    ):
        self.precision = precisions.get(precision)
        precisions.check_variables(model, self.precision)
        if not isinstance(optimizer, tf.Module):
            raise TypeError(f"the optimizer must be a tf.Module, or its slots can't be saved; got {optimizer!r}")
        if not _is_count(steps_per_loop):
            raise ValueError(f"steps_per_loop must be a whole number of at least 1, got {steps_per_loop!r}")
        if not -(2**63) <= seed < 2**63:
            raise ValueError(f"seed must fit 64 bits, got {seed}")
        self.model, self.optimizer, self.metrics = model, optimizer, dict(metrics or {})
        self.objective = _objective(objective)
        self.seed, self.steps_per_loop = int(seed), int(steps_per_loop)
        self.traces = 0
        self._columns = Columns(self.metrics)
        # Slots for frozen variables too: thawing them later needs nothing new.
        optimizer.init({path: v for path, v in variable_paths(model).items() if v.trainable})
        self.state = TrainState(model, optimizer, seed, self._columns.width)
        with tf.device("CPU"):
            self._stop = tf.Variable(False, trainable=False)
        self._loops: dict[Any, Callable] = {}
        self._steps_per_epoch = 0

    def fit(
        self,
        train: Any,
        *,
        epochs: int | None = None,
        max_steps: int | None = None,
        validation: Any = None,
        evaluate_every: int | None = None,
        hooks: Iterable[Hook] = (),
    ) -> History:
        """Trains until `epochs` epochs or `max_steps` updates are done in all, earlier fits and resumed runs included.

        train, validation: pipelines (`data.Pipeline`). Validation comes at each epoch's end, or every
        `evaluate_every` steps, and at the end.
        hooks: run between compiled loops, in their order.

        SIGINT and SIGTERM end the fit at the next step, `history.stopped_by == "signal"`; a second one kills.
        A loss that is not finite ends it too: `"non_finite"`.
        """
        run = self._prepare(train, epochs, max_steps, validation, evaluate_every, hooks)
        started = time.perf_counter()
        traces = self.traces
        self._stop.assign(False)
        with stop_on_signals(self._stop) as caught:
            try:
                self._begin(run)
                self._run(run, started)
                if self._stop:
                    run.stop("signal")
                    run.history.signal = caught[0] if caught else None
                sums = self.state.epoch_sums.numpy()
                run.history.train = self._columns.values(sums) if self._columns.get(sums, "steps") else {}
                run.history.stopped_by = run.stopped_by
                run.history.wall_s = time.perf_counter() - started
                run.history.traces = self.traces - traces
                for hook in run.hooks:
                    hook.on_fit_end(run)
            finally:
                for hook in run.hooks:
                    hook.close()
        return run.history

    def evaluate(self, pipeline: Any) -> dict[str, float]:
        """Loss and metrics over a whole pipeline, in inference; every example counts by its weight.

        Sums over all examples are divided once, so a short last batch weighs what it should.
        """
        return self._columns.values(self._evaluate(pipeline, stoppable=False))

    def predict(self, pipeline: Any) -> Any:
        """The model's outputs for every example in source order: an array [examples, …], or a nest of arrays."""
        predict = self._cached(("predict",), lambda: prediction_step(self.model, compute_dtype=self.precision.compute))
        batches = [tf.nest.map_structure(lambda t: t.numpy(), predict(batch)) for batch in pipeline.evaluation()]
        return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *batches)

    def _prepare(self, train, epochs, max_steps, validation, evaluate_every, hooks) -> Run:
        if epochs is None and max_steps is None:
            raise ValueError("fit needs epochs=… or max_steps=…, or it would never end")
        for name, value in (("epochs", epochs), ("max_steps", max_steps), ("evaluate_every", evaluate_every)):
            if value is not None and not _is_count(value):
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if evaluate_every and validation is None:
            raise ValueError("evaluate_every needs validation=…, a pipeline to evaluate on")
        # What saves the state comes last, when every other hook has done its part.
        hooks = sorted(hooks, key=lambda hook: hook.saves)
        names = [hook.name for hook in hooks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two hooks are called {name!r}: their state is saved by name, give one another name")
        index = int(self.state.index)
        if index and train.steps_per_epoch != self._steps_per_epoch:
            raise ValueError(
                f"training stands at batch {index} of an epoch of {self._steps_per_epoch}: "
                f"it can't go on with a pipeline of {train.steps_per_epoch} batches an epoch"
            )
        return Run(
            self, train, validation, epochs=epochs, max_steps=max_steps, evaluate_every=evaluate_every, hooks=hooks
        )

    def _begin(self, run: Run) -> None:
        """Makes the hooks' state, then the checkpoint may set all state, then training may begin."""
        self.state.hooks = {}
        for hook in run.hooks:
            hook.bind(run)
            if isinstance(hook, tf.Module):
                self.state.hooks[hook.name] = hook
        for hook in run.hooks:
            hook.restore(run)
        self._steps_per_epoch = run.steps_per_epoch
        for hook in run.hooks:
            hook.on_fit_begin(run)

    def _run(self, run: Run, started: float) -> None:
        iterator, examples, seconds = None, 0, 0.0
        while not (run.stopped_by or self._stop):
            if run.pending and not self._boundary(run):
                break
            run.check_finished()
            if run.stopped_by or self._stop:
                break
            if iterator is None:
                iterator = iter(run.train.training(self.seed, run.epoch, run.index))
            traces = self.traces
            loop = self._training_loop(run, iterator.element_spec)
            fresh = loop.experimental_get_tracing_count() == 0
            begun = time.perf_counter()
            # A first call traces: one step of it tells when training began and leaves the other calls clean to time.
            count = 1 if fresh else run.next_boundary() - run.step
            rows = loop(iterator, tf.constant(count)).numpy()
            now = time.perf_counter()
            if run.history.time_to_first_step_s is None:
                run.history.time_to_first_step_s = now - started
            if self.traces == traces and len(rows):
                examples += int(self._columns.total(rows, "examples"))
                seconds += now - begun
                run.history.examples_per_second = examples / seconds
            self._advance(run, rows)

    def _advance(self, run: Run, rows: np.ndarray) -> None:
        """Counts the steps of `rows` into the state and the history."""
        if not len(rows):
            return
        first = run.step + 1
        run.advance(len(rows), rows, self._columns)
        rates = ({"learning_rate": self._columns.get(row, "learning_rate")} for row in rows)
        steps = [{**rate, **self._columns.values(row)} for rate, row in zip(rates, rows, strict=True)]
        run.history.add_steps(first, steps)
        for position, values in enumerate(steps):
            if not np.isfinite(values["loss"]):
                absl.logging.error("the loss of step %d is %s: training stops", first + position, values["loss"])
                run.stop("non_finite")
                break
        for hook in run.hooks:
            hook.on_steps(run, first, steps)

    def _boundary(self, run: Run) -> bool:
        """All that is due where a loop ends. False if a signal came first; then all of it is still to be done."""
        evaluation = self._evaluate(run.validation, stoppable=True) if run.evaluates_here else None
        if self._stop:
            return False
        sums = self.state.loop_sums.numpy()
        position = {"step": run.step, "epoch": run.current_epoch}
        rate = self._columns.get(sums, "learning_rate")
        record = {
            "split": "train",
            **position,
            **({} if np.isnan(rate) else {"learning_rate": rate}),
            **self._columns.values(sums),
            "empty_steps": int(self._columns.get(sums, "empty_steps")),
        }
        run.history.records.append(record)
        run.last_norms = self._columns.last_values(sums) if run.norms else {}
        for hook in run.hooks:
            hook.on_loop_end(run, record)
        if evaluation is not None:
            record = {"split": "validation", **position, **self._columns.values(evaluation)}
            run.history.records.append(record)
            for hook in run.hooks:
                hook.on_evaluate_end(run, record)
        if run.epoch_ended:
            record = {"split": "train", **position, **self._columns.values(self.state.epoch_sums.numpy())}
            for hook in run.hooks:
                hook.on_epoch_end(run, record)
        run.check_finished()
        run.boundary_done()
        for hook in run.hooks:
            hook.on_boundary(run)
        return True

    def _evaluate(self, pipeline: Any, *, stoppable: bool) -> np.ndarray:
        dataset = pipeline.evaluation()
        loop = self._cached(
            ("evaluate", _signature(dataset.element_spec)),
            lambda: evaluation_loop(
                self.model,
                self.objective,
                self.metrics,
                self._columns,
                self._stop,
                compute_dtype=self.precision.compute,
            ),
        )
        batches = int(dataset.cardinality())
        if batches < 1:
            raise ValueError("the number of batches of pipeline.evaluation() must be known, finite and at least 1")
        return loop(iter(dataset), tf.constant(batches), tf.constant(stoppable))[1].numpy()

    def _training_loop(self, run: Run, spec: Any) -> Callable:
        trained = tuple(id(variable) for variable in trainable_variables(self.model))

        def count():
            self.traces += 1

        return self._cached(
            ("train", trained, _signature(spec), run.norms),
            lambda: training_loop(
                self.state,
                _checked(self.objective, run.train),
                self.metrics,
                self._columns,
                self._stop,
                compute_dtype=self.precision.compute,
                norms=run.norms,
                on_trace=count,
            ),
        )

    def _cached(self, key: Any, make: Callable[[], Callable]) -> Callable:
        if key not in self._loops:
            self._loops[key] = make()
        return self._loops[key]


def _signature(spec: Any) -> tuple:
    return tuple(str(leaf) for leaf in tf.nest.flatten(spec, expand_composites=False))


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 1


def _objective(objective: Callable | str) -> Callable[..., Terms]:
    """A per-example loss becomes a `Supervised`: a name, or a function that needs (labels, outputs) and no more."""
    if isinstance(objective, str):
        return Supervised(objective)
    empty = inspect.Parameter.empty
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(inspect.signature(objective).parameters.values())
    needed = [p for p in parameters if p.kind in positional and p.default is empty]
    return Supervised(objective) if len(needed) == 2 and "training" not in {p.name for p in parameters} else objective


def _checked(objective: Callable[..., Terms], pipeline: Any) -> Callable[..., Terms]:
    """The objective, refusing at trace time a model with fewer outputs than the data has classes."""
    classes = getattr(getattr(pipeline, "info", None), "classes", None)
    if not classes or getattr(objective, "loss", None) is not losses.sparse_categorical_crossentropy:
        return objective

    def checked(model, batch, training):
        terms = objective(model, batch, training)
        if terms.outputs.shape[-1] < classes:
            raise ValueError(f"the model has {terms.outputs.shape[-1]} outputs, but the data has {classes} classes")
        return terms

    return checked
