"""Each augmentation equals plain NumPy on the same draws, in every dtype, for every batch."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from data import augment
from data.draws import Draws


class Given:
    """Draws that are given, one array a call."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def uniform(self, *values):
        numbers = np.float32(self.numbers.pop(0))
        assert numbers.shape[1:] == values
        return tf.constant(numbers)


@st.composite
def images(draw):
    shape = [draw(st.integers(1, 5)), *[draw(st.integers(4, 7)) for _ in range(2)], draw(st.integers(1, 3))]
    numbers = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, shape)
    return numbers.astype(draw(st.sampled_from([np.uint8, np.int32, np.float32, np.float64])))


def applied(function, images, draws):
    labels = tf.range(len(images))
    batch = function({"inputs": tf.constant(images), "labels": labels}, draws)
    assert batch["labels"] is labels
    found = batch["inputs"].numpy()
    assert (found.shape, found.dtype) == (images.shape, images.dtype)
    return found


below_one = st.floats(0, 1, exclude_max=True, width=32)


@given(images(), st.data())
def test_flip_left_right_mirrors_where_the_draw_is_below_a_half(images, draw):
    numbers = np.array(draw.draw(st.lists(below_one, min_size=len(images), max_size=len(images))))
    expected = np.stack([image[:, ::-1] if u < 0.5 else image for image, u in zip(images, numbers, strict=True)])
    np.testing.assert_array_equal(applied(augment.flip_left_right(), images, Given(numbers)), expected)


@given(images(), st.integers(0, 3), st.sampled_from(["constant", "reflect"]), st.data())
def test_random_crop_is_a_window_of_the_padded_image(images, padding, mode, draw):
    down, across = (
        np.array(draw.draw(st.lists(st.integers(0, 2 * padding), min_size=len(images), max_size=len(images))))
        for _ in range(2)
    )
    # The middle of each of the 2·padding + 1 equal parts of [0, 1).
    numbers = (np.stack([down, across], axis=1) + 0.5) / (2 * padding + 1)
    height, width = images.shape[1:3]
    padded = np.pad(images, [(0, 0), (padding, padding), (padding, padding), (0, 0)], mode)
    expected = np.stack([
        image[y : y + height, x : x + width] for image, y, x in zip(padded, down, across, strict=True)
    ])  # fmt: skip
    np.testing.assert_array_equal(applied(augment.random_crop(padding, mode), images, Given(numbers)), expected)


@pytest.mark.parametrize("padding", [1, 4, 8, 27])
def test_the_largest_draw_below_one_is_the_last_window(padding):
    image = np.arange(1, 29, dtype=np.uint8)[None, :, None, None] * np.ones([1, 1, 28, 1], np.uint8)
    last = [[np.nextafter(np.float32(1), np.float32(0))] * 2]
    found = applied(augment.random_crop(padding), image, Given(last))
    assert found[0, :, 0, 0].tolist() == [*range(padding + 1, 29), *[0] * padding]


def test_every_shift_is_equally_likely():
    point = np.zeros([20_000, 5, 5, 1], np.uint8)
    point[:, 2, 2] = 1
    found = applied(augment.random_crop(2), point, Draws(0, 0, 0, len(point)))
    # 800 ± 27.7 images expected at each of 25 places; five deviations.
    assert np.all(np.abs(found.sum(axis=0, dtype=np.int64) - 800) < 5 * 27.7)


def test_half_of_all_images_are_mirrored():
    images = np.zeros([10_000, 1, 2, 1], np.uint8)
    images[:, 0, 0] = 1
    found = applied(augment.flip_left_right(), images, Draws(0, 0, 0, len(images)))
    # 5,000 ± 50 expected; five deviations.
    assert abs(int(found[:, 0, 1].sum()) - 5000) < 250


def test_composed_augmentations_follow_each_other_each_with_its_own_draws():
    images = np.random.default_rng(0).integers(0, 256, [50, 6, 6, 1]).astype(np.uint8)
    flip, crop = augment.flip_left_right(), augment.random_crop(2)
    draws = Draws(0, 0, 0, 50)
    expected = applied(crop, applied(flip, images, draws), draws)
    np.testing.assert_array_equal(applied(augment.compose(flip, crop), images, Draws(0, 0, 0, 50)), expected)
    coins = Draws(0, 0, 0, 50)
    assert np.any(coins.uniform() != coins.uniform())
    np.testing.assert_array_equal(applied(augment.compose(), images, draws), images)


def test_a_batch_of_unknown_size_keeps_its_static_image_shape():
    function = augment.compose(augment.flip_left_right(), augment.random_crop(1, "reflect"))

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 4, 3], tf.uint8)])
    def augmented(inputs):
        found = function({"inputs": inputs}, Draws(0, 0, 0, tf.shape(inputs, tf.int64)[0]))["inputs"]
        assert found.shape.as_list() == [None, 6, 4, 3]
        return found

    assert augmented(np.zeros([5, 6, 4, 3], np.uint8)).shape == [5, 6, 4, 3]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((-1,), "padding must be at least 0 pixels, found -1"),
        ((2, "wrap"), "one of constant, reflect, found 'wrap'"),
    ],
)
def test_a_crop_that_cannot_be_is_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        augment.random_crop(*arguments)


def test_a_reflection_beyond_the_image_is_refused_before_it_runs():
    with pytest.raises(ValueError, match=r"height and width must exceed 4 to be reflected, found 4×9"):
        augment.random_crop(4, "reflect")({"inputs": tf.zeros([1, 4, 9, 1])}, Draws(0, 0, 0, 1))
