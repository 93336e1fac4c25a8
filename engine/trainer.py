"""The outer loop: positions, boundaries, hooks. The inner one is compiled, in `engine.loop`."""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import absl.logging
import numpy as np
import tensorflow as tf

from engine import compiling
from engine import precision as precisions
from engine.columns import Columns
from engine.cut import NotCompiled, explained
from engine.evaluation import joined
from engine.feed import Feed
from engine.guard import Guard
from engine.history import History
from engine.hooks.hook import Hook
from engine.hooks.saved_iterator import SavedIterator
from engine.loops import Loops
from engine.loss_scale import LossScale, loss_scale_for
from engine.metrics import Metric
from engine.names import variable_paths
from engine.non_finite import checked_numerics
from engine.objective import Terms, as_objective
from engine.reading import told_by
from engine.replicas import Replicas, WorkerLost
from engine.run import Run, is_count
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
    strategy: a `tf.distribute.Strategy` in whose scope model and optimizer were made (`MirroredStrategy`,
        `MultiWorkerMirroredStrategy`), or None. The batch is that of all replicas together.
    precision: "float32", "float64", "bfloat16" or "float16": the dtype that inputs are cast to. Variables must be
        float64 for float64 (`engine.cast(model, "float64")`), else float32.
    jit_compile: what XLA compiles: nothing (False), forward and backward (True), or "loop", the whole loop as one
        program, on one device. "auto" is "loop" for small dense and recurrent networks: see `engine.compiling`.
    accumulate_steps: in how many parts a replica computes its slice of a batch, one after the other; one update
        follows.
    steps_per_loop: how many steps one compiled call runs at most; history and hooks come between calls.
    average: of the weights, such as `optim.EMA(0.999)`: a `tf.Module` with `init(variables)`, `update()`, `updates` and
        `averages` by path. It begins with the weights that the first fit finds. From the first update on, evaluation,
        prediction and what `averaged()` holds use the averages.
    loss_scaling: "dynamic" or a `LossScale`, "none", or "auto": dynamic for float16 and none otherwise.
    on_non_finite: what becomes of a step whose loss or gradients are not finite. It moves nothing; "raise" ends the
        fit with `NonFinite`, which names step, layer and variables; "skip" leaves it out, counts it (`skipped_steps`)
        and goes on; "rollback" goes back to the newest checkpoint, past the batch (the batches since that checkpoint
        are not seen again in this epoch).
    max_non_finite: how many steps in all may be skipped or rolled back; one more is "raise".
    check_numerics: every op of the training loop stops where it makes a NaN or an infinity, and `NonFinite` names it:
        slow, for one device, without XLA.
    max_traces: how often the training loop may be traced; one more is `TooManyTraces`. None: it is only reported.

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
        strategy: tf.distribute.Strategy | None = None,
        precision: str = "float32",
        jit_compile: bool | str = "auto",
        accumulate_steps: int = 1,
        steps_per_loop: int = 100,
        average: Any = None,
        loss_scaling: str | LossScale = "auto",
        on_non_finite: str = "raise",
        max_non_finite: int = 10,
        check_numerics: bool = False,
        max_traces: int | None = None,
    ):
        self.precision = precisions.get(precision)
        precisions.check_variables(model, self.precision)
        loss_scale = loss_scale_for(loss_scaling, self.precision.compute)
        self.replicas = Replicas(strategy)
        self.replicas.check_outside("the Trainer")
        self.replicas.check(model, "model")
        if self.precision.compute == tf.float16 and not self.replicas.copies_ahead:
            absl.logging.warning("float16 is slow on a processor, and narrow: bfloat16 is made for it")
        if not isinstance(optimizer, tf.Module):
            raise TypeError(f"the optimizer must be a tf.Module, or its slots can't be saved; got {optimizer!r}")
        for name, value in (("steps_per_loop", steps_per_loop), ("accumulate_steps", accumulate_steps)):
            if not is_count(value):
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if not isinstance(seed, int | np.integer) or not -(2**63) <= seed < 2**63:
            raise ValueError(f"seed must be a whole number that fits 64 bits, got {seed!r}")
        if not isinstance(metrics or {}, Mapping) or not all(hasattr(m, "sums") for m in (metrics or {}).values()):
            raise TypeError(f"metrics must be metrics by name, see engine.metrics; got {metrics!r}")
        self.model, self.optimizer, self.metrics = model, optimizer, dict(metrics or {})
        self.objective = as_objective(objective)
        self.seed, self.steps_per_loop = int(seed), int(steps_per_loop)
        self.jit_compile = compiling.checked(jit_compile, self.replicas, check_numerics)
        self.accumulate_steps, self.check_numerics = int(accumulate_steps), bool(check_numerics)
        self._guard = Guard(self, on_non_finite, max_non_finite)
        self._columns = Columns(self.metrics)
        with tf.device("CPU"):
            self._stop = tf.Variable(False, trainable=False)
        self._loops = Loops(self, self._columns, self._stop, max_traces)
        paths = variable_paths(model)
        with self.replicas.scope():
            # Slots for frozen variables too: thawing them later needs nothing new.
            optimizer.init({path: v for path, v in paths.items() if v.trainable})
            if average is not None:
                average.init(paths)
        self.replicas.check(optimizer, "optimizer")
        self.state = TrainState(model, optimizer, seed, self._columns.width, average, loss_scale)
        self._steps_per_epoch = 0

    @property
    def traces(self) -> int:
        """How often the training loop was traced."""
        return self._loops.traces.count

    @property
    def compiled(self) -> bool | str | None:
        """What `jit_compile` came to in the newest fit: False, True or "loop"; None before the first."""
        return self._loops.compiled

    @property
    def rolls_back(self) -> bool:
        """Whether a fit may have to go back to a checkpoint."""
        return self._guard.policy == "rollback"

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
        `evaluate_every` steps, and where `epochs` or `max_steps` end the fit.
        hooks: run between compiled loops, in their order.

        SIGINT and SIGTERM end the fit at the next step, `history.stopped_by == "signal"`; a second one kills. One that
        comes after the last step ends nothing, and is in `history.signal`.
        Raises `NonFinite`, which holds the history, where numbers are not finite and `on_non_finite` says so. After any
        other error, such as one of the data's source, another fit goes on at the batch that stopped this one.
        """
        self.replicas.check_outside("fit")
        if self.state.holds_average:
            raise RuntimeError(
                "fit within averaged(): the model holds its averages now, and training them would be lost"
            )
        _check_pipeline("train", train, "training")
        if validation is not None:
            _check_pipeline("validation", validation, "evaluation")
        run = self._prepare(train, epochs, max_steps, validation, evaluate_every, hooks)
        started = time.perf_counter()
        traces = self.traces
        self._stop.assign(False)
        with stop_on_signals(self._stop) as caught:
            try:
                self._begin(run)
                self._run(run, started)
                self._guard.finish(run)
                if self._stopping():
                    run.stop("signal")
                sums = self.state.epoch_sums.numpy()
                run.history.train = self._columns.values(sums) if self._columns.get(sums, "steps") else {}
                run.history.stopped_by = run.stopped_by
                run.history.wall_s = time.perf_counter() - started
                run.history.traces = self.traces - traces
                for hook in run.active_hooks:
                    hook.on_fit_end(run)
            except tf.errors.OpError as error:
                if not self.replicas.lost(error):
                    raise
                raise WorkerLost(error) from error
            finally:
                with contextlib.ExitStack() as closing:
                    for hook in reversed(run.active_hooks):
                        closing.callback(hook.close)
        run.history.signal = caught[0] if caught else None
        self._guard.raise_if_met(run)
        return run.history

    def evaluate(self, pipeline: Any) -> dict[str, float]:
        """Loss and metrics over a whole pipeline, in inference; every example counts by its weight.

        Sums over all examples are divided once, so a short last batch weighs what it should.
        """
        return self._columns.values(self._evaluate(pipeline, stoppable=False))

    def metric_sums(self, pipeline: Any) -> dict[str, np.ndarray]:
        """What `evaluate` has each metric's number from: its `per_class` or `matrix` take it."""
        return self._columns.metric_sums(self._evaluate(pipeline, stoppable=False))

    def predict(self, pipeline: Any) -> Any:
        """The model's outputs for every example in source order: an array [examples, …], or a nest of arrays.

        Where batches differ in more than their rows, as sequences of several widths do, the narrower ones are padded
        with zeros at their ends.
        """
        _check_pipeline("predict", pipeline, "evaluation")
        with self.averaged(), told_by(pipeline):
            parts = self._loops.predictions(pipeline.evaluation())
            found = [tf.nest.map_structure(lambda t: t.numpy(), part) for part in parts]
        return tf.nest.map_structure(lambda *parts: joined(parts), *found)

    def averaged(self) -> contextlib.AbstractContextManager:
        """Within it the model's variables hold their averages, if there is an `average`; afterwards their own values.

        What is saved within (`engine.save_weights`) is what was evaluated.
        """
        return self.state.averaged()

    def _over(self, run: Run) -> bool:
        run.agree()
        return run.stopped_by is not None or self._stopping()

    def _stopping(self) -> bool:
        """Whether a signal asked any worker to stop."""
        return self.replicas.any(bool(self._stop))

    def _prepare(self, train, epochs, max_steps, validation, evaluate_every, hooks) -> Run:
        # Each of several workers would need a state of its own: there, the position is read up to.
        saved = [SavedIterator()] if getattr(train, "saves_iterator", False) and self.replicas.workers == 1 else []
        hooks = list(hooks) if isinstance(hooks, Iterable) else hooks
        if not isinstance(hooks, list) or not all(isinstance(hook, Hook) for hook in hooks):
            raise TypeError(f"hooks must be a sequence of engine.hooks.Hook, got {hooks!r}")
        # What saves the state comes last, when every other hook has done its part.
        hooks = sorted([*hooks, *saved], key=lambda hook: hook.saves)
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
        if not self.replicas.agreed_on(run.facts()):
            raise ValueError("the workers differ: model, data, settings and hooks must be the same on all of them")
        self.state.hooks = {}
        for hook in run.hooks:
            hook.bind(run)
            if isinstance(hook, tf.Module):
                self.state.hooks[hook.name] = hook
        for hook in run.active_hooks:
            hook.restore(run)
        self.state.begin_average()
        self._steps_per_epoch = run.steps_per_epoch
        self._guard.check(run)
        for hook in run.active_hooks:
            hook.on_fit_begin(run)

    def _run(self, run: Run, started: float) -> None:
        feed = Feed(run, self.replicas, self.seed)
        while not self._over(run):
            if run.pending and not self._boundary(run):
                break
            if run.overflowed:
                self._guard.met(run, None)
                feed.leave()
                continue
            run.check_finished()
            if self._over(run):
                break
            traces = self.traces
            loop = self._loops.training(run, feed.element_spec())
            whole = self.compiled == "loop"
            iterator = feed.iterator(loop.numbers if whole else None)
            run.read = run.train
            fresh = loop.experimental_get_tracing_count() == 0
            begun = time.perf_counter()
            # A first call traces: one step of it tells when training began and leaves the other calls clean to time.
            count = 1 if fresh or self.check_numerics else run.next_boundary() - run.step
            checks = checked_numerics() if self.check_numerics and fresh else contextlib.nullcontext()
            try:
                with explained(bool(self.compiled)), self._guard.watching(run), checks, told_by(run.train):
                    rows, _, halted = (result.numpy() for result in loop(iterator, tf.constant(count)))
            except NotCompiled:
                moved = int(self.state.step) - run.step
                run.broken_off()
                if moved or not self._loops.falls_back(traces):
                    raise
                # Nothing has moved but the iterator.
                feed.leave()
                continue
            except BaseException:
                if fresh and not loop.experimental_get_tracing_count():
                    self._loops.traces.forgive(traces)
                run.broken_off()
                raise
            now = time.perf_counter()
            if len(rows) < count and (whole or self.replicas.copies_ahead):
                # A loop that was stopped may have fetched a batch that no step has seen.
                feed.leave()
            if run.history.time_to_first_step_s is None:
                run.history.time_to_first_step_s = now - started
            if self.traces == traces and len(rows):
                run.timed(int(self._columns.total(rows, "examples")), now - begun)
            self.advance(run, rows[:-1] if halted else rows)
            if halted:
                feed.leave()
                self._guard.met(run, rows[-1])

    def loss_of(self, row: np.ndarray) -> float:
        """The loss in a step's row."""
        return self._columns.values(row)["loss"]

    def left_out(self, row: np.ndarray) -> np.ndarray:
        """The row of a step that is skipped."""
        return self._columns.left_out(tf.constant(row)).numpy()

    def advance(self, run: Run, rows: np.ndarray) -> None:
        """Counts the steps of `rows` into the state and the history."""
        if not len(rows):
            return
        first = run.step + 1
        run.advance(len(rows), rows, self._columns)
        rates = ({"learning_rate": self._columns.get(row, "learning_rate")} for row in rows)
        steps = [{**rate, **self._columns.values(row)} for rate, row in zip(rates, rows, strict=True)]
        run.history.add_steps(first, steps)
        for hook in run.active_hooks:
            hook.on_steps(run, first, steps)

    def _boundary(self, run: Run) -> bool:
        """All that is due where a loop ends. False if a signal came first; then all of it is still to be done."""
        evaluation = self._evaluate(run.validation, stoppable=True) if run.evaluates_here else None
        if self._stopping():
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
        if self.state.loss_scale is not None or self._guard.policy == "skip":
            record["skipped_steps"] = int(self._columns.get(sums, "skipped_steps"))
        if self.state.loss_scale is not None:
            record["loss_scale"] = self._columns.get(sums, "loss_scale")
        # After a rollback past an epoch's last batch there is none.
        if self._columns.get(sums, "steps"):
            run.history.records.append(record)
            run.last_norms = self._columns.last_values(sums) if run.norms else {}
            for hook in run.active_hooks:
                hook.on_loop_end(run, record)
        if evaluation is not None:
            record = {"split": "validation", **position, **self._columns.values(evaluation)}
            if not np.isfinite(record["loss"]):
                absl.logging.warning("the validation loss at step %d is %s", run.step, record["loss"])
            run.history.records.append(record)
            for hook in run.active_hooks:
                hook.on_evaluate_end(run, record)
        if run.epoch_ended:
            sums = self.state.epoch_sums.numpy()
            values = self._columns.values(sums)
            if self._columns.get(sums, "steps") == self._columns.get(sums, "skipped_steps"):
                # Of an epoch whose steps were all skipped or rolled back nothing is known.
                values = dict.fromkeys(values, float("nan"))
            record = {"split": "train", **position, **values}
            for hook in run.active_hooks:
                hook.on_epoch_end(run, record)
        run.check_finished()
        run.boundary_done()
        for hook in run.active_hooks:
            hook.on_boundary(run)
        return True

    def _evaluate(self, pipeline: Any, *, stoppable: bool) -> np.ndarray:
        _check_pipeline("evaluate", pipeline, "evaluation")
        dataset = pipeline.evaluation(**self.replicas.shard())
        loop = self._loops.evaluation(dataset.element_spec)
        batches = int(dataset.cardinality())
        if batches < 1:
            raise ValueError("the number of batches of pipeline.evaluation() must be known, finite and at least 1")
        with self.averaged(), told_by(pipeline):
            sums = loop(iter(dataset), tf.constant(batches), tf.constant(stoppable))[1].numpy()
        return self.replicas.worker_sum(sums)


def _check_pipeline(name: str, pipeline: Any, method: str) -> None:
    if not callable(getattr(pipeline, method, None)):
        raise TypeError(f"{name}: expected a pipeline, such as data.Pipeline(data.Arrays(…), 32); got {pipeline!r:.80}")
