"""Laws of `Pipeline.stacks`: the batches of training, several at a time, bit for bit."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import data

PICTURES = np.random.default_rng(0).integers(0, 256, [23, 6, 6, 3], np.uint8)
LABELS = np.arange(23, dtype=np.int32) % 4
SOURCE = data.Arrays(PICTURES, LABELS, np.linspace(0.5, 2, 23, dtype=np.float32), info=data.Info("noise", 4))
AUGMENTS = {
    "none": None,
    "flips": data.augment.alternating_flip(),
    "several": data.augment.parse("random_crop(padding=2), hue(0.3), rand_augment(1, 5), cutout(2)", classes=4),
}


def batches(pipeline, count, *place):
    return [{name: value.numpy() for name, value in batch.items()} for batch in pipeline.training(*place).take(count)]


def unstacked(pipeline, count, most, *place):
    """The first `count` batches of stacks, and how many each stack held."""
    found, numbers, stacks = [], [], iter(pipeline.stacks(most, *place))
    while len(found) < count:
        stack, number = next(stacks)
        assert all(value.shape[0] <= most for value in stack.values())
        numbers.append(int(number))
        found += [{name: value[k].numpy() for name, value in stack.items()} for k in range(number)]
    return found[:count], numbers


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            assert one[name].dtype == value.dtype
            np.testing.assert_array_equal(one[name], value, err_msg=name)


@pytest.mark.parametrize("augment", AUGMENTS)
@pytest.mark.parametrize("drop_remainder", [False, True])
@given(
    batch_size=st.integers(1, 23), most=st.integers(1, 9), seed=st.integers(-1, 2**40), epoch=st.integers(0, 5),
    data_=st.data(),
)  # fmt: skip
@settings(max_examples=5)
def test_stacks_are_the_batches_of_training(augment, drop_remainder, batch_size, most, seed, epoch, data_):
    pipeline = data.Pipeline(
        SOURCE,
        batch_size,
        shuffle=data_.draw(st.booleans()),
        drop_remainder=drop_remainder,
        augment=AUGMENTS[augment],
        transform=data.augment.compose(data.to_float, data.one_hot(4)),
        weights={1: 0.5, 3: 2.0},
    )
    index = data_.draw(st.integers(0, pipeline.steps_per_epoch))
    count = 2 * pipeline.steps_per_epoch + 1
    found, _ = unstacked(pipeline, count, most, seed, epoch, index)
    assert_same(found, batches(pipeline, count, seed, epoch, index))


def test_stacks_are_full_but_at_an_epochs_end():
    pipeline = data.Pipeline(SOURCE, 3)
    # 7 batches and one of 2 rows, from the second on, and the next epoch.
    assert unstacked(pipeline, 15, 4, 0, 0, 1)[1] == [4, 2, 1, 4, 3, 1]
    # An epoch is cut into equal parts: of at most 6, into two of 4 and 3.
    assert unstacked(pipeline, 8, 6, 0)[1] == [4, 3, 1]
    assert [stack["inputs"].shape[0] for stack, _ in pipeline.stacks(64, 0).take(2)] == [7, 1]


def test_stacks_are_of_16_mebibytes_at_most_as_the_source_has_them():
    large = np.zeros([40, 512, 512, 3], np.uint8)
    pipeline = data.Pipeline(data.Arrays(large), 5, transform=data.resize(2, 2))
    # A batch takes 3.75 MiB.
    assert [stack["inputs"].shape for stack, _ in pipeline.stacks(64, 0).take(1)] == [(4, 5, 2, 2, 3)]


def test_a_transform_may_nest_the_inputs():
    @data.by_example
    def nested(batch):
        return {**batch, "inputs": {"features": batch["inputs"]}}

    pipeline = data.Pipeline(SOURCE, 4, transform=nested)
    (stack, _), batch = next(iter(pipeline.stacks(5, 0))), next(iter(pipeline.training(0)))
    np.testing.assert_array_equal(stack["inputs"]["features"][0], batch["inputs"]["features"])


def test_positions_are_those_of_training():
    pipeline = data.Pipeline(SOURCE, 4)
    for epoch, index in ((-1, 0), (0, 7), (0, -1)):
        with pytest.raises(ValueError, match="expected epoch >= 0 and index from 0 to 6"):
            pipeline.stacks(2, 0, epoch, index)
    with pytest.raises(ValueError, match="most must be an integer from 1"):
        pipeline.stacks(0, 0)


def test_what_wraps_a_function_is_not_marked_by_it():
    @functools.wraps(data.to_float)
    def centred(batch):
        batch = data.to_float(batch)
        return {**batch, "inputs": batch["inputs"] - tf.reduce_mean(batch["inputs"])}

    assert data.Pipeline(SOURCE, 4, transform=data.to_float).stacks(4, 0) is not None
    assert data.Pipeline(SOURCE, 4, transform=centred).stacks(4, 0) is None


def test_views_that_draw_anew_are_stacked_too():
    pipeline = data.Pipeline(data.balanced(SOURCE), 5)
    assert_same(unstacked(pipeline, 12, 3, 1)[0], batches(pipeline, 12, 1))


def test_a_long_epoch_is_the_order_of_its_three_passes():
    pipeline = data.Pipeline(data.Arrays(np.arange(5000)), 64)
    assert_same(unstacked(pipeline, 100, 64, 7, 1, 40)[0], batches(pipeline, 100, 7, 1, 40))


class OnDisk(data.Arrays):
    arrays = property(lambda self: None, lambda self, _: None)


@pytest.mark.parametrize(
    "pipeline",
    [
        lambda: data.Pipeline(SOURCE, 4, augment=data.augment.mixup(0.2, classes=4)),
        lambda: data.Pipeline(SOURCE, 4, augment=data.augment.compose(data.augment.cutmix(classes=4), data.one_hot(4))),
        lambda: data.Pipeline(SOURCE, 4, transform=lambda batch: {**batch, "mean": tf.reduce_mean(batch["weights"])}),
        lambda: data.Pipeline(data.Sequences([np.arange(n) for n in (1, 3, 5, 2)]), 2),
        lambda: data.Pipeline(OnDisk(PICTURES), 4, cache=False),
    ],
    ids=["mixup", "composed", "unknown transform", "sequences", "not in memory"],
)
def test_what_can_not_be_made_together_is_not(pipeline):
    assert pipeline().stacks(4, 0) is None
