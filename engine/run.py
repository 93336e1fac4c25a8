"""One fit under way: what hooks see, and where its boundaries lie."""

from collections.abc import Sequence
from typing import Any

import absl.logging
import numpy as np

from engine.history import History

# Why a fit ends; of several reasons on several workers the first here counts.
REASONS = ("non_finite", "signal", "early_stopping", "max_steps", "epochs")


class Run:
    """A fit under way.

    trainer, state: whose; train, validation: the pipelines; epochs, max_steps, evaluate_every: as asked of `fit`.
    read: the pipeline that the newest steps were read from, when a hook has put another one in its place.
    hooks: all of them; active_hooks: those that run on this worker.
    history: grows as it goes; stopped_by: None, or why the fit ends.
    last_norms: gradient_norm, parameter_norm, update_norm of the last step, if a hook asked for norms.
    overflowed: lines on variables of the model that were found not to be finite.
    timed_examples, timed_s: trained in calls of the loop that traced nothing, and their seconds.

    ValueError: neither `epochs` nor `max_steps`, one that is no count, `evaluate_every` without validation.

    Loops end at absolute boundaries, never counted from where a run resumed: each multiple of `steps_per_loop` in
    the epoch, each multiple of `evaluate_every` and of a hook's `every`, the epoch's end, and `max_steps`.
    """

    def __init__(
        self,
        trainer: Any,
        train: Any,
        validation: Any,
        *,
        epochs: int | None,
        max_steps: int | None,
        evaluate_every: int | None,
        hooks: Sequence,
    ):
        if epochs is None and max_steps is None:
            raise ValueError("fit needs epochs=… or max_steps=…, or it would never end")
        for name, value in (("epochs", epochs), ("max_steps", max_steps), ("evaluate_every", evaluate_every)):
            if value is not None and not is_count(value):
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if evaluate_every and validation is None:
            raise ValueError("evaluate_every needs validation=…, a pipeline to evaluate on")
        parts = trainer.replicas.count * trainer.accumulate_steps
        if train.batch_size < parts:
            absl.logging.warning(
                "a batch of %d is cut into %d slices (replicas × accumulate_steps): some stay empty",
                train.batch_size,
                parts,
            )
        self.trainer, self.state = trainer, trainer.state
        self.train, self.validation, self.read = train, validation, train
        self.epochs, self.max_steps, self.evaluate_every = epochs, max_steps, evaluate_every
        self.hooks = list(hooks)
        self.active_hooks = [hook for hook in self.hooks if self.chief or not hook.chief_only]
        self.norms = any(hook.norms for hook in self.hooks)
        self.steps_per_epoch = train.steps_per_epoch
        self.history = History()
        self.stopped_by: str | None = None
        self.last_norms: dict[str, float] = {}
        self.overflowed: tuple[str, ...] = ()
        self.timed_examples, self.timed_s = 0, 0.0
        self._step = int(self.state.step)

    @property
    def chief(self) -> bool:
        """Whether this is the worker that writes what is written once."""
        return self.trainer.replicas.chief

    @property
    def step(self) -> int:
        """Updates done, as of the last return from the compiled loop."""
        return self._step

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return int(self.state.epoch)

    @property
    def index(self) -> int:
        """Batches done in the current epoch."""
        return int(self.state.index)

    @property
    def epoch_ended(self) -> bool:
        """Whether the last step was the last of its epoch."""
        return self.step > 0 and self.index == 0

    @property
    def current_epoch(self) -> int:
        """The epoch that the last step belongs to, from 1."""
        return self.epoch if self.epoch_ended else self.epoch + 1

    @property
    def total_steps(self) -> int:
        """The step at which the fit ends, unless it is stopped."""
        ends = [self.max_steps] if self.max_steps else []
        if self.epochs:
            ends.append(self.step + (self.epochs - self.epoch) * self.steps_per_epoch - self.index)
        return max(0, min(ends))

    @property
    def pending(self) -> bool:
        """Whether the run stands at a boundary whose work is not done."""
        if self.step == int(self.state.reported):
            return False
        at_multiple = any(self.step % every == 0 for every in self._periods())
        return self.index % self.trainer.steps_per_loop == 0 or at_multiple or self.step == self.max_steps

    def told(self, step: int, split: str = "train") -> bool:
        """Whether what a boundary at `step` writes was written before the state was saved; else it comes again.

        Where a rollback leaves out the rest of an epoch, its end comes at a step that was told of: no training's values
        come with it.
        """
        if step != self.step or not self.pending:
            return step <= self.step
        return split == "train" and not self.state.loop_sums.numpy().any()

    def next_boundary(self) -> int:
        """The step at which the next loop ends."""
        step, index, per_loop = self.step, self.index, self.trainer.steps_per_loop
        in_epoch = min(self.steps_per_epoch, (index // per_loop + 1) * per_loop)
        ends = [step - index + in_epoch, *((step // every + 1) * every for every in self._periods())]
        return min([*ends, self.max_steps] if self.max_steps else ends)

    def _periods(self) -> list[int]:
        return [every for every in (self.evaluate_every, *(hook.every for hook in self.hooks)) if every]

    @property
    def evaluates_here(self) -> bool:
        """Whether validation is due at this step."""
        if self.validation is None:
            return False
        due = self.step % self.evaluate_every == 0 if self.evaluate_every else self.epoch_ended
        return due or self.step >= self.total_steps

    def stop(self, reason: str) -> None:
        """Ends the fit after this boundary, or if called between two, before the next step; the boundary's work is then
        done when the run is resumed. The first reason stays, but for numbers that are not finite.
        """
        self.stopped_by = reason if reason == "non_finite" else self.stopped_by or reason

    def timed(self, examples: int, seconds: float) -> None:
        """Counts what a call that traced nothing has trained."""
        self.timed_examples += examples
        self.timed_s += seconds
        self.history.examples_per_second = self.timed_examples / self.timed_s

    def facts(self) -> dict:
        """What must be equal on all workers, or they would wait for each other for ever."""
        trainer, names = self.trainer, ("seed", "precision", "steps_per_loop", "accumulate_steps", "jit_compile")
        return {
            **{name: getattr(trainer, name) for name in names},
            "run": (self.epochs, self.max_steps, self.evaluate_every, self.validation is None),
            "data": (self.train.batch_size, self.steps_per_epoch),
            "hooks": [(type(hook).__name__, hook.name, hook.every, hook.norms) for hook in self.hooks],
            "variables": {path: (v.shape, v.dtype) for path, v in self.state.variables_by_path().items()},
        }

    def agree(self) -> None:
        """Ends the fit on all workers, if one of them ends it: hooks that run on one worker only may stop, too."""
        replicas = self.trainer.replicas
        if replicas.workers > 1:
            reasons = (*REASONS, "other")
            mine = self.stopped_by if self.stopped_by in (None, *REASONS) else "other"
            found = replicas.worker_sum([float(reason == mine) for reason in reasons])
            self.stopped_by = reasons[int(np.flatnonzero(found)[0])] if found.any() else None

    def check_finished(self) -> None:
        """Ends the fit where it was to end."""
        if self.epochs and self.epoch >= self.epochs:
            self.stop("epochs")
        elif self.max_steps and self.step >= self.max_steps:
            self.stop("max_steps")

    def advance(self, steps: int, rows: np.ndarray, columns: Any) -> None:
        """Moves the position on by `steps` and adds their rows to the running sums."""
        state, index = self.state, self.index
        if index == 0:
            state.epoch_sums.assign(np.zeros(columns.width))
        for sums in (state.loop_sums, state.epoch_sums):
            sums.assign(columns.add(sums.numpy(), rows))
        self._step += steps
        index += steps
        state.epoch.assign_add(index // self.steps_per_epoch)
        state.index.assign(index % self.steps_per_epoch)

    def move_to(self, epoch: int, index: int) -> None:
        """Puts the position in the data elsewhere; `index` may be the epoch's end."""
        state, ended = self.state, index == self.steps_per_epoch
        if self.index == 0 or self.epoch != epoch:
            # These sums are of an epoch before.
            state.epoch_sums.assign(np.zeros_like(state.epoch_sums.numpy()))
        state.epoch.assign(epoch + ended)
        state.index.assign(0 if ended else index)
        if ended:
            state.reported.assign(self.step - 1)

    def broken_off(self) -> None:
        """To be called where a compiled call ended in an error: the steps it had made are done, but left no rows."""
        steps = int(self.state.step) - self._step
        done = self.index + steps
        if steps and self.index == 0:
            self.state.epoch_sums.assign(np.zeros_like(self.state.epoch_sums.numpy()))
        self._step += steps
        self.state.epoch.assign_add(done // self.steps_per_epoch)
        self.state.index.assign(done % self.steps_per_epoch)

    def boundary_done(self) -> None:
        """Marks this boundary's work as done and starts the next loop's sums."""
        self.state.loop_sums.assign(np.zeros_like(self.state.loop_sums.numpy()))
        self.state.reported.assign(self.step)

    def restored(self) -> None:
        """To be called by whoever has set the state from a checkpoint."""
        self._step = int(self.state.step)
        self.history.resumed_from = self._step


def is_count(value: Any) -> bool:
    """Whether it is a whole number of at least 1."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 1
