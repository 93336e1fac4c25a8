"""What is erased is a rectangle, where the numbers say, and nothing else."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from augment_parts import Given, applied, noise, pictures, uniforms
from hypothesis import given
from hypothesis import strategies as st

from data import augment
from data.augment.windows import random_windows
from data.draws import Draws


def erased(images, windows, value):
    """By the definition: a pixel goes if its centre lies in the window."""
    expected = images.copy()
    for image, (top, left, height, width) in zip(expected, np.float32(windows), strict=True):
        for row, column in np.ndindex(image.shape[:2]):
            if top <= row + 0.5 < top + height and left <= column + 0.5 < left + width:
                image[row, column] = value
    return expected


@given(pictures(("uint8", "int32", "float32", "float64")), st.integers(0, 9), st.sampled_from([0, 1]), st.data())
def test_cutout_fills_the_square_around_the_drawn_centre(images, size, value, draw):
    numbers = draw.draw(uniforms(len(images), 2))
    corners = numbers * np.float32(images.shape[1:3]) - np.float32(size / 2)
    windows = np.concatenate([corners, np.full_like(corners, size)], axis=1)
    found = applied(augment.cutout(size, value), images, Given(numbers))
    np.testing.assert_array_equal(found, erased(images, windows, value))


def test_every_pixel_is_the_centre_of_a_cutout_equally_often():
    found = applied(augment.cutout(1), np.ones([20_000, 4, 5, 1], np.uint8), Draws(0, 0, 0, 20_000))
    assert np.all(np.sum(found == 0, axis=(1, 2, 3)) == 1)
    assert scipy.stats.chisquare(np.sum(found == 0, axis=0).ravel()).pvalue > 1e-4


def test_a_whole_square_has_its_size():
    found = applied(augment.cutout(6), np.ones([2000, 32, 32, 1], np.uint8), Draws(0, 0, 0, 2000))
    holes = np.sum(found == 0, axis=(1, 2, 3))
    assert holes.max() == 36
    # All its pixels' centres are inside if its own is 2.5 pixels or more from each edge.
    assert scipy.stats.binomtest(int(np.sum(holes == 36)), 2000, (27 / 32) ** 2).pvalue > 1e-4


@given(pictures(("uint8", "float32")), st.floats(0, 1), st.data())
def test_random_erasing_fills_the_drawn_windows_of_the_drawn_images(images, probability, draw):
    numbers, coins = draw.draw(uniforms(len(images), 4)), draw.draw(uniforms(len(images)))
    windows = random_windows(images.shape[1:3], tf.constant(numbers), (0.1, 0.5), (0.5, 2)).numpy()
    windows[coins >= np.float32(probability)] = 0
    function = augment.random_erasing(probability, (0.1, 0.5), (0.5, 2), fill_value=1)
    np.testing.assert_array_equal(applied(function, images, Given(numbers, coins)), erased(images, windows, 1))


def test_no_probability_erases_nothing_and_half_of_it_half_of_the_images():
    images = np.ones([4000, 8, 8, 1], np.uint8)
    assert np.all(applied(augment.random_erasing(0), images, Draws(0, 0, 0, 4000)) == 1)
    found = applied(augment.random_erasing(0.5, (0.1, 0.3)), images, Draws(0, 0, 0, 4000))
    assert scipy.stats.binomtest(int(np.sum(np.any(found == 0, axis=(1, 2, 3)))), 4000, 0.5).pvalue > 1e-4


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: augment.cutout(-1), "cutout: size must be a finite number of at least 0, found -1"),
        (lambda: augment.random_erasing(2), "random_erasing: probability must be a number from 0 to 1, found 2"),
        (lambda: augment.random_erasing(area_range=0.5), r"area_range must be a pair of numbers, found 0\.5"),
        (lambda: augment.random_erasing(area_range=(0.5, 0.2)), "area_range must not fall"),
        (lambda: augment.random_resized_crop(area_range=(0, 1)), "area_range must be a number from 0.0001 to 1"),
        (
            lambda: augment.random_resized_crop(0),
            "random_resized_crop: height must be a whole number of at least 1, found 0",
        ),
        (lambda: augment.cutout(2, 256)({"inputs": noise_tensor()}, Draws(0, 0, 0, 1)), "fill_value must be a uint8"),
    ],
)
def test_what_cannot_be_is_refused(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()


def noise_tensor():
    return tf.constant(noise([1, 4, 4, 3]))
