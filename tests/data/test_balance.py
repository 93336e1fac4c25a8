"""A balanced epoch has as many of each class, and over epochs everybody has a turn."""

import itertools

import numpy as np
import pytest
from feeding import OnDisk, taken
from hypothesis import given, settings
from hypothesis import strategies as st

import data


def source(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return data.Arrays(np.arange(len(labels)), labels, info=data.Info("unequal", len(counts)))


@settings(max_examples=6)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.none() | st.integers(1, 12), st.data())
def test_every_epoch_draws_each_class_equally_and_epochs_draw_everybody_equally(counts, per_class, draw):
    view = data.balanced(source(counts), per_class, seed=draw.draw(st.integers(0, 9)))
    pipeline = data.Pipeline(view, draw.draw(st.integers(1, len(view))))
    each = max(counts) if per_class is None else per_class
    assert len(view) == pipeline.examples == each * len(counts)
    epoch = draw.draw(st.integers(0, 1000))
    batches = taken(pipeline.training(1, epoch), 5 * pipeline.steps_per_epoch)
    drawn = np.zeros(sum(counts), int)
    for start in range(0, len(batches), pipeline.steps_per_epoch):
        here = batches[start : start + pipeline.steps_per_epoch]
        assert np.bincount(np.concatenate([batch["labels"] for batch in here])).tolist() == [each] * len(counts)
        drawn += np.bincount(np.concatenate([batch["inputs"] for batch in here]), minlength=len(drawn))
    for begin, end in itertools.pairwise(np.cumsum([0, *counts])):
        assert np.ptp(drawn[begin:end]) <= 1


def test_reading_the_view_gives_its_first_epoch():
    view = data.balanced(source([5, 1, 2]))
    rows = view[np.arange(15)]
    assert np.bincount(rows["labels"]).tolist() == [5, 5, 5]
    evaluated = taken(data.Pipeline(view, 4).evaluation(), -1)
    np.testing.assert_array_equal(np.concatenate([batch["inputs"] for batch in evaluated]), rows["inputs"])
    trained = taken(data.Pipeline(view, 15).training(0), 1)[0]
    assert sorted(trained["inputs"]) == sorted(rows["inputs"])


def test_who_has_a_turn_first_is_drawn_from_the_seed():
    firsts = {data.balanced(source([20]), 3, seed)[np.arange(3)]["inputs"].tobytes() for seed in range(5)}
    assert len(firsts) == 5


def test_a_source_that_is_not_in_memory_is_balanced_too():
    batch = taken(data.Pipeline(data.balanced(OnDisk(7)), 9).training(0), 1)[0]
    assert np.bincount(batch["labels"]).tolist() == [3, 3, 3]


@pytest.mark.parametrize(
    ("given", "options", "reason"),
    [
        (data.Arrays(np.arange(3)), {}, "balanced: arrays has no labels$"),
        (data.Arrays(np.arange(2), np.zeros([2, 2])), {}, r"balanced: one label per example is needed, found \(2, 2\)"),
        (source([2, 0, 1]), {}, "balanced: unequal has no example of class 1: leave the class out"),
        (source([2, 1]), {"per_class": 0}, "balanced: per_class must be at least 1, found 0"),
    ],
)
def test_what_can_not_be_balanced_is_refused(given, options, reason):
    with pytest.raises(ValueError, match=reason):
        data.balanced(given, **options)
