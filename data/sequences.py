"""Sequences of different lengths as a source, such as the tokens of texts."""

import dataclasses

import numpy as np

from data.sources import Info, check_labels, check_weights


class Sequences:
    """A source in memory of sequences of different lengths: of ids of tokens, mostly.

    inputs: the sequences, 1-D arrays or lists of integers. 0 is what they are padded with, so ids begin at 1.
    labels, weights: `[examples, …]` or None, as in `Arrays`; they keep their dtypes and are not copied.

    `lengths` is int32 `[examples]`. `source[indices]` has `inputs` as int32 `[rows, longest of these rows]`, with zeros
    at the ends of the others. What is held is one number an element, without padding. A pipeline over it makes batches
    of sequences of like lengths: see `data.sources`.

    Raises ValueError or TypeError naming the row for sequences that are not 1-D, or not of integers that fit int32.

    >>> source = Sequences([[5, 3, 8], [4]], labels=[1, 0])
    >>> source.lengths, source[np.array([1, 0])]["inputs"]
    (array([3, 1], dtype=int32), array([[4, 0, 0],
           [5, 3, 8]], dtype=int32))
    """

    arrays = None

    def __init__(self, inputs, labels=None, weights=None, *, info=None):
        info = info or Info("sequences")
        rows = [np.asarray(row) for row in inputs]
        if not rows:
            raise ValueError(f"{info.name}: expected at least one sequence, found none")
        for number, row in enumerate(rows):
            # An empty list is an array of floats.
            if row.ndim != 1 or (row.size and row.dtype.kind not in "iu"):
                found = f"{row.dtype} of shape {row.shape}"
                raise TypeError(f"{info.name}: row {number} must be a 1-D array of integers, found {found}")
        self.lengths = np.array([row.size for row in rows], np.int32)
        values = np.concatenate(rows).astype(np.int64, copy=False)
        self._values = values.astype(np.int32)
        wrong = np.flatnonzero(self._values != values)
        self._starts = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        if wrong.size:
            row = np.searchsorted(self._starts, wrong[0], "right") - 1
            raise ValueError(f"{info.name}: row {row} holds {values[wrong[0]]}, expected what fits int32")
        given = {"labels": labels, "weights": weights}
        self._others = {name: np.asarray(array) for name, array in given.items() if array is not None}
        for name, array in self._others.items():
            if array.shape[:1] != (len(rows),):
                raise ValueError(f"{info.name}: expected {len(rows)} {name}, found shape {array.shape}")
        self.info = dataclasses.replace(info, input_shape=(None,))
        check_labels(self._others, self.info)
        check_weights(self._others, self.info)

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, indices):
        lengths = self.lengths[indices].astype(np.int64)
        inside = np.arange(lengths.max(initial=0)) < lengths[:, np.newaxis]
        inputs = np.zeros(inside.shape, np.int32)
        # In the order of rows: where each begins, and how far on within it.
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        inputs[inside] = self._values[np.repeat(self._starts[indices], lengths) + within]
        return {"inputs": inputs, **{name: array[indices] for name, array in self._others.items()}}
