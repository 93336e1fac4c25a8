"""Laws of all augmentations: what an example becomes is its own affair, and its dtype, shape and range stay."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from augment_parts import noise
from hypothesis import given, settings
from hypothesis import strategies as st

import data
from data import augment
from data.draws import Draws

ARGUMENTS = {
    "random_crop": "(3, 'reflect')", "random_resized_crop": "(interpolation='nearest')", "rotation": "(40)",
    "zoom": "(0.4, 'nearest')", "translation": "(0.2, interpolation='nearest')", "shear": "(0.3, 0.2)",
    "brightness": "(0.5)", "contrast": "(0.5)", "saturation": "(0.5)", "hue": "(0.3)", "cutout": "(3, 1)",
    "mixup": "(1.0)", "token_dropout": "(0.4, 1)", "rand_augment": "(3, 20)",
}  # fmt: skip
MADE = {name: augment.parse(name + ARGUMENTS.get(name, ""), classes=4) for name in augment.NAMES}
OF_IMAGES = [name for name in augment.NAMES if name != "token_dropout"]
OF_ONE = [name for name in augment.NAMES if not getattr(MADE[name], "whole_batch", False)]
DTYPES = ["uint8", "float16", "float32", "float64"]


@functools.cache
def batch_of(name, dtype, rows=23):
    if name == "token_dropout":
        return {"inputs": np.random.default_rng(0).integers(0, 9, [rows, 11]).astype(np.int32)}
    return {
        "inputs": noise([rows, 5, 7, 3], dtype),
        "labels": np.arange(rows) % 4,
        "weights": np.ones(rows, np.float32),
    }


def made(name, batch, seed, epoch, position):
    rows = len(batch["inputs"])
    tensors = {key: tf.constant(array) for key, array in batch.items()}
    found = MADE[name](tensors, Draws(seed, epoch, position, rows, np.arange(position, position + rows)))
    return {key: tensor.numpy() for key, tensor in found.items()}


def test_every_name_is_tried_and_public():
    assert set(augment.__all__) == {*augment.NAMES, "NAMES", "compose", "parse"}
    assert set(ARGUMENTS) <= set(augment.NAMES)
    assert all(MADE.values())


@settings(max_examples=3)
@pytest.mark.parametrize("name", OF_ONE)
@given(st.sampled_from(DTYPES), st.integers(0, 2**64), st.integers(0, 2**30), st.data())
def test_an_example_becomes_the_same_bits_whatever_batch_it_comes_in(name, dtype, seed, epoch, draw):
    batch = batch_of(name, dtype)
    whole = made(name, batch, seed, epoch, position=1000)
    cuts = draw.draw(st.lists(st.integers(1, 22), min_size=1, max_size=3, unique=True).map(sorted))
    for first, last in zip([0, *cuts], [*cuts, 23], strict=True):
        part = {key: array[first:last] for key, array in batch.items()}
        found = made(name, part, seed, epoch, position=1000 + first)
        np.testing.assert_array_equal(found["inputs"], whole["inputs"][first:last])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OF_IMAGES)
def test_shape_dtype_and_range_stay_and_images_change(name, dtype):
    batch = batch_of(name, dtype)
    found, other = made(name, batch, 0, 0, 0), made(name, batch, 0, 1, 0)
    images = found["inputs"]
    assert (images.shape, images.dtype) == (batch["inputs"].shape, batch["inputs"].dtype)
    assert 0 <= images.min() <= images.max() <= (255 if dtype == "uint8" else 1)
    assert found.keys() == batch.keys()
    if name in OF_ONE:
        np.testing.assert_array_equal(found["labels"], batch["labels"])
    assert np.any(images != batch["inputs"])
    assert np.any(images != other["inputs"])


@pytest.mark.parametrize("name", OF_IMAGES)
def test_a_batch_of_unknown_size_keeps_its_static_image_shape(name):
    @tf.function(autograph=False)
    def traced(inputs, labels):
        rows = tf.shape(inputs, tf.int64)[0]
        return MADE[name]({"inputs": inputs, "labels": labels}, Draws(0, 0, 0, rows, tf.range(rows)))

    specs = tf.TensorSpec([None, 5, 7, 3], tf.uint8), tf.TensorSpec([None], tf.int64)
    assert traced.get_concrete_function(*specs).structured_outputs["inputs"].shape.as_list() == [None, 5, 7, 3]


def test_tokens_are_dropped_at_their_rate_and_padding_stays():
    tokens = np.random.default_rng(0).integers(0, 50, [400, 30]).astype(np.int32)
    found = augment.token_dropout(0.3, 99)({"inputs": tf.constant(tokens)}, Draws(0, 0, 0, 400))["inputs"].numpy()
    dropped = found == 99
    np.testing.assert_array_equal(found[~dropped], tokens[~dropped])
    assert not np.any(dropped & (tokens == 0))
    # A coin for each of n tokens; five deviations.
    n = np.sum(tokens != 0)
    assert abs(dropped.sum() - 0.3 * n) < 5 * np.sqrt(n * 0.3 * 0.7)
    none = augment.token_dropout(0, 99)({"inputs": tf.constant(tokens)}, Draws(0, 0, 0, 400))["inputs"]
    np.testing.assert_array_equal(none, tokens)


def test_tokens_of_unknown_length_are_dropped_as_those_of_a_known_one():
    tokens, drop = batch_of("token_dropout", "int32")["inputs"], MADE["token_dropout"]

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], autograph=False)
    def traced(inputs):
        return drop({"inputs": inputs}, Draws(0, 0, 0, 23))["inputs"]

    np.testing.assert_array_equal(traced(tokens), drop({"inputs": tf.constant(tokens)}, Draws(0, 0, 0, 23))["inputs"])
    with pytest.raises(
        TypeError, match=r"token_dropout: inputs must be integers \[batch, time\], found float32 \(2,\)"
    ):
        drop({"inputs": tf.zeros([2])}, Draws(0, 0, 0, 2))


def test_composed_augmentations_follow_each_other_each_with_its_own_draws():
    batch = {"inputs": tf.constant(noise([50, 6, 6, 1]))}
    flip, crop = augment.flip_left_right(), augment.random_crop(2)
    draws = Draws(0, 0, 0, 50)
    expected = crop(flip(batch, draws), draws)["inputs"]
    np.testing.assert_array_equal(augment.compose(flip, crop)(batch, Draws(0, 0, 0, 50))["inputs"], expected)
    coins = Draws(0, 0, 0, 50)
    assert np.any(coins.uniform() != coins.uniform())
    assert augment.compose()(batch, draws) is batch


def test_half_of_all_images_are_mirrored_each_way():
    images = noise([10_000, 2, 2, 1])
    for name, axis in (("flip_left_right", 2), ("flip_up_down", 1)):
        found = MADE[name]({"inputs": tf.constant(images)}, Draws(0, 0, 0, len(images)))["inputs"].numpy()
        same, mirrored = (np.all(found == other, axis=(1, 2, 3)) for other in (images, np.flip(images, axis)))
        assert np.all(same | mirrored)
        # 5,000 ± 50 expected, and the few pictures that are their own mirror images; five deviations.
        assert abs(int(mirrored.sum()) - 5000) < 300


def batches(pipeline, *position, count, shard=None):
    return list(pipeline.training(*position, shard=shard).take(count).as_numpy_iterator())


def test_a_pipeline_that_resumes_or_cuts_its_batches_otherwise_yields_the_same_examples():
    source = data.Arrays(noise([23, 5, 7, 3]), np.arange(23, dtype=np.int32))
    chain = augment.compose(*(MADE[name] for name in OF_IMAGES if name in OF_ONE), data.to_float)
    whole = batches(data.Pipeline(source, 23, augment=chain), 3, 1, count=1)[0]
    cut = batches(data.Pipeline(source, 4, augment=chain), 3, 1, 2, count=4)
    for name in whole:
        np.testing.assert_array_equal(np.concatenate([batch[name] for batch in cut]), whole[name][4 * 2 :])


def test_what_mixes_examples_mixes_the_same_ones_after_resuming_and_whoever_reads_a_part():
    info = data.Info("mixed", classes=4)
    source = data.Arrays(
        noise([23, 5, 7, 3]), np.arange(23, dtype=np.int32) % 4, np.float32(np.arange(23) % 3), info=info
    )
    chain = augment.parse("flip_up_down,mixup(1.0),rotation(20),cutmix", classes=4)
    pipeline = data.Pipeline(source, 9, augment=chain, transform=augment.compose(data.to_float, data.one_hot(4)))
    whole = batches(pipeline, 5, count=4)
    for expected, found in zip(whole[2:], batches(pipeline, 5, 0, 2, count=2), strict=True):
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])
    parts = [batches(pipeline, 5, count=4, shard=(number, 4)) for number in range(4)]
    for expected, of_batch in zip(whole, zip(*parts, strict=True), strict=True):
        assert [int(rows) for _, _, rows in of_batch] == [
            len(expected["inputs"]) * (p + 1) // 4 - len(expected["inputs"]) * p // 4 for p in range(4)
        ]
        for name in expected:
            joined = np.concatenate([examples[name][:rows] for examples, _, rows in of_batch])
            np.testing.assert_array_equal(joined, expected[name])
            assert all(len(examples[name]) == max(rows, 1) for examples, _, rows in of_batch)
