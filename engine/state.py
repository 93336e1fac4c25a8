"""Everything that a run is. What changes during training and is not in here is a bug."""

import numpy as np
import tensorflow as tf

from engine.names import variable_paths


class TrainState(tf.Module):
    """The whole state of a run, each part under the name by which checkpoints know it.

    model, optimizer: the user's; the optimizer's slots exist, for frozen variables too.
    step: updates done; epoch: epochs completed; index: batches done in the current epoch; seed: of every random stream.
    reported: the step whose boundary work (history line, evaluation, hooks) is done: a run that was stopped between a
    step and its boundary work does that work first when it resumes.
    loop_sums, epoch_sums: sums over the steps since the last boundary, and since the epoch began (`Columns`).
    hooks: what hooks remember, `hooks.<name>.<variable>`.
    """

    def __init__(self, model: tf.Module, optimizer: tf.Module, seed: int, columns: int):
        super().__init__()
        self.model, self.optimizer = model, optimizer
        self.step, self.epoch, self.index, self.reported = (_counter() for _ in range(4))
        self.seed = tf.Variable(seed, dtype=tf.int64, trainable=False)
        self.loop_sums = tf.Variable(np.zeros(columns), trainable=False)
        self.epoch_sums = tf.Variable(np.zeros(columns), trainable=False)
        self.hooks = {}

    def variables_by_path(self) -> dict[str, tf.Variable]:
        """Every variable of the run by its path; what a checkpoint holds."""
        return variable_paths(self)


def _counter() -> tf.Variable:
    return tf.Variable(0, dtype=tf.int64, trainable=False)
