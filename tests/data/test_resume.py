"""Whatever is fed, a pipeline resumed anywhere yields the very batches that would have come, and a shard its part."""

import numpy as np
import pytest
from feeding import OnDisk, assert_equal_batches, noisy, taken
from hypothesis import given, settings
from hypothesis import strategies as st

import data


def sequences(length):
    rng = np.random.default_rng(length)
    rows = [rng.integers(1, 100, rng.integers(1, 9)) for _ in range(length)]
    return data.Sequences(rows, labels=np.arange(length) % 3, info=data.Info("rows", 3))


def in_memory(length):
    return data.Arrays(np.arange(length), labels=np.arange(length) % 3, info=data.Info("numbers", 3))


SOURCES = {
    "in memory": in_memory,
    "on disk": OnDisk,
    "sequences": sequences,
    "subset": lambda length: data.Subset(sequences(length + 3), np.arange(length)[::-1]),
    "concatenated": lambda length: data.concatenate([OnDisk(1), OnDisk(length)]),
    "balanced": lambda length: data.balanced(sequences(length + 3), per_class=max(1, length // 3)),
    # Longer than what is sorted to be shuffled.
    "long": lambda length: in_memory(1100 + length),
}


@st.composite
def pipelines(draw):
    source = SOURCES[draw(st.sampled_from(sorted(SOURCES)), "source")](draw(st.integers(1, 40), "length"))
    return data.Pipeline(
        source,
        # So that an epoch has more batches than are planned at a time, or few, or one.
        draw(st.integers(1, min(len(source), 5)) | st.integers(1, len(source)), "batch_size"),
        shuffle=draw(st.booleans(), "shuffle"),
        drop_remainder=draw(st.booleans(), "drop_remainder"),
        augment=draw(st.sampled_from([None, noisy]), "augment"),
        transform=draw(st.sampled_from([None, lambda batch: {**batch, "twice": 2 * batch["inputs"]}]), "transform"),
        weights=draw(st.sampled_from([None, {1: 0.5}]), "weights"),
        cache=draw(st.sampled_from(["auto", False]), "cache"),
        workers=draw(st.integers(1, 3), "workers"),
    )


@st.composite
def shards(draw):
    count = draw(st.integers(1, 3), "count")
    return draw(st.sampled_from([None, (draw(st.integers(0, count - 1), "number"), count)]), "shard")


def check(pipeline, shard, draw):
    seed, steps = draw.draw(st.integers(-(2**63), 2**64), "seed"), pipeline.steps_per_epoch
    start = draw.draw(st.integers(0, 2**20), "epoch")
    stop = draw.draw(st.integers(0, min(steps, 150)) | st.integers(steps, steps + min(steps, 9)), "stop")
    unbroken = taken(pipeline.training(seed, start, shard=shard).skip(stop - min(stop, 9)), min(stop, 9) + 4)
    epoch, index = divmod(stop, steps)
    resumed = pipeline.training(seed, start + epoch, index, shard=shard)
    assert_equal_batches(taken(resumed, 4), unbroken[min(stop, 9) :])


# Every example traces two datasets.
@settings(max_examples=10)
@given(pipelines(), shards(), st.data())
def test_a_pipeline_resumed_anywhere_yields_what_would_have_come(pipeline, shard, draw):
    check(pipeline, shard, draw)


@pytest.mark.soak
@settings(max_examples=500, derandomize=False, print_blob=True)
@given(pipelines(), shards(), st.data())
def test_a_pipeline_resumed_anywhere_yields_what_would_have_come_at_length(pipeline, shard, draw):
    check(pipeline, shard, draw)
