"""A pipeline is a function of (seed, epoch, index), and an epoch is every example once."""

import functools
import itertools
import re
import time

import numpy as np
import pytest
import tensorflow as tf
from feeding import OnDisk, assert_equal_batches, noisy, taken
from hypothesis import given, settings
from hypothesis import strategies as st

import data

# Every example traces two datasets, a quarter of a second each.
few = settings(max_examples=8)

NUMBERED = [data.Arrays(np.arange(length), labels=np.arange(length) % 3) for length in range(1, 40)]


@st.composite
def pipelines(draw):
    source = draw(st.sampled_from([*NUMBERED, OnDisk(23)]))
    batch_size = draw(st.integers(1, len(source)))
    return data.Pipeline(
        source, batch_size, shuffle=draw(st.booleans()), augment=noisy, drop_remainder=draw(st.booleans())
    )


@few
@given(pipelines(), st.integers(0, 2**64), st.integers(0, 2**30))
def test_an_epoch_sees_each_example_exactly_once(pipeline, seed, epoch):
    batches = taken(pipeline.training(seed, epoch), pipeline.steps_per_epoch)
    sizes = [len(batch["labels"]) for batch in batches]
    seen = np.concatenate([batch["inputs"].reshape(size, -1)[:, 0] for batch, size in zip(batches, sizes, strict=True)])
    assert len(set(seen)) == len(seen)
    assert set(sizes[:-1]) <= {pipeline.batch_size}
    whole = len(seen) == pipeline.examples
    assert whole or sizes[-1] == pipeline.batch_size > pipeline.examples - len(seen)
    np.testing.assert_array_equal(seen % 3, np.concatenate([batch["labels"] for batch in batches]))


@few
@given(st.sampled_from(NUMBERED), st.data())
def test_neither_order_nor_augmentation_depends_on_the_batch_size(source, draw):
    sizes = st.integers(1, len(source))
    epochs = []
    for batch_size in (draw.draw(sizes), draw.draw(sizes)):
        pipeline = data.Pipeline(source, batch_size, augment=noisy)
        batches = taken(pipeline.training(5, epoch=1), pipeline.steps_per_epoch)
        epochs.append({name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]})
    assert_equal_batches(*[[epoch] for epoch in epochs])


def test_the_end_of_an_epoch_is_the_start_of_the_next():
    pipeline = data.Pipeline(NUMBERED[9], 3, augment=noisy)
    assert_equal_batches(taken(pipeline.training(0, 1, index=4), 4), taken(pipeline.training(0, 2), 4))


def test_epochs_and_seeds_differ_in_order_and_in_augmentation():
    pipeline = data.Pipeline(NUMBERED[-1], 39, augment=noisy)
    epochs = [taken(pipeline.training(seed), 5) for seed in (0, 1, -1)]
    for name in ("inputs", "noise"):
        assert len({batch[name].tobytes() for batch in itertools.chain(*epochs)}) == 15


def test_a_source_on_disk_feeds_as_one_in_memory_does():
    on_disk = OnDisk(11)
    in_memory = data.Arrays(**on_disk[np.arange(11)])
    found, expected = (data.Pipeline(source, 4, augment=noisy) for source in (on_disk, in_memory))
    assert found.training(0).element_spec == expected.training(0).element_spec
    assert_equal_batches(taken(found.training(1), 7), taken(expected.training(1), 7))
    assert_equal_batches(taken(found.evaluation(), -1), taken(expected.evaluation(), -1))


@pytest.mark.parametrize("drop_remainder", [False, True])
def test_every_batch_has_one_static_shape_whose_first_dimension_is_unknown(drop_remainder):
    pipeline = data.Pipeline(NUMBERED[9], 5, augment=noisy, drop_remainder=drop_remainder)
    assert pipeline.training(0).element_spec == {
        "inputs": tf.TensorSpec([None], tf.int64),
        "labels": tf.TensorSpec([None], tf.int64),
        "noise": tf.TensorSpec([None, 3], tf.float32),
        "coin": tf.TensorSpec([None], tf.float32),
    }


