"""The graph of one training step, its operations named after the layers that make them."""

import re
from typing import Any

import tensorflow as tf

from engine.context import StepContext
from engine.names import module_paths, trainable_variables
from engine.precision import cast_floating
from engine.step import mean_gradients
from engine.summary.calls import watched
from engine.sums import slice_sums


def step_graph(trainer: Any, spec: Any) -> tf.Graph:
    """The graph of one update by the trainer's model, objective and optimizer: `engine.step` of one replica, uncut.

    spec: of a batch, a dict of `tf.TensorSpec`. It is traced and never run: nothing changes. What a step does only to
    guard itself from numbers that are not finite would hide the rest, and is not in it.
    """
    paths = module_paths(trainer.model)
    names, variables = list(paths), trainable_variables(trainer.model)

    def scope(active):
        name = names[active[-1]]
        around = names[active[-2]] if len(active) > 1 else ""
        short = name.removeprefix(f"{around}.") or type(trainer.model).__name__
        return re.sub(r"[^A-Za-z0-9_.]", "_", short).lstrip("_") or "module"

    @tf.function(autograph=False)
    def update(batch, seed, number):
        batch = {**batch, "inputs": cast_floating(batch["inputs"], trainer.precision.compute)}
        with tf.name_scope("objective"):
            context = StepContext(seed, number)
            sums = slice_sums(trainer.model, trainer.objective, batch, variables, context, trainer.metrics)
        with tf.name_scope("mean_gradients"):
            gradients = mean_gradients(sums)
        with tf.name_scope("update"):
            trainer.optimizer.apply(gradients, variables)
        return sums.loss, sums.weight, sums.metrics

    number = tf.TensorSpec([], tf.int64)
    with watched(paths, scope):
        return update.get_concrete_function(spec, number, number).graph
