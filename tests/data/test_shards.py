"""Shards of a pipeline are contiguous parts of its batches, and together they are the batches."""

import re

import numpy as np
import pytest
import tensorflow as tf
from feeding import OnDisk, noisy, taken
from hypothesis import given, settings
from hypothesis import strategies as st

import data

# Every example traces a dataset for each shard, a quarter of a second each.
few = settings(max_examples=8)

NUMBERED = [data.Arrays(np.arange(length), labels=np.arange(length) % 3) for length in range(1, 40)]


def doubled(batch):
    return {**batch, "inputs": 2 * batch["inputs"]}


def assert_parts_make_the_batches(parts, batches):
    """`parts[shard][batch]` are elements of shards; `batches` are whole."""
    count = len(parts)
    for of_batch, batch in zip(zip(*parts, strict=True), batches, strict=True):
        n = len(batch["inputs"])
        for p, (examples, first_row, rows) in enumerate(of_batch):
            assert (first_row.dtype, rows.dtype) == (np.int64, np.int32)
            assert (first_row, first_row + rows) == (n * p // count, n * (p + 1) // count)
            assert all(len(array) == max(rows, 1) for array in examples.values())
        for name, whole in batch.items():
            joined = np.concatenate([examples[name][:rows] for examples, _, rows in of_batch])
            assert joined.dtype == whole.dtype
            np.testing.assert_array_equal(joined, whole)


@few
@given(st.data())
def test_all_shards_together_are_the_unsharded_batches_bit_for_bit(draw):
    source = draw.draw(st.sampled_from(NUMBERED))
    pipeline = data.Pipeline(
        source,
        draw.draw(st.integers(1, len(source)), "batch_size"),
        shuffle=draw.draw(st.booleans(), "shuffle"),
        drop_remainder=draw.draw(st.booleans(), "drop_remainder"),
        augment=noisy,
        transform=doubled,
    )
    count = draw.draw(st.integers(1, 4), "count")
    position = (
        draw.draw(st.integers(0, 2**30), "epoch"),
        draw.draw(st.integers(0, pipeline.steps_per_epoch), "index"),
    )
    seed, batches = draw.draw(st.integers(0, 2**64), "seed"), pipeline.steps_per_epoch + 2
    shards = [pipeline.training(seed, *position, shard=(number, count)) for number in range(count)]
    assert_parts_make_the_batches(
        [taken(shard, batches) for shard in shards], taken(pipeline.training(seed, *position), batches)
    )


@few
@given(st.sampled_from(NUMBERED), st.data())
def test_all_shards_of_an_evaluation_together_are_the_evaluation(source, draw):
    pipeline = data.Pipeline(source, draw.draw(st.integers(1, len(source))), augment=noisy, transform=doubled)
    count = draw.draw(st.integers(1, 4))
    shards = [pipeline.evaluation(shard=(number, count)) for number in range(count)]
    assert {int(shard.cardinality()) for shard in shards} == {int(pipeline.evaluation().cardinality())}
    assert_parts_make_the_batches([taken(shard, -1) for shard in shards], taken(pipeline.evaluation(), -1))


def test_an_empty_part_has_no_rows_and_one_example_of_its_batch():
    pipeline = data.Pipeline(NUMBERED[4], 3, shuffle=False, augment=noisy)
    # Batches of 3 and of 2 rows in 4 parts.
    expected = {0: [(0, 0, [0]), (0, 0, [3])], 1: [(0, 1, [0]), (0, 1, [3])], 2: [(1, 1, [1]), (1, 0, [4])]}
    for number, parts in expected.items():
        for dataset in (pipeline.training(0, shard=(number, 4)), pipeline.evaluation(shard=(number, 4))):
            found = [(first, rows, examples["inputs"].tolist()) for examples, first, rows in taken(dataset, 2)]
            assert found == parts


@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_a_source_is_asked_for_no_example_of_another_shard(mode):
    source = OnDisk(23)
    pipeline = data.Pipeline(source, 6, shuffle=False, augment=noisy)
    for number in range(3):
        source.seen.clear()
        if mode == "training":
            # What is read ahead goes on into later epochs, in the same order.
            taken(pipeline.training(0, shard=(number, 3)), 2 * pipeline.steps_per_epoch)
        else:
            taken(pipeline.evaluation(shard=(number, 3)), -1)
        parts = [range(start, min(start + 6, 23)) for start in range(0, 23, 6)]
        own = {row for part in parts for row in part[len(part) * number // 3 : len(part) * (number + 1) // 3]}
        assert set(source.seen) == own
        assert mode == "training" or len(source.seen) == len(own)


def test_augmentation_and_transform_see_only_the_rows_of_the_shard():
    sizes = []

    def noted(batch, draws=None):
        tf.numpy_function(lambda inputs: sizes.append(len(inputs)), [batch["inputs"]], [])
        return batch

    pipeline = data.Pipeline(NUMBERED[38], 13, augment=noted, transform=noted)
    taken(pipeline.training(0, shard=(1, 4)), 3)
    assert set(sizes) == {3}


def test_shards_have_one_static_shape_whose_first_dimension_is_unknown():
    pipeline = data.Pipeline(NUMBERED[9], 5, augment=noisy)
    place = (tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.int32))
    whole = pipeline.training(0).element_spec
    assert pipeline.training(0, shard=(0, 2)).element_spec == (whole, *place)
    assert pipeline.evaluation(shard=(1, 2)).element_spec == (pipeline.evaluation().element_spec, *place)


def test_an_evaluation_is_traced_once_for_each_shard():
    traces = []

    def counted(batch):
        traces.append(batch)
        return batch

    pipeline = data.Pipeline(NUMBERED[9], 5, transform=counted)
    for _ in range(2):
        for shard in (None, (0, 2), (np.int64(1), 2)):
            taken(pipeline.evaluation(shard=shard), -1)
    assert len(traces) == 3


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0), (0, -1), (0.0, 2), ("0", "2"), (0,), (0, 1, 2), 0, ()])
def test_a_shard_that_is_none_is_refused(shard):
    pipeline = data.Pipeline(NUMBERED[5], 2)
    reason = f"shard must be (number, count) with 0 <= number < count, found {shard!r}"
    with pytest.raises(ValueError, match=re.escape(reason)):
        pipeline.training(0, shard=shard)
    with pytest.raises(ValueError, match=re.escape(reason)):
        pipeline.evaluation(shard=shard)
