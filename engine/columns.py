"""What a step leaves behind: one row of numbers."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from engine.metrics import Metric

_SUMS = ("steps", "examples", "loss", "weight", "penalty", "empty_steps", "skipped_steps")
LAST = ("learning_rate", "loss_scale", "gradient_norm", "parameter_norm", "update_norm")


class Columns:
    """Where each number stands in the float64 row that a step leaves behind.

    The first are sums, which add up over steps; after them come the values of the last step. One row a step keeps
    the loop's bookkeeping to one write, and every per-step value is there afterwards. Counts are exact to 2⁵³.
    """

    def __init__(self, metrics: Mapping[str, Metric]):
        self.metrics = dict(metrics)
        self._at, start = {}, 0
        for name in self.metrics:
            if name in (*_SUMS, *LAST, "data_loss", "split", "step", "epoch"):
                raise ValueError(f"a metric can't be called {name!r}: the engine records that itself")
        for name, size in [(n, 1) for n in _SUMS] + [(n, int(np.prod(m.shape))) for n, m in self.metrics.items()]:
            self._at[name] = slice(start, start + size)
            start += size
        self._sums = start
        for name in LAST:
            self._at[name] = slice(start, start + 1)
            start += 1
        self.width = start

    def row(self, metrics: Mapping[str, tf.Tensor], **values) -> tf.Tensor:
        """The row [width] of one step or batch; what is not given is 0."""
        values = {**values, **metrics}
        parts = [
            tf.reshape(tf.cast(values[name], tf.float64), [-1])
            if name in values
            else tf.zeros([at.stop - at.start], tf.float64)
            for name, at in self._at.items()
        ]
        return tf.concat(parts, axis=0)

    def left_out(self, row: tf.Tensor) -> tf.Tensor:
        """The row of a step that was left out: its loss is as good as any, unless it was what overflowed."""
        bare = tf.concat([tf.zeros([self._sums], tf.float64), row[self._sums :]], 0)
        bare += self.row({}, steps=1, skipped_steps=1)
        return tf.where(tf.reduce_all(tf.math.is_finite(row[: self._sums])), row, bare)

    def add(self, sums: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """`sums` after the steps of `rows`: sums added up, last values replaced.

        One step after the other, so that the bits do not depend on where calls of the loop were cut.
        """
        every = np.concatenate([sums[np.newaxis, : self._sums], rows[:, : self._sums]])
        return np.concatenate([np.add.accumulate(every)[-1], rows[-1, self._sums :]])

    def get(self, row: np.ndarray, name: str) -> float:
        """One number of a row."""
        return float(row[self._at[name]][0])

    def total(self, rows: np.ndarray, name: str) -> float:
        """One number summed over rows."""
        return float(rows[:, self._at[name]].sum())

    def values(self, row: np.ndarray) -> dict[str, float]:
        """What a row of sums means: loss, data_loss and the metrics.

        data_loss = Σwℓ/Σw (0 where nothing weighs); loss adds the penalty, its mean over the examples.
        """
        weight, examples = self.get(row, "weight"), self.get(row, "examples")
        data_loss = self.get(row, "loss") / weight if weight else 0.0
        penalty = self.get(row, "penalty") / examples if examples else 0.0
        sums = self.metric_sums(row)
        results = {name: float(metric.result(sums[name])) for name, metric in self.metrics.items()}
        return {"loss": data_loss + penalty, "data_loss": data_loss, **results}

    def metric_sums(self, row: np.ndarray) -> dict[str, np.ndarray]:
        """The metrics' sums in a row, each in its metric's shape."""
        return {name: row[self._at[name]].reshape(metric.shape) for name, metric in self.metrics.items()}

    def last_values(self, row: np.ndarray) -> dict[str, float]:
        """The norms of the last step, where they were asked for."""
        return {name: self.get(row, name) for name in LAST[2:]}
