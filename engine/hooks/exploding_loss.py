"""A word of warning when the loss leaves its usual range."""

import statistics
from typing import Any

import absl.logging
import numpy as np
import tensorflow as tf

from engine.hooks.hook import Hook


class ExplodingLoss(Hook):
    """Warns when a step's loss exceeds `factor` times the median of the last `window` steps' losses.

    The warning comes once for each loop, and not before half a window has been seen. Losses whose median is not
    above 0 have no such scale, and are not judged. The window is part of the run's state.
    """

    def __init__(self, factor: float = 10.0, *, window: int = 100, name: str = "exploding_loss"):
        super().__init__(name)
        if not factor > 1 or window < 2:
            raise ValueError(f"factor must be above 1 and window at least 2, got {factor} and {window}")
        self.factor, self.window = factor, window
        self.losses: tf.Variable | None = None
        self.seen: tf.Variable | None = None

    def bind(self, run: Any) -> None:
        """Makes the window."""
        self.losses = tf.Variable(np.zeros(self.window), trainable=False)
        self.seen = tf.Variable(0, dtype=tf.int64, trainable=False)

    def on_steps(self, run: Any, first: int, steps: list[dict]) -> None:
        """Judges each step by those before it."""
        losses, seen, warned = self.losses.numpy(), int(self.seen), False
        for step, values in enumerate(steps, first):
            if 2 * seen >= self.window and not warned:
                median = statistics.median(losses[: min(seen, self.window)])
                if 0 < self.factor * median < values["loss"]:
                    absl.logging.warning(
                        "the loss of step %d is %.4g, %.1f times the median %.4g of the steps before it",
                        step, values["loss"], values["loss"] / median, median,
                    )  # fmt: skip
                    warned = True
            losses[seen % self.window] = values["loss"]
            seen += 1
        self.losses.assign(losses)
        self.seen.assign(seen)
