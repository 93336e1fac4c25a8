"""How a batch is cut into parts."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import data
from engine import slices

ROWS = st.integers(0, 2**31 - 1) | st.integers(0, 50)
COUNTS = st.integers(1, 40)


@given(ROWS, COUNTS)
def test_parts_are_contiguous_cover_everything_and_differ_by_one_row_at_most(rows, count):
    parts = [tuple(int(value) for value in slices.part(rows, number, count)) for number in range(count)]
    assert parts[0][0] == 0
    for (first, size), (following, _) in zip(parts, [*parts[1:], (rows, 0)], strict=True):
        assert first + size == following
    sizes = [size for _, size in parts]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(2**31 - 100, 2**31 - 1), st.integers(1, 40_000), st.data())
def test_parts_stay_exact_at_the_end_of_32_bits(rows, count, drawn):
    number = drawn.draw(st.integers(0, count - 1))
    first, size = (int(value) for value in slices.part(rows, number, count))
    assert (first, first + size) == (rows * number // count, rows * (number + 1) // count)


@settings(max_examples=8)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 4))
def test_workers_read_the_parts_that_replicas_would_take(examples, workers, batches):
    batch_size = -(-examples // batches)
    pipeline = data.Pipeline(data.Arrays(np.arange(examples)), batch_size, shuffle=False)
    for worker in range(workers):
        for start, (batch, first, rows) in zip(
            range(0, examples, batch_size), pipeline.evaluation(shard=(worker, workers)), strict=True
        ):
            expected = slices.part(min(batch_size, examples - start), worker, workers)
            assert (int(first), int(rows)) == tuple(int(value) for value in expected)
            held = batch["inputs"].numpy()
            assert len(held) == max(1, rows)
            if rows:
                np.testing.assert_array_equal(held, start + first + np.arange(rows))


@given(st.integers(1, 9), st.data())
def test_a_slice_is_its_rows(rows, drawn):
    first = drawn.draw(st.integers(0, rows - 1))
    count = drawn.draw(st.integers(1, rows - first))
    inputs = np.arange(2 * rows).reshape(rows, 2)
    taken = slices.take({"inputs": tf.constant(inputs), "scalar": tf.constant(7)}, first, count)
    assert taken["scalar"] == 7
    np.testing.assert_array_equal(taken["inputs"], inputs[first : first + count])


def test_ragged_rows_are_cut_and_sparse_ones_are_refused():
    ragged = tf.ragged.constant([[1], [2, 3], []])
    assert slices.take({"inputs": ragged}, 1, 2)["inputs"].to_list() == [[2, 3], []]
    with pytest.raises(ValueError, match="can't hold the sparse"):
        slices.take({"inputs": tf.ones([3, 2]), "more": tf.sparse.from_dense(tf.ones([3, 2]))}, 1, 2)


@pytest.mark.parametrize("first", [0, 2, 3])
def test_an_empty_slice_is_one_row(first):
    """Never none: convolutions on 0 rows are wrong on some processors."""
    assert slices.take({"inputs": tf.ones([3, 2])}, first, 0)["inputs"].shape == (1, 2)


def test_a_batch_of_scalars_has_no_rows():
    with pytest.raises(ValueError, match="a batch must hold at least one tensor"):
        slices.batch_rows({"temperature": tf.constant(1.0)})
