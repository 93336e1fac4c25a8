"""A source of sequences gives back what it was made of, padded to the longest that was asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import data

sequences = st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5), min_size=1, max_size=6)


@given(sequences, st.data())
def test_a_gather_is_the_sequences_asked_for_with_zeros_at_their_ends(rows, draw):
    indices = draw.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=9))
    source = data.Sequences(rows, labels=np.arange(len(rows)))
    found = source[np.array(indices)]
    width = max(len(rows[index]) for index in indices)
    assert found["inputs"].dtype == source.lengths.dtype == np.int32
    assert found["inputs"].tolist() == [rows[index] + [0] * (width - len(rows[index])) for index in indices]
    assert (found["labels"].tolist(), source.lengths.tolist()) == (indices, [len(row) for row in rows])
    assert (len(source), source.arrays, source.info.input_shape) == (len(rows), None, (None,))


@pytest.mark.parametrize(
    ("inputs", "options", "reason"),
    [
        ([], {}, "expected at least one sequence, found none"),
        ([[1], [0.5]], {}, r"row 1 must be a 1-D array of integers, found float64 of shape \(1,\)"),
        ([[1], [[2]]], {}, r"row 1 must be a 1-D array of integers, found int64 of shape \(1, 1\)"),
        ([[1, 2], [], [3, 2**31]], {}, f"row 2 holds {2**31}, expected what fits int32"),
        ([[1], [2]], {"labels": [0]}, r"expected 2 labels, found shape \(1,\)"),
        ([[1], [2]], {"labels": [0, 2], "info": data.Info("words", 2)}, "the label in row 1 is 2"),
    ],
)
def test_what_is_no_sequence_is_refused_with_its_row(inputs, options, reason):
    with pytest.raises((TypeError, ValueError), match=f"^(sequences|words): .*{reason}"):
        data.Sequences(inputs, **options)
