"""A trainer's compiled loops: how each is compiled, and that each is made once for what it is made for."""

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from engine import compiling
from engine.columns import Columns
from engine.cut import Cut
from engine.evaluation import evaluation_loop, prediction_loop, prediction_step, predictions
from engine.loop import stepper, training_loop
from engine.names import frozen_names, trainable_variables
from engine.objective import checked_for, classes_of
from engine.run import Run
from engine.traces import Traces, specs
from engine.whole_loop import WholeLoop


class Loops:
    """The loops of a trainer, by what they are traced for.

    trainer: whose settings they follow; columns: of the rows that they make; stop: the variable that ends them between
        two batches; max_traces: how often the training loop may be traced, or None.
    compiled: what `jit_compile` came to in the newest training loop: False, True or "loop"; None before the first.
    """

    def __init__(self, trainer: Any, columns: Columns, stop: tf.Variable, max_traces: int | None):
        self.trainer, self.columns, self.stop, self.traces = trainer, columns, stop, Traces(max_traces)
        self.compiled: bool | str | None = None
        # By what is trained on: what "auto" came to.
        self._chosen: dict[tuple, bool | str] = {}
        self._newest: tuple = ()

    def training(self, run: Run, spec: Any) -> Callable:
        """The loop that trains on batches of `spec`; a `WholeLoop` where `compiled` is "loop"."""
        trainer = self.trainer
        streamed = bool(getattr(run.train, "saves_iterator", False))
        objective, classes = checked_for(trainer.objective, run.train), classes_of(run.train)
        facts = {
            **specs(spec),
            "frozen": ", ".join(frozen_names(trainer.model)) or "none",
            "classes": classes,
            "streamed": streamed,
        }
        self._newest = tuple(facts.items())
        if self._newest not in self._chosen:
            self._chosen[self._newest] = compiling.choice(
                trainer.jit_compile,
                trainer.model,
                objective,
                spec,
                compute_dtype=trainer.precision.compute,
                replicas=trainer.replicas,
                graph=trainer.accumulate_steps > 1 or trainer.check_numerics or streamed,
            )
        self.compiled = self._chosen[self._newest]
        facts |= {"norms": run.norms, "jit_compile": self.compiled}
        return self.traces.get("training", facts, lambda: self._training_loop(objective, run.norms))

    def falls_back(self, traces: int) -> bool:
        """After the newest training loop could not be compiled: whether the graph loop serves, which it will then.

        traces: how many there were before that loop was called.
        """
        if self.trainer.jit_compile != "auto":
            return False
        self._chosen[self._newest] = False
        self.traces.forgive(traces)
        return True

    def evaluation(self, spec: Any) -> Callable:
        """The loop that evaluates batches of `spec`."""
        trainer = self.trainer
        return self.traces.get(
            "evaluation",
            specs(spec),
            lambda: evaluation_loop(
                trainer.model,
                trainer.objective,
                trainer.metrics,
                self.columns,
                self.stop,
                replicas=trainer.replicas,
                compute_dtype=trainer.precision.compute,
            ),
        )

    def predictions(self, dataset: Any) -> Iterator:
        """The model's outputs for the batches of `dataset`, in its order; each part is of one batch or of several."""
        trainer = self.trainer
        step = self.traces.get(
            "predict", {}, lambda: prediction_step(trainer.model, compute_dtype=trainer.precision.compute)
        )
        batches, loop = int(dataset.cardinality()), None
        if batches > 0:
            spec = dataset.element_spec
            loop = self.traces.get("predictions", specs(spec), lambda: prediction_loop(step, spec))
        return predictions(dataset, batches, step, loop)

    def _training_loop(self, objective: Callable, norms: bool) -> Callable:
        trainer, compiled = self.trainer, self.compiled
        whole = compiled == "loop"
        one_step = stepper(
            trainer.state,
            objective,
            trainer.metrics,
            self.columns,
            replicas=trainer.replicas,
            cut=Cut(trainer.accumulate_steps, compiled is True, unrolled=whole),
            compute_dtype=trainer.precision.compute,
            norms=norms,
            in_xla=whole,
        )
        traced = self.traces.traced
        if whole:
            numbers = sum(v.shape.num_elements() for v in trainable_variables(trainer.model))
            return WholeLoop(one_step, self.columns, self.stop, numbers=numbers, on_trace=traced)
        return training_loop(one_step, self.columns, self.stop, replicas=trainer.replicas, on_trace=traced)
