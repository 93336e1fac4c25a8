"""Gradients checked by three independent verdicts, laws beyond the derivative, and Hypothesis strategies.

`import engine.testing` (the core of `engine` does without it). Only `engine.testing.strategies` needs hypothesis,
and is imported when it is first asked for.
"""

import importlib

from engine.testing.gradients import check_gradients
from engine.testing.report import GradientError, GradientReport, Kink

__all__ = ["GradientError", "GradientReport", "Kink", "check_gradients", "laws", "strategies"]


def __getattr__(name: str):
    if name in ("laws", "strategies"):
        return importlib.import_module(f"engine.testing.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
