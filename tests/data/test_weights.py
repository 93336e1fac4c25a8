"""Weights given to a pipeline multiply what its source has, in training and in evaluation."""

import numpy as np
import pytest
from feeding import taken

import data

SOURCE = data.Arrays(
    np.arange(6), labels=[0, 1, 2, 0, 1, 2], weights=np.float64([1, 1, 1, 2, 2, 0]), info=data.Info("six", 3)
)
PLAIN = data.Arrays(np.arange(6), labels=[0, 1, 2, 0, 1, 2], info=data.Info("six", 3))


def weights(batches):
    rows = np.concatenate([batch["inputs"] for batch in batches])
    found = np.concatenate([batch["weights"] for batch in batches])
    assert found.dtype == np.float32
    return found[rows.argsort()].tolist()


@pytest.mark.parametrize(
    ("source", "given", "expected"),
    [
        (PLAIN, {0: 3, 2: 0.5}, [3, 1, 0.5, 3, 1, 0.5]),
        (SOURCE, {0: 3, 2: 0.5}, [3, 1, 0.5, 6, 2, 0]),
        (PLAIN, np.arange(6), [0, 1, 2, 3, 4, 5]),
        (SOURCE, [0, 1, 2, 3, 4, 5], [0, 1, 2, 6, 8, 0]),
        (SOURCE, {}, [1, 1, 1, 2, 2, 0]),
    ],
)
def test_weights_by_class_or_by_example_multiply_those_of_the_source(source, given, expected):
    pipeline = data.Pipeline(source, 4, weights=given)
    assert weights(taken(pipeline.training(0), 2)) == expected
    assert weights(taken(pipeline.evaluation(), -1)) == expected


def test_without_weights_there_are_those_of_the_source_or_none():
    assert "weights" not in taken(data.Pipeline(PLAIN, 4).training(0), 1)[0]
    assert taken(data.Pipeline(SOURCE, 4).training(0), 1)[0]["weights"].dtype == np.float64


def test_an_augmentation_and_a_transform_find_the_weights_and_may_change_them():
    pipeline = data.Pipeline(
        PLAIN,
        6,
        weights={0: 3},
        augment=lambda batch, draws: {**batch, "weights": batch["weights"] + 1, "labels": batch["labels"] * 2},
        transform=lambda batch: {**batch, "weights": batch["weights"] * 2},
    )
    assert weights(taken(pipeline.training(0), 1)) == [8, 4, 4, 8, 4, 4]
    assert weights(taken(pipeline.evaluation(), 1)) == [6, 2, 2, 6, 2, 2]
    assert set(taken(pipeline.training(0), 1)[0]["labels"]) == {0, 2, 4}


def test_one_weight_of_an_example_counts_for_all_its_elements():
    labels = np.array([[0, 1], [1, 1]])
    source = data.Arrays(np.arange(2), labels, weights=[1.0, 2.0], info=data.Info("tags", 2))
    batch = taken(data.Pipeline(source, 2, weights={1: 3}).evaluation(), 1)[0]
    assert batch["weights"].tolist() == [[1, 3], [6, 6]]
    deep = data.Arrays(np.arange(2), labels, weights=[[1.0, 0], [1, 1]], info=data.Info("tags", 2))
    batch = taken(data.Pipeline(deep, 2, weights=[2, 4]).evaluation(), 1)[0]
    assert batch["weights"].tolist() == [[2, 0], [4, 4]]


def test_weights_of_examples_stay_with_them_in_a_balanced_view():
    view = data.balanced(PLAIN, per_class=4)
    batches = taken(data.Pipeline(view, 5, weights=10.0 * np.arange(6)).training(0), 3)
    for batch in batches:
        np.testing.assert_array_equal(batch["weights"], 10 * batch["inputs"])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([1, 2], r"weights must be a mapping by class, or an array of 6 numbers, found int64 of shape \(2,\)"),
        (["a"] * 6, r"found <U1 of shape \(6,\)"),
        (2.0, r"found float64 of shape \(\)"),
        ([1, 1, 1, -1, 1, 1], "the weight of row 3 is -1, expected 0 or more"),
        ({1: np.nan}, "the weight of class 1 is nan, expected 0 or more"),
        ({3: 1}, "weights name class 3, expected 0 to 2"),
        ({"one": 1}, "weights name class 'one', expected 0 to 2"),
    ],
)
def test_what_is_no_weight_is_refused(given, reason):
    with pytest.raises(ValueError, match=f"^Pipeline: .*{reason}$"):
        data.Pipeline(PLAIN, 2, weights=given)


def test_weights_by_class_need_classes_and_labels():
    with pytest.raises(ValueError, match="need a source with classes, and arrays has none"):
        data.Pipeline(data.Arrays(np.arange(3), [0, 1, 0]), 2, weights={0: 1})
    pipeline = data.Pipeline(data.Arrays(np.arange(3), info=data.Info("bare", 2)), 2, weights={0: 1})
    with pytest.raises(ValueError, match="weights by class need labels, and bare has none"):
        pipeline.training(0)