@few
@given(st.sampled_from(NUMBERED), st.data(), st.booleans())
def test_evaluation_reads_all_in_source_order_unaugmented(source, draw, drop_remainder):
    batch_size = draw.draw(st.integers(1, len(source)))
    pipeline = data.Pipeline(source, batch_size, augment=noisy, drop_remainder=drop_remainder)
    batches = taken(pipeline.evaluation(), -1)
    assert pipeline.evaluation().cardinality() == len(batches) == -(-len(source) // batch_size)
    assert all(batch.keys() == {"inputs", "labels"} for batch in batches)
    np.testing.assert_array_equal(np.concatenate([batch["inputs"] for batch in batches]), np.arange(len(source)))


def test_training_augments_before_it_transforms_and_evaluation_only_transforms():
    dtypes = []

    def augment(batch, draws):
        dtypes.append(batch["inputs"].dtype)
        return {**batch, "inputs": batch["inputs"] + tf.constant(100, tf.uint8)}

    source = data.Arrays(np.array([[0], [155]], np.uint8))
    pipeline = data.Pipeline(source, 2, shuffle=False, augment=augment, transform=data.to_float)
    expected = np.float32([[100], [255]]) / np.float32(255)
    np.testing.assert_array_equal(taken(pipeline.training(0), 1)[0]["inputs"], expected)
    assert dtypes == [tf.uint8]
    np.testing.assert_array_equal(
        taken(pipeline.evaluation(), 1)[0]["inputs"], np.float32([[0], [155]]) / np.float32(255)
    )


def test_to_float_divides_bytes_by_255_and_refuses_all_else():
    every_byte = np.arange(256, dtype=np.uint8)
    found = data.to_float({"inputs": tf.constant(every_byte), "labels": 1})
    np.testing.assert_array_equal(found["inputs"], every_byte.astype(np.float32) / np.float32(255))
    assert found["labels"] == 1
    with pytest.raises(TypeError, match="to_float: inputs must be uint8, found float32"):
        data.to_float({"inputs": tf.constant(0.5)})


@pytest.mark.parametrize("batch_size", [0, -1, 7, 2.0, "2", None, True])
def test_a_batch_size_that_no_batch_can_have_is_refused_with_both_numbers(batch_size):
    reason = f"batch_size must be an integer from 1 to 6, the size of arrays, found {re.escape(repr(batch_size))}"
    with pytest.raises(ValueError, match=reason):
        data.Pipeline(NUMBERED[5], batch_size)


@pytest.mark.parametrize(("epoch", "index"), [(-1, 0), (0, -1), (0, 4)])
def test_a_position_outside_every_epoch_is_refused(epoch, index):
    with pytest.raises(ValueError, match=f"epoch >= 0 and index from 0 to 3, found epoch {epoch} and index {index}"):
        data.Pipeline(NUMBERED[5], 2).training(0, epoch, index)


def test_an_error_in_an_augmentation_is_raised_as_it_is():
    def broken(batch, draws):
        raise KeyError("masks")

    with pytest.raises(KeyError, match=r"^'masks'$"):
        data.Pipeline(NUMBERED[5], 2, augment=broken).training(0)


def test_a_pipeline_says_what_it_feeds():
    source = NUMBERED[9]
    make = functools.partial(data.Pipeline, source)
    assert (make(3).source, make(3).info, make(3).examples, make(3).batch_size) == (
        source,
        source.info,
        10,
        3,
    )
    assert [
        make(3).steps_per_epoch,
        make(3, drop_remainder=True).steps_per_epoch,
        make(5).steps_per_epoch,
    ] == [4, 3, 2]
    assert type(make(np.int32(3)).batch_size) is int


def test_starting_does_not_take_longer_for_a_longer_source_or_a_later_epoch():
    pipeline = data.Pipeline(OnDisk(10**12), 8, augment=noisy)
    batch = taken(pipeline.training(0, epoch=10**6, index=10**11), 1)[0]
    assert batch["inputs"].shape == (8, 2)
    assert np.all(batch["inputs"][:, 0] < 10**12)


@pytest.mark.parametrize(("features", "least", "most"), [(1, 9, 12), (1 << 19, 3, 6)])
def test_small_batches_are_read_further_ahead_than_large_ones(features, least, most):
    source = OnDisk(64)
    pipeline = data.Pipeline(
        source, 2, workers=1, transform=lambda batch: {**batch, "inputs": tf.zeros([2, features])}, shuffle=False
    )
    batches = iter(pipeline.training(0))
    next(batches)
    deadline, read = time.monotonic() + 30, 0
    while (len(source.seen) < 2 * least or len(source.seen) > read) and time.monotonic() < deadline:
        read = len(source.seen)
        time.sleep(0.2)
    assert 2 * least <= read <= 2 * most
