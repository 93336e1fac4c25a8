"""What a hook is: an object that runs between compiled loops."""

from typing import Any

import tensorflow as tf


class Hook(tf.Module):
    """Runs between compiled loops. Override what you need; every method may be left as it is.

    name: unique among a fit's hooks; what the hook keeps in `tf.Variable`s is saved and restored under it.
    every: a number of steps at whose multiples loops have to end, or None.
    norms: whether the hook wants `run.last_norms`, which cost one pass over the parameters a loop.
    saves: whether the hook saves the state; such hooks come after all others.
    chief_only: of several workers only the chief runs it, as something is written once; the others make its
        variables and leave it at that.

    At a boundary the order is: `on_loop_end`, `on_evaluate_end` (where validation is due), `on_epoch_end`
    (where an epoch ended), then `on_boundary`, when everything of this step is done and the state is whole.
    """

    every: int | None = None
    norms = False
    saves = False
    chief_only = False

    def __init__(self, name: str):
        super().__init__(name=name)

    def bind(self, run: Any) -> None:
        """Before anything: create every `tf.Variable` the hook will need."""

    def restore(self, run: Any) -> None:
        """Set the state from a checkpoint, if this hook is the one that does so."""

    def on_fit_begin(self, run: Any) -> None:
        """The state is as it will be for the first step."""

    def on_steps(self, run: Any, first: int, steps: list[dict]) -> None:
        """A compiled loop returned.

        steps: learning_rate, loss, data_loss and metrics of steps `first`, `first + 1`, …
        """

    def on_loop_end(self, run: Any, record: dict) -> None:
        """A loop reached its boundary; `record` holds the weighted means over it."""

    def on_evaluate_end(self, run: Any, record: dict) -> None:
        """Validation was done; `record` holds its loss and metrics."""

    def on_epoch_end(self, run: Any, record: dict) -> None:
        """An epoch ended; `record` holds the weighted means over it."""

    def on_boundary(self, run: Any) -> None:
        """All hooks have seen this boundary: the time to save."""

    def sync(self) -> None:
        """What this hook has written must be on the disk now: a checkpoint that counts on it follows."""

    def on_non_finite(self, run: Any, report: Any, batch: Any) -> None:
        """A step was not finite: a `NonFiniteReport`. The state is that before the step.

        batch: what it was computed from; None where the pipeline can't say that again.
        """

    def rollback(self, run: Any) -> None:
        """Set the state back to a checkpoint, if this hook is the one that does so."""

    def on_rollback(self, run: Any) -> None:
        """The state is that of an earlier step: what was written of later ones does not count."""

    def on_fit_end(self, run: Any) -> None:
        """The fit is over, for the reason in `run.stopped_by`."""

    def close(self) -> None:
        """Always called last, after errors too."""
