"""Transfer learning in two acts within one run: first the head alone, then more of the network."""

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from engine.hooks.hook import Hook
from engine.names import freeze


class Thaw(Hook):
    """Modules that are frozen for some epochs and trained from then on (Howard and Ruder 2018, section 3.3).

    modules: what is thawed, such as a backbone; until then the hook freezes them.
    epoch: after how many epochs.
    keep: what below them stays frozen, such as the backbone's first stages.
    train, validation: pipelines to be read from then on, instead of those of `fit`, with as many batches an epoch:
        while a whole backbone is frozen, `fit` can read its features (`engine.features`), and afterwards the pictures.

    The optimizer has had slots for all variables from the beginning, and keeps them; the training loop is traced once
    more, and says so. Nothing is remembered but the epoch, so that a resumed run is in the act that its step is in.
    Rates of their own are the optimizer's to give (`optim.Partition`).

    ValueError where the new pipeline has other epochs, or is a stream, whose iterators belong to the run's state.
    """

    def __init__(
        self,
        modules: Iterable[tf.Module],
        epoch: int,
        *,
        keep: Iterable[tf.Module] = (),
        train: Any = None,
        validation: Any = None,
        name: str = "thaw",
    ):
        super().__init__(name)
        # Opaque to TensorFlow's tracking: the modules are the model's, not this hook's.
        self._modules, self._keep = (lambda held=tuple(modules): held), (lambda held=tuple(keep): held)
        self._epoch = epoch
        self._after = lambda: (train, validation)
        self._before: Callable | None = None

    def bind(self, run: Any) -> None:
        """Refuses pipelines that do not go together."""
        before, after = run.train, self._after()[0]
        self._before = lambda held=(run.train, run.validation): held
        if after is None:
            return
        if getattr(before, "saves_iterator", False) or getattr(after, "saves_iterator", False):
            raise ValueError(f"hook {self.name}: streams can't take turns; give it sources with a length")
        if (before.steps_per_epoch, before.batch_size) != (after.steps_per_epoch, after.batch_size):
            raise ValueError(
                f"hook {self.name}: {before.steps_per_epoch} batches of {before.batch_size} an epoch before and "
                f"{after.steps_per_epoch} of {after.batch_size} after"
            )

    def on_fit_begin(self, run: Any) -> None:
        """In which act the state is."""
        self._set(run)

    def on_rollback(self, run: Any) -> None:
        """It may be the first act again."""
        self._set(run)

    def on_epoch_end(self, run: Any, record: dict) -> None:
        """Thaws, if this was the last epoch of the first act."""
        if run.epoch == self._epoch:
            self._set(run)

    def _set(self, run: Any) -> None:
        thawed = run.epoch >= self._epoch
        for module in self._modules():
            freeze(module, not thawed)
        for module in self._keep():
            freeze(module)
        train, validation = self._after() if thawed else (None, None)
        run.train, run.validation = train or self._before()[0], validation or self._before()[1]
