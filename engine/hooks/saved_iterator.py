"""Saves where a pipeline stands that can't be entered anywhere at once: its iterator."""

from typing import Any

import tensorflow as tf

from engine.hooks.hook import Hook


class SavedIterator(Hook):
    """Keeps the training iterator of a pipeline with `saves_iterator` in the run's state, under `hooks.iterator`.

    The trainer adds it by itself, where there is one worker. A run that resumes without it, or with its state dropped
    by name, or that goes on from another position than the one that was saved, finds its place all the same: the
    pipeline then reads over what lies before it.
    """

    def __init__(self):
        super().__init__("iterator")
        self._iterator = self._run = None

    def bind(self, run: Any) -> None:
        """Makes the variables: an iterator as TensorFlow writes it, and the epoch and index at which it stood."""
        self._run = run
        with tf.device("CPU:0"):
            self.state = tf.Variable("", dtype=tf.string, trainable=False)
            self.position = tf.Variable([-1, -1], dtype=tf.int64, trainable=False)

    def begin(self, dataset: tf.data.Dataset) -> tf.data.Iterator:
        """An iterator of `dataset`, which begins at the run's position: the saved one, if it is of that position.

        ValueError if that is of a dataset of another form.
        """
        self._iterator = iter(dataset)
        if self.position.numpy().tolist() == self._here():
            try:
                saved = tf.io.parse_tensor(self.state, tf.variant)
                tf.raw_ops.DeserializeIterator(resource_handle=self._handle(), serialized=saved)
            except tf.errors.OpError as error:
                raise ValueError(
                    "the saved iterator does not fit this pipeline: drop the state of the hook iterator, and what lies "
                    f"before the run's position is read over ({error.message.splitlines()[0]})"
                ) from error
        return self._iterator

    def forget(self) -> None:
        """The iterator is not where the run is: it must not be saved."""
        self._iterator = None
        self.position.assign([-1, -1])

    def sync(self) -> None:
        """The state is about to be saved."""
        if self._iterator is not None:
            # A pipeline refuses what has a state of its own; so does this, 2 being "fail".
            saved = tf.raw_ops.SerializeIterator(resource_handle=self._handle(), external_state_policy=2)
            self.state.assign(tf.io.serialize_tensor(saved))
            self.position.assign(self._here())

    def close(self) -> None:
        """Lets the iterator go."""
        self._iterator = self._run = None

    def _here(self) -> list[int]:
        return [self._run.epoch, self._run.index]

    def _handle(self) -> tf.Tensor:
        (handle,) = tf.nest.flatten(self._iterator, expand_composites=True)
        return handle
