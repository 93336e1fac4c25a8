"""Sequences of one length."""

import numpy as np

_ENDS = ("pre", "post")


def pad(sequences, length=None, *, padding="post", truncating="post", value=0):
    """Sequences of integers as int32 `[sequences, length]`; None is the longest's length.

    What is shorter is padded with `value` at its begin ("pre") or its end ("post"); of what is longer, `truncating`
    says where it is cut off. Raises ValueError for other words, and for a length below 1.

    >>> pad([[5, 6, 7], [8]], 2, truncating="pre").tolist()
    [[6, 7], [8, 0]]
    """
    for name, given in (("padding", padding), ("truncating", truncating)):
        if given not in _ENDS:
            raise ValueError(f"pad: {name} must be one of {', '.join(_ENDS)}, found {given!r}")
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    length = int(lengths.max(initial=1)) if length is None else length
    if length < 1:
        raise ValueError(f"pad: length must be at least 1, found {length}")
    result, kept = np.full([len(lengths), length], value, np.int32), np.minimum(lengths, length)
    column = np.arange(length)
    there = column >= length - kept[:, np.newaxis] if padding == "pre" else column < kept[:, np.newaxis]
    cut = [
        each[len(each) - count :] if truncating == "pre" else each[:count]
        for each, count in zip(sequences, kept, strict=False)
    ]
    # Both in the order of rows.
    result[there] = np.concatenate([np.zeros(0, np.int32), *(np.asarray(each, np.int32) for each in cut)])
    return result
