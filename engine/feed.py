"""Where a fit's batches come from: one iterator for as long as it stands where the run does."""

from typing import Any

import tensorflow as tf

from engine.hooks.saved_iterator import SavedIterator
from engine.replicas import Replicas
from engine.run import Run
from engine.stacks import Stacks, stacks


class Feed:
    """The training batches of a run, from wherever it is.

    An iterator is made when the first batch is wanted, again when a hook has put another pipeline in the place of the
    one that is read, and after `leave`. seed: of the order.
    """

    def __init__(self, run: Run, replicas: Replicas, seed: int):
        self._run, self._replicas, self._seed = run, replicas, seed
        self._saved = next((hook for hook in run.hooks if isinstance(hook, SavedIterator)), None)
        self._iterator: Any = None
        self._pipeline: Any = None

    def element_spec(self) -> Any:
        """What a batch is, of the pipeline that the run has now."""
        if self._iterator is None or self._pipeline is not self._run.train:
            self._begin()
        return self._dataset.element_spec

    def iterator(self, numbers: int | None = None) -> Any:
        """Over batches, once their spec was asked for; given the `numbers` to train, over stacks if there are any."""
        if isinstance(self._iterator, Stacks) and self._iterator.numbers != numbers:
            # Layers were thawed: other stacks, or none.
            self._begin()
        if self._iterator is None and numbers is not None:
            self._iterator = stacks(self._pipeline, self._dataset.element_spec, numbers, *self._place)
        if self._iterator is None:
            self._iterator = self._saved.begin(self._dataset) if self._saved else iter(self._dataset)
        return self._iterator

    def leave(self) -> None:
        """The iterator is not where the run is: what it has read ahead is dropped."""
        if self._saved:
            self._saved.forget()
        self._iterator = None

    def _begin(self) -> None:
        run = self._run
        self._iterator, self._pipeline, self._place = None, run.train, (self._seed, run.epoch, run.index)
        self._dataset: tf.data.Dataset = run.train.training(*self._place, **self._replicas.shard())
