"""A picture of a schedule."""

import textwrap
from pathlib import Path

import numpy as np
import tensorflow as tf

from optim.domain import COUNT
from optim.schedules.schedule import Setting, evaluate, require_setting

_POINTS = 1000


def plot(schedule: Setting, steps: int, path: str | Path) -> None:
    """Draw `schedule` from step 0 to step `steps` as the PNG file `path`.

    All steps are drawn where they are at most 1000, else that many of them, evenly spaced. ImportError without
    matplotlib, which the extra `plot` installs.
    """
    require_setting("schedule", schedule)
    COUNT.require("steps", steps)
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("optim.schedules.plot needs matplotlib: pip install 'tapeline[plot]'") from error

    at = np.linspace(0, steps, min(int(steps), _POINTS) + 1).astype(np.int64)
    values = tf.function(
        lambda: tf.map_fn(lambda step: evaluate(schedule, step), at, fn_output_signature=tf.float64), autograph=False
    )()
    # Not pyplot, which keeps every figure and may want a window.
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="value")
    axes.plot(at, values.numpy())
    axes.set_title("\n".join(textwrap.wrap(repr(schedule), 100)), fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(path, format="png")
