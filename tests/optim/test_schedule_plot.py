"""The picture of a schedule shows its values; without matplotlib one line says what to install."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from optim import schedules


def drawn(path):
    """The pixels [height, width] of the curve: the only ones that are blue."""
    pixels = tf.io.decode_png(path.read_bytes(), channels=3).numpy().astype(int)
    return pixels[..., 2] - pixels[..., 0] > 60


@pytest.mark.parametrize("steps", [40, 5000])
def test_the_curve_has_the_shape_of_the_schedule(tmp_path, steps):
    pytest.importorskip("matplotlib", reason="needs the extra plot: pip install 'tapeline[plot]'")
    path = tmp_path / "warmup.png"
    schedules.plot(schedules.warmup(schedules.polynomial(1.0, steps // 2, 0.0), steps // 2), steps, path)
    rows, columns = np.nonzero(drawn(path))
    heights = [-rows[columns == column].mean() for column in np.unique(columns)]
    middle = len(heights) // 2
    up, down = np.diff(heights[:middle]), np.diff(heights[middle:])
    # A line of more than one pixel's width: its ends and its turn are round.
    assert (up[4:-8] > 0).all()
    assert (down[8:-4] < 0).all()
    assert np.ptp(heights) > 300
    assert len(heights) > 600


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"^optim\.schedules\.plot needs matplotlib: pip install 'tapeline\[plot\]'$"):
        schedules.plot(schedules.constant(0.1), 10, tmp_path / "no.png")
    assert not list(tmp_path.iterdir())


def test_a_picture_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^steps must be a whole number, 1 or above, got 0$"):
        schedules.plot(schedules.constant(0.1), 0, tmp_path / "no.png")
    with pytest.raises(TypeError, match=r"^schedule must be a finite number, got 'cosine'$"):
        schedules.plot("cosine", 10, tmp_path / "no.png")
