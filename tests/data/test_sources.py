"""Sources answer a gather, and refuse arrays and indices that do not fit."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import data

TEN = data.Arrays(np.arange(10.0), labels=np.arange(10) % 3, weights=np.ones(10), info=data.Info("ten", classes=3))


@given(npst.arrays(np.int64, st.integers(0, 20), elements=st.integers(0, 9)))
def test_a_gather_takes_the_asked_row_of_every_array(indices):
    rows = TEN[indices]
    np.testing.assert_array_equal(rows["inputs"], indices)
    np.testing.assert_array_equal(rows["labels"], indices % 3)
    np.testing.assert_array_equal(rows["weights"], np.ones(len(indices)))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.data())
def test_a_subset_is_the_source_at_its_indices(indices, draw):
    subset = data.Subset(TEN, indices)
    asked = draw.draw(st.lists(st.integers(0, len(indices) - 1), min_size=1))
    assert len(subset) == len(indices)
    assert subset.info == TEN.info
    np.testing.assert_array_equal(subset[np.array(asked)]["inputs"], [indices[row] for row in asked])
    np.testing.assert_array_equal(subset.arrays["inputs"], indices)


def test_arrays_are_not_copied_and_absent_ones_are_absent():
    inputs = np.zeros([2, 3], np.uint8)
    source = data.Arrays(inputs)
    assert list(source.arrays) == ["inputs"]
    assert np.shares_memory(source.arrays["inputs"], inputs)
    assert source.info == data.Info("arrays", input_shape=(3,))


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        (
            {"inputs": [1, 2], "labels": [1]},
            ValueError,
            r"same first dimension, found {'inputs': \(2,\), 'labels': \(1,\)}",
        ),
        ({"inputs": [1, 2], "weights": 1.0}, ValueError, "same first dimension"),
        ({"inputs": 1.0}, ValueError, "same first dimension"),
        ({"inputs": []}, ValueError, "at least one example"),
        ({"inputs": [1, 2, 3], "labels": [0, 3, -1]}, ValueError, "label in row 1 is 3, expected 0 to 2$"),
        (
            {"inputs": [1, 2], "labels": [[0, 1], [2, -1]]},
            ValueError,
            "label in row 1 is -1, expected 0 to 2$",
        ),
        ({"inputs": [1], "labels": [0.0]}, TypeError, "3 classes need integer labels, found float64"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arguments, error, reason):
    with pytest.raises(error, match=f"^three: .*{reason}"):
        data.Arrays(**arguments, info=data.Info("three", classes=3))


def test_labels_without_classes_may_be_any_number():
    assert data.Arrays([1.0], labels=[-2.5]).arrays["labels"] == [-2.5]


@pytest.mark.parametrize(
    ("indices", "error", "reason"),
    [
        ([], ValueError, "not empty"),
        ([[1]], ValueError, r"1-D and not empty, found shape \(1, 1\)"),
        ([0.5], TypeError, "integers, found float64"),
        ([0, 10], ValueError, r"indices\[1\] is 10, expected 0 to 9"),
        ([-1], ValueError, r"indices\[0\] is -1"),
    ],
)
def test_indices_that_do_not_fit_are_refused(indices, error, reason):
    with pytest.raises(error, match=reason):
        data.Subset(TEN, indices)


def test_info_is_frozen_and_counts_its_class_names():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TEN.info.classes = 4
    with pytest.raises(ValueError, match="pets: 3 classes have 2 class_names"):
        data.Info("pets", classes=3, class_names=("cat", "dog"))
