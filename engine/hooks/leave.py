"""Before the first step there is nothing to wait for."""

import contextlib
from typing import Any

from engine.hooks.hook import Hook
from engine.signals import leave_on_signals


class LeaveBeforeFirstStep(Hook):
    """Until a fit's first step is done, SIGINT and SIGTERM end the process at once: for programs, not for notebooks.

    Nothing would be lost, and tracing and compiling may take minutes. From the first step on the fit ends at its next
    step, and saves. With several workers this hook does nothing, as the others would find one missing.

    told: the line for stderr, with `%s` for the signal's name.
    """

    def __init__(self, told: str, name: str = "leave_before_first_step"):
        super().__init__(name)
        self.told = told
        self._leaving = contextlib.ExitStack()

    def on_fit_begin(self, run: Any) -> None:
        """From here on signals leave."""
        if run.trainer.replicas.workers == 1:
            self._leaving.enter_context(leave_on_signals(self.told))

    def on_steps(self, run: Any, first: int, steps: list[dict]) -> None:
        """From here on signals stop the fit."""
        self._leaving.close()

    def close(self) -> None:
        """As before the fit."""
        self._leaving.close()
