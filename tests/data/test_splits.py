"""A split is a partition, a function of its seed, and proportional in every class."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import data

labels_lists = st.lists(st.integers(0, 4), min_size=20, max_size=200)


def numbered(labels):
    return data.Arrays(np.arange(len(labels)), labels=np.array(labels))


def members(part):
    return part.arrays["inputs"].tolist()


@given(labels_lists, st.sampled_from([(1,), (0.9, 0.1), (0.5, 0.3, 0.2)]), st.integers(), st.booleans())
def test_the_parts_are_disjoint_and_cover_the_source(labels, shares, seed, stratify):
    parts = data.split(numbered(labels), dict(enumerate(shares)), seed, stratify)
    assert sorted(itertools.chain(*map(members, parts.values()))) == list(range(len(labels)))
    for part, share in zip(parts.values(), shares, strict=True):
        # Two borders, each rounded to the nearest example.
        assert abs(len(part) - share * len(labels)) <= 1


@given(labels_lists, st.floats(0.1, 0.9), st.integers())
def test_each_class_is_within_one_example_of_its_share(labels, share, seed):
    part = data.split(numbered(labels), {"a": share, "b": 1 - share}, seed)["a"]
    exact = np.bincount(labels) * len(part) / len(labels)
    found = np.bincount(part.arrays["labels"], minlength=len(exact))
    # Below one in exact arithmetic; the slack is float64's rounding.
    assert np.all(np.abs(found - exact) < 1 + 1e-9)


def test_a_split_is_a_function_of_its_seed():
    source = numbered([0, 1] * 50)
    shares = {"train": 0.9, "validation": 0.1}
    validation = [members(data.split(source, shares, seed)["validation"]) for seed in [0, *range(100), -1, 2**64]]
    assert validation[0] == validation[1]
    assert len(set(map(tuple, validation[1:]))) == 102


def test_every_example_is_as_likely_as_any_other_to_be_in_a_part():
    source = numbered([0] * 8 + [1] * 32)
    drawn = np.zeros(40)
    for seed in range(1000):
        drawn[members(data.split(source, {"train": 0.75, "validation": 0.25}, seed)["validation"])] += 1
    # 250 ± 13.7 expected of each; five deviations leave one failure in 40,000 for all forty together.
    assert np.all(np.abs(drawn - 250) < 5 * 13.7)


def test_a_source_that_is_not_in_memory_is_split_the_same_way():
    class OnDisk:
        arrays, info = None, data.Info("on_disk")

        def __len__(self):
            return 5000

        def __getitem__(self, indices):
            return {"inputs": indices, "labels": indices % 7}

    shares = {"train": 0.8, "validation": 0.2}
    found = data.split(OnDisk(), shares, seed=3)
    expected = data.split(data.Arrays(np.arange(5000), labels=np.arange(5000) % 7), shares, seed=3)
    for name in shares:
        assert found[name].arrays is None
        np.testing.assert_array_equal(found[name].indices, expected[name].indices)


@pytest.mark.parametrize(
    ("fractions", "reason"),
    [
        ({}, "positive and sum to 1"),
        ({"train": 0.9}, "positive and sum to 1, found {'train': 0.9}"),
        ({"train": 1.5, "validation": -0.5}, "positive and sum to 1"),
        ({"train": float("nan")}, "positive and sum to 1"),
        ({"train": 0.99, "validation": 0.01}, "'validation' gets none of 4 examples, at 0.01"),
    ],
)
def test_shares_that_are_no_partition_are_refused(fractions, reason):
    with pytest.raises(ValueError, match=reason):
        data.split(numbered([0, 0, 1, 1]), fractions)


def test_stratifying_needs_one_label_per_example():
    halves = {"a": 0.5, "b": 0.5}
    with pytest.raises(ValueError, match="split: arrays has no labels; pass stratify=False"):
        data.split(data.Arrays(np.arange(4)), halves)
    with pytest.raises(ValueError, match=r"one label per example is needed, found \(4, 2\)"):
        data.split(data.Arrays(np.arange(4), labels=np.zeros([4, 2])), halves)
    assert len(data.split(data.Arrays(np.arange(4)), halves, stratify=False)["a"]) == 2


class Unread:
    """A source that knows its labels, and whose examples must not be read for them."""

    arrays, info, labels = None, data.Info("unread", 2), np.array([0, 1, 1, 0, 1, 1])

    def __len__(self):
        return 6


def test_where_labels_are_known_no_example_is_read_to_stratify():
    parts = data.split(Unread(), {"a": 0.5, "b": 0.5})
    assert [sorted(part.labels) for part in parts.values()] == [[0, 1, 1]] * 2


@pytest.mark.parametrize(
    "pick",
    [lambda stream: data.split(stream, {"a": 1.0}), data.balanced, lambda stream: data.concatenate([stream])],
    ids=["split", "balanced", "concatenate"],
)
def test_a_stream_s_examples_can_not_be_picked(pick):
    class Stream:
        length, info = None, data.Info("records")

    with pytest.raises(ValueError, match=r"^\w+: records is a stream, whose examples can't be picked"):
        pick(Stream())
