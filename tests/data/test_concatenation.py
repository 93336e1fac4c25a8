"""A concatenation is its parts in a row."""

import numpy as np
import pytest
from feeding import OnDisk
from hypothesis import given
from hypothesis import strategies as st

import data


def part(start, length):
    return data.Arrays(np.arange(start, start + length), labels=np.full(length, length % 3), info=data.Info("p", 3))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_a_gather_over_parts_is_the_gather_of_their_arrays_in_a_row(lengths, draw):
    parts = [part(10 * number, length) for number, length in enumerate(lengths)]
    whole = data.concatenate(parts)
    arrays = {name: np.concatenate([one.arrays[name] for one in parts]) for name in ("inputs", "labels")}
    indices = np.array(draw.draw(st.lists(st.integers(0, sum(lengths) - 1), min_size=1, max_size=9)))
    for name, array in arrays.items():
        np.testing.assert_array_equal(whole[indices][name], array[indices])
        np.testing.assert_array_equal(whole.arrays[name], array)
        assert whole[indices][name].dtype == array.dtype
    assert len(whole) == sum(lengths)


def test_parts_on_disk_and_texts_and_sequences_are_joined_too():
    mixed = data.concatenate([OnDisk(3), data.Arrays(**OnDisk(2)[np.arange(2)], info=data.Info("b", 3))])
    assert mixed.arrays is None
    assert mixed[np.array([3, 2])]["inputs"].tolist() == [[0, 0], [2, -2]]
    texts = data.concatenate([data.load("movie_reviews"), data.load("movie_reviews", "test")])
    assert texts[np.array([0, len(texts) - 1])]["inputs"].dtype == object
    sequences = data.concatenate([data.Sequences([[1], [2, 2]]), data.Sequences([[3, 3, 3]])])
    assert sequences.lengths.tolist() == [1, 2, 3]
    assert sequences[np.array([2, 0])]["inputs"].tolist() == [[3, 3, 3], [1, 0, 0]]


def test_what_is_known_of_the_parts_is_joined():
    one = data.Arrays(np.zeros(2), info=data.Info("one", licence="MIT"))
    two = data.Arrays(np.zeros(2), info=data.Info("two", licence="MIT"))
    three = data.Arrays(np.zeros(2), info=data.Info("two", licence="BSD"))
    assert data.concatenate([one, two, three]).info == data.Info("one+two", licence="MIT; BSD")


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (data.Arrays(np.zeros(2), info=data.Info("b", 2)), r"classes of source 1 \(b\) are 2, those of source 0 are 3"),
        (data.Arrays(np.arange(2.0), labels=[0, 1], info=data.Info("b", 3)), "examples of source 1 .*float64"),
        (data.Arrays(np.zeros([2, 4], int), labels=[0, 1], info=data.Info("b", 3)), r"examples of source 1 .*\(4,\)"),
        (data.Arrays(np.arange(2), info=data.Info("b", 3)), r"examples of source 1 \(b\) are {'inputs'"),
        (data.Sequences([[1]], labels=[0], info=data.Info("b", 3)), "examples of source 1 .*sequences"),
    ],
)
def test_parts_that_differ_are_refused(other, reason):
    with pytest.raises(ValueError, match=f"^concatenate: .*{reason}"):
        data.concatenate([part(0, 2), other])


def test_nothing_is_no_source():
    with pytest.raises(ValueError, match="concatenate: expected at least one source, found none"):
        data.concatenate([])
