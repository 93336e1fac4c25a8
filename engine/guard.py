"""What the trainer does about a step that is not finite: end, leave it out, or go back."""

import contextlib
from collections.abc import Iterator
from typing import Any

import absl.logging
import numpy as np
import tensorflow as tf

from engine.files import checkpoints
from engine.non_finite import POLICIES, NonFinite, NonFiniteReport, detected, diagnose, first_op, overflowed
from engine.run import Run, is_count


class Guard:
    """The policy of a trainer on steps that are not finite.

    policy: "raise", "skip" or "rollback"; limit: how many steps in all may be skipped or rolled back.
    """

    def __init__(self, trainer: Any, policy: str, limit: int):
        if policy not in POLICIES:
            raise ValueError(f"on_non_finite must be one of {', '.join(POLICIES)}, got {policy!r}")
        if not is_count(limit):
            raise ValueError(f"max_non_finite must be a whole number of at least 1, got {limit!r}")
        self.trainer, self.policy, self.limit = trainer, policy, int(limit)
        self.report: NonFiniteReport | None = None

    def check(self, run: Run) -> None:
        """Refuses a rollback that nothing could do."""
        self.report = None
        if self.policy == "rollback" and not any(hook.saves for hook in run.hooks):
            raise ValueError('on_non_finite="rollback" needs a Checkpoint among the hooks, to go back to')

    def met(self, run: Run, row: np.ndarray | None, *, last: bool = False) -> None:
        """A step was not finite. row: its own, if the step has not been done; None if its update overflowed.

        last: nothing follows, hence there is nothing to go on with.
        """
        trainer, state = self.trainer, run.state
        step = run.step + (row is not None)
        done = int(state.index) or (run.steps_per_epoch if run.step else 0)
        epoch = run.current_epoch - 1 if row is None else run.epoch
        index = int(state.index) if row is not None else done - 1
        report, batch = self._report(run, row, step, epoch, index)
        for hook in run.active_hooks:
            hook.on_non_finite(run, report, batch)
        count = int(state.non_finite) + 1
        skips = self.policy == "skip" and row is not None and not run.overflowed
        if last or count > self.limit or not (skips or self.policy == "rollback"):
            absl.logging.error("%s", report)
            self.report = report
            run.stop("non_finite")
            return
        run.overflowed = ()
        absl.logging.warning("%s\n  %s, number %d of at most %d", report, _DOES[self.policy], count, self.limit)
        if skips:
            state.step.assign_add(1)
            trainer.advance(run, trainer.left_out(row)[np.newaxis])
        else:
            for hook in run.active_hooks:
                hook.rollback(run)
            # What was to end the fit at this boundary has not come to pass.
            run.stopped_by = None
            run.move_to(epoch, index + 1)
            run.history.cut(run)
            for hook in run.active_hooks:
                hook.on_rollback(run)
        state.non_finite.assign(count)

    @contextlib.contextmanager
    def watching(self, run: Run) -> Iterator[None]:
        """Within it an op that `checked_numerics` stopped is what was met: training can't go on from within a step."""
        trainer, state = self.trainer, run.state.variables_by_path()
        before = checkpoints.snapshot(state) if trainer.check_numerics else {}
        try:
            yield
        except tf.errors.InvalidArgumentError as error:
            if (found := detected(error)) is None:
                raise
            # The step was broken off somewhere.
            for path, variable in state.items():
                variable.assign(before[path])
            report = NonFiniteReport(run.step + 1, run.epoch, run.index, float("nan"), found)
            batch = _again(run, trainer.seed, run.epoch, run.index)
            if batch is not None:
                # In a graph ops run side by side, and what was stopped need not be the first: eagerly it is.
                report.where = first_op(trainer.model, trainer.objective, batch, **self._how(run)) or found
            for hook in run.active_hooks:
                hook.on_non_finite(run, report, batch)
            raise NonFinite(report, run.history) from None

    def _how(self, run: Run) -> dict:
        scale, trainer = run.state.loss_scale, self.trainer
        factor = None if scale is None else float(scale.scale)
        return {"seed": trainer.seed, "step": run.step, "compute_dtype": trainer.precision.compute, "scale": factor}

    def finish(self, run: Run) -> None:
        """Looks at the weights with which a fit ends: its last update may have overflowed."""
        if run.stopped_by != "non_finite" and not run.overflowed:
            run.overflowed = overflowed(self.trainer.model)
        if run.overflowed and self.report is None:
            self.met(run, None, last=True)

    def raise_if_met(self, run: Run) -> None:
        """Raises what was met, if the fit ended for it."""
        if self.report is not None:
            raise NonFinite(self.report, run.history)

    def _report(self, run: Run, row, step, epoch, index) -> tuple[NonFiniteReport, Any]:
        trainer = self.trainer
        loss = float("nan") if row is None else trainer.loss_of(row)
        report = NonFiniteReport(step, epoch, index, loss)
        batch = _again(run, trainer.seed, epoch, index)
        if row is None or run.overflowed:
            run.overflowed = run.overflowed or overflowed(trainer.model)
            report.where, report.values = "its update made weights that are not finite", run.overflowed
        elif batch is not None and run.chief:
            try:
                report.where, report.values = diagnose(trainer.model, trainer.objective, batch, **self._how(run))
            except (tf.errors.OpError, ValueError, TypeError) as error:
                report.where = f"the step could not be computed eagerly: {str(error).splitlines()[0]}"
            run.overflowed = overflowed(trainer.model)
        return report, batch


_DOES = {"skip": "the step is skipped", "rollback": "going back to the checkpoint before it, past this batch"}


def _again(run: Run, seed: int, epoch: int, index: int) -> Any:
    """The batch at a position, where there is one and the pipeline that training read can go there."""
    if index < 0 or getattr(run.read, "saves_iterator", False):
        return None
    return next(iter(run.read.training(seed, epoch, index)))
