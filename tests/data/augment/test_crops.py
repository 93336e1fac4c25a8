"""Crops are windows of what NumPy pads, and of what Pillow resizes."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from augment_parts import Given, applied, noise, pictures
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data import augment
from data.augment.crops import resized_windows
from data.augment.windows import random_windows
from data.draws import Draws

PADS = {"constant": "constant", "nearest": "edge", "reflect": "symmetric"}


@given(
    pictures(("uint8", "int32", "float32", "float64"), (1, 2, 3)),
    st.integers(0, 4),
    st.sampled_from(list(PADS)),
    st.data(),
)
def test_random_crop_is_a_window_of_the_padded_image(images, padding, mode, draw):
    offsets = st.lists(st.integers(0, 2 * padding), min_size=len(images), max_size=len(images))
    down, across = (np.array(draw.draw(offsets)) for _ in range(2))
    # The middle of each of the 2·padding + 1 equal parts of [0, 1).
    numbers = (np.stack([down, across], axis=1) + 0.5) / (2 * padding + 1)
    height, width = images.shape[1:3]
    padded = np.pad(images, [(0, 0), (padding, padding), (padding, padding), (0, 0)], PADS[mode])
    expected = [image[y : y + height, x : x + width] for image, y, x in zip(padded, down, across, strict=True)]
    found = applied(augment.random_crop(padding, mode), images, Given(numbers))
    np.testing.assert_array_equal(found, np.stack(expected))


@pytest.mark.parametrize("padding", [1, 4, 8, 27, 100])
def test_the_largest_draw_below_one_is_the_last_window(padding):
    image = np.arange(1, 29, dtype=np.uint8)[None, :, None, None] * np.ones([1, 1, 28, 1], np.uint8)
    last = [[np.nextafter(np.float32(1), np.float32(0))] * 2]
    found = applied(augment.random_crop(padding), image, Given(last))
    assert found[0, :, 0, 0].tolist() == [*range(padding + 1, 29), *[0] * min(padding, 28)]


def test_every_shift_is_equally_likely():
    point = np.zeros([20_000, 5, 5, 1], np.uint8)
    point[:, 2, 2] = 1
    found = applied(augment.random_crop(2), point, Draws(0, 0, 0, len(point)))
    # 800 ± 27.7 images expected at each of 25 places; five deviations.
    assert np.all(np.abs(found.sum(axis=0, dtype=np.int64) - 800) < 5 * 27.7)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((-1,), "padding must be a whole number of at least 0, found -1"),
        ((1.5,), "padding must be a whole number of at least 0, found 1.5"),
        ((2, "wrap"), "one of constant, nearest, reflect, found 'wrap'"),
    ],
)
def test_a_crop_that_cannot_be_is_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        augment.random_crop(*arguments)


def test_a_reflection_beyond_the_image_is_refused_before_it_runs():
    with pytest.raises(ValueError, match=r"height and width must be at least 5 to be reflected, found 4×9"):
        augment.random_crop(5, "reflect")({"inputs": tf.zeros([1, 4, 9, 1])}, Draws(0, 0, 0, 1))


@given(
    st.floats(0.05, 1), st.floats(0.05, 1), st.floats(0, 1), st.floats(0, 1), st.integers(9, 20), st.integers(11, 20)
)
def test_windows_are_stretched_as_pillow_stretches_them(tall, wide, y, x, height, width):
    """Where the result is no smaller than the window: Pillow antialiases what it shrinks."""
    image = noise([1, 9, 11, 1], "float32")
    window = np.float32([y * 9 * (1 - tall), x * 11 * (1 - wide), 9 * tall, 11 * wide])
    top, left, h, w = window.tolist()
    box = (left, top, min(left + w, 11), min(top + h, 9))
    expected = Image.fromarray(image[0, ..., 0]).resize((width, height), Image.Resampling.BILINEAR, box)
    found = resized_windows(tf.constant(image), tf.constant([window]), (height, width))
    np.testing.assert_allclose(found[0, ..., 0], np.asarray(expected), atol=1e-4)


ranges = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted)


@given(st.integers(1, 50), st.integers(1, 50), ranges, st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)).map(sorted))
def test_windows_lie_inside_and_have_areas_and_shapes_as_asked_where_they_fit(height, width, areas, ratios):
    uniform = np.random.default_rng(0).random([200, 4], np.float32)
    top, left, h, w = random_windows((height, width), tf.constant(uniform), areas, ratios).numpy().T.astype(np.float64)
    assert np.all((top >= 0) & (left >= 0) & (top + h <= height * (1 + 1e-6)) & (left + w <= width * (1 + 1e-6)))
    share, ratio = h * w / (height * width), w / h
    np.testing.assert_allclose(share, areas[0] + (areas[1] - areas[0]) * uniform[:, 0], rtol=1e-5)
    within = (ratio > ratios[0] * (1 - 1e-5)) & (ratio < ratios[1] * (1 + 1e-5))
    # Shapes that are asked for, but do not fit, give way to the nearest that touches both edges.
    filled = np.isclose(h, height, rtol=1e-5) | np.isclose(w, width, rtol=1e-5)
    assert np.all(within | filled)


def test_windows_have_the_distribution_that_they_say():
    areas, ratios = (0.1, 0.4), (0.5, 2.0)
    drawn = Draws(0, 0, 0, 20_000).uniform(4)
    top, left, h, w = random_windows((30, 40), drawn, areas, ratios).numpy().T.astype(np.float64)
    # Any shape between 1:2 and 2:1 fits with 40% of 30 × 40 pixels: log-uniform, and independent of the area.
    share, ratio = (h * w / 1200 - 0.1) / 0.3, np.log2(w / h) / 2 + 0.5
    for numbers in (share, ratio, top / (30 - h), left / (40 - w)):
        assert scipy.stats.kstest(numbers, "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(share, ratio)[0, 1]) < 0.03


@given(pictures(("uint8", "float32")), st.data())
def test_random_resized_crop_shows_the_windows_that_are_drawn(images, draw):
    height, width = draw.draw(st.sampled_from([(None, None), (5, 3), (None, 12)]))
    numbers = np.random.default_rng(draw.draw(st.integers(0, 99))).random([len(images), 4])
    found = augment.random_resized_crop(height, width)({"inputs": tf.constant(images)}, Given(numbers))["inputs"]
    size = (height or images.shape[1], width or images.shape[2])
    windows = random_windows(images.shape[1:3], tf.constant(numbers, tf.float32), (0.08, 1.0), (3 / 4, 4 / 3))
    np.testing.assert_array_equal(found, resized_windows(tf.constant(images), windows, size))
    assert found.shape == [len(images), *size, images.shape[3]]


def test_a_window_of_the_whole_image_is_the_image():
    images = noise([3, 8, 8, 3])
    function = augment.random_resized_crop(area_range=(1, 1), aspect_ratio_range=(1, 1))
    np.testing.assert_array_equal(applied(function, images, Draws(0, 0, 0, 3)), images)
