"""Sequences are shuffled, come in batches of like lengths, and are padded to few widths."""

import numpy as np
import pytest
import tensorflow as tf
from feeding import assert_equal_batches, taken
from hypothesis import given, settings
from hypothesis import strategies as st

import data

few = settings(max_examples=6)


def numbered(lengths):
    """Row n is n+1 as often as its length."""
    rows = [np.full(length, number + 1) for number, length in enumerate(lengths)]
    return data.Sequences(rows, labels=np.arange(len(rows)))


@few
@given(st.lists(st.integers(1, 30), min_size=1, max_size=400), st.data())
def test_an_epoch_has_each_sequence_once_whole_and_padded_with_zeros(lengths, draw):
    pipeline = data.Pipeline(
        numbered(lengths), draw.draw(st.integers(1, len(lengths))), drop_remainder=draw.draw(st.booleans())
    )
    batches = taken(pipeline.training(draw.draw(st.integers(0, 99)), 3), pipeline.steps_per_epoch)
    seen = np.concatenate([batch["labels"] for batch in batches])
    assert len(set(seen)) == len(seen) >= pipeline.steps_per_epoch * pipeline.batch_size - pipeline.batch_size + 1
    assert len({batch["inputs"].shape[1] for batch in batches}) <= 7
    for batch in batches:
        inputs, found = batch["inputs"], batch["lengths"]
        assert inputs.dtype == found.dtype == np.int32
        inside = np.arange(inputs.shape[1]) < np.array(lengths)[batch["labels"]][:, np.newaxis]
        np.testing.assert_array_equal(inputs, inside * (batch["labels"][:, np.newaxis] + 1))
        np.testing.assert_array_equal(found, inside.sum(axis=1))
    sizes = {len(batch["labels"]) for batch in batches[:-1]}
    assert sizes <= {pipeline.batch_size}


def words(texts):
    """Ids of words from 1 on, in the order in which they come."""
    known = {}
    return [[known.setdefault(word, len(known) + 1) for word in text.split()] for text in texts]


@pytest.fixture(scope="module")
def reviews():
    source = data.load("movie_reviews")
    return data.Sequences(words(source.arrays["inputs"]), source.arrays["labels"], info=source.info)


@pytest.mark.parametrize("batch_size", [16, 64, 128])
def test_less_than_15_per_cent_of_the_tokens_of_reviews_are_padding(reviews, batch_size):
    pipeline = data.Pipeline(reviews, batch_size)
    batches = taken(pipeline.training(0), pipeline.steps_per_epoch)
    tokens = sum(int(batch["lengths"].sum()) for batch in batches)
    assert tokens == reviews.lengths.sum()
    assert 1 - tokens / sum(batch["inputs"].size for batch in batches) < 0.15
    assert len({batch["inputs"].shape[1] for batch in batches}) < 8


def test_a_function_of_batches_is_traced_once(reviews):
    dataset = data.Pipeline(reviews, 64).training(0)
    assert dataset.element_spec == {
        "inputs": tf.TensorSpec([None, None], tf.int32),
        "labels": tf.TensorSpec([None], tf.int32),
        "lengths": tf.TensorSpec([None], tf.int32),
    }


def test_epochs_differ_in_who_is_together_and_in_which_widths_follow_each_other(reviews):
    pipeline = data.Pipeline(reviews, 64)
    epochs = [taken(pipeline.training(0, epoch), pipeline.steps_per_epoch) for epoch in (0, 1)]
    widths = [[batch["inputs"].shape[1] for batch in epoch] for epoch in epochs]
    together = [{frozenset(batch["inputs"][:, 0]) for batch in epoch} for epoch in epochs]
    assert widths[0] != widths[1]
    assert not together[0] & together[1]
    # Long ones and short ones come at any time: a ramp would correlate.
    for found in widths:
        assert abs(np.corrcoef(np.arange(64), found[:64])[0, 1]) < 0.5


def test_every_example_is_as_likely_at_every_place_of_an_epoch():
    """Examples of one length each: the mean place over epochs is the middle, whatever the length."""
    pipeline, epochs = data.Pipeline(numbered([*range(1, 31)] * 4), 1), 20
    dataset = pipeline.training(0).take(120 * epochs)
    order = np.array([int(batch["labels"][0]) for batch in dataset.as_numpy_iterator()]).reshape(epochs, 120)
    places = order.argsort(axis=1).reshape(epochs, 4, 30).mean(axis=(0, 1))
    # 80 places each, nearly uniform in 0 … 119, have a mean of standard deviation 34.6 / √80 = 3.9.
    assert np.all(abs(places - 59.5) < 5 * 3.9)


def test_evaluation_keeps_the_order_of_the_source(reviews):
    batches = taken(data.Pipeline(reviews, 500).evaluation(), -1)
    np.testing.assert_array_equal(np.concatenate([batch["lengths"] for batch in batches]), reviews.lengths)
    assert len({batch["inputs"].shape[1] for batch in batches}) <= 7


def test_without_shuffle_the_order_is_that_of_the_source():
    pipeline = data.Pipeline(numbered([5, 1, 9, 2, 2]), 2, shuffle=False)
    assert_equal_batches(taken(pipeline.training(0, 7), 3), taken(pipeline.evaluation(), -1))


class Tagged:
    """Sequences with a label for each element, made as they are asked for."""

    arrays, info, lengths = None, data.Info("tagged"), np.array([3, 1, 2])

    def __len__(self):
        return 3

    def __getitem__(self, indices):
        lengths = self.lengths[indices]
        inside = np.arange(lengths.max()) < lengths[:, np.newaxis]
        features = np.repeat((inside * (indices[:, np.newaxis] + 1.0))[..., np.newaxis], 2, axis=2)
        return {"inputs": features, "labels": inside.astype(np.int32), "weights": lengths.astype(np.float32)}


def test_whatever_has_a_value_for_each_element_is_padded_with_it():
    batch = taken(data.Pipeline(Tagged(), 2, shuffle=False).training(0), 2)[1]
    assert batch["inputs"].tolist() == [[[3.0, 3.0], [3.0, 3.0]]]
    pipeline = data.Pipeline(Tagged(), 3, shuffle=False)
    assert pipeline.training(0).element_spec["inputs"] == tf.TensorSpec([None, None, 2], tf.float64)
    batch = taken(pipeline.training(0), 1)[0]
    assert batch["labels"].tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert batch["weights"].tolist() == batch["lengths"].tolist() == [3, 1, 2]


def test_sequences_of_one_length_are_not_padded():
    batch = taken(data.Pipeline(numbered([4, 4, 4]), 2).training(0), 1)[0]
    assert batch["inputs"].shape == (2, 4)
