"""Everything that a run is. What changes during training and is not in here is a bug."""

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from engine.names import variable_paths

# What runs of earlier versions do not hold, and begin with when they are resumed.
NEW = ("non_finite",)


class TrainState(tf.Module):
    """The whole state of a run, each part under the name by which checkpoints know it.

    model, optimizer: the user's; the optimizer's slots exist, for frozen variables too.
    step: updates done; epoch: epochs completed; index: batches done in the current epoch; seed: of every random stream.
    reported: the step whose boundary work (history line, evaluation, hooks) is done: a run that was stopped between a
    step and its boundary work does that work first when it resumes.
    loop_sums, epoch_sums: sums over the steps since the last boundary, and since the epoch began (`Columns`).
    non_finite: how many steps that were not finite have been skipped or rolled back.
    average: of the weights, or None; loss_scale: a `LossScale`, or None.
    hooks: what hooks remember, `hooks.<name>.<variable>`.
    """

    def __init__(self, model: tf.Module, optimizer: tf.Module, seed: int, columns: int, average=None, loss_scale=None):
        super().__init__()
        self.model, self.optimizer, self.average, self.loss_scale = model, optimizer, average, loss_scale
        self.step, self.epoch, self.index, self.reported = (_counter() for _ in range(4))
        self.non_finite = _counter()
        self.seed = tf.Variable(seed, dtype=tf.int64, trainable=False)
        self.loop_sums = tf.Variable(np.zeros(columns), trainable=False)
        self.epoch_sums = tf.Variable(np.zeros(columns), trainable=False)
        self.hooks = {}
        self.holds_average = False

    def variables_by_path(self) -> dict[str, tf.Variable]:
        """Every variable of the run by its path; what a checkpoint holds. RuntimeError within `averaged`."""
        if self.holds_average:
            raise RuntimeError("the model holds its averages now: its own values can't be saved before they are back")
        return variable_paths(self)

    def weights(self) -> dict[str, tf.Variable]:
        """The model's variables by path, and their averages by `average.` and path."""
        averages = self.average.averages if self.average is not None else {}
        return {**variable_paths(self.model), **{f"average.{path}": value for path, value in averages.items()}}

    def begin_average(self) -> None:
        """Lets an average that has seen no update begin at the model's present values, wherever they are from."""
        if self.average is not None and self.average.updates == 0:
            variables = variable_paths(self.model)
            for path, value in self.average.averages.items():
                value.assign(variables[path])

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the model's variables hold their averages; afterwards their own values. No time to save the run."""
        if self.average is None or self.holds_average or self.average.updates == 0:
            yield
            return
        variables = variable_paths(self.model)
        own = {path: tf.identity(variables[path]) for path in self.average.averages}
        self.holds_average = True
        try:
            for path, value in self.average.averages.items():
                variables[path].assign(value)
            yield
        finally:
            for path, value in own.items():
                variables[path].assign(value)
            self.holds_average = False


def _counter() -> tf.Variable:
    return tf.Variable(0, dtype=tf.int64, trainable=False)
