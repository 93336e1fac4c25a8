"""Colours are what Pillow's ImageEnhance, colorsys, Keras and the formulas in float64 make of the same numbers."""

import colorsys

import keras
import numpy as np
import pytest
import tensorflow as tf
from augment_parts import Given, applied, assert_rounded, noise, pictures, uniforms
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from data import augment
from data.augment import color

DTYPES = ("uint8", "float16", "float32", "float64")
ENHANCERS = {
    color.adjust_brightness: ImageEnhance.Brightness,
    color.adjust_contrast: ImageEnhance.Contrast,
    color.adjust_saturation: ImageEnhance.Color,
}
LUMA = np.array([0.299, 0.587, 0.114])


def grey(images):
    return images @ LUMA[:, None] if images.shape[-1] == 3 else images


# What 1 − factor parts are of.
BACKGROUNDS = {
    color.adjust_brightness: lambda images: 0.0,
    color.adjust_contrast: lambda images: grey(images).mean(axis=(1, 2, 3), keepdims=True),
    color.adjust_saturation: grey,
}


@pytest.mark.parametrize("adjust", list(ENHANCERS), ids=lambda adjust: adjust.__name__)
@given(st.integers(0, 99), st.floats(0, 3, width=32))
def test_factors_do_what_pillows_do(adjust, seed, factor):
    image = noise([1, 8, 7, 3], "uint8", seed)
    expected = np.float64(ENHANCERS[adjust](Image.fromarray(image[0])).enhance(factor))
    found = adjust(tf.constant(image), tf.constant([factor]))[0].numpy()
    # Pillow rounds the grey before, and afterwards rounds down where ours rounds to the nearest.
    assert np.max(np.abs(found - expected)) <= 1.5 + 0.52 * abs(1 - factor)


@pytest.mark.parametrize("adjust", list(ENHANCERS), ids=lambda adjust: adjust.__name__)
@given(pictures(DTYPES), st.data())
def test_factors_do_what_the_formula_says_in_every_dtype(adjust, images, draw):
    factors = 3 * draw.draw(uniforms(len(images)))
    values, f = np.float64(images), np.float64(factors)[:, None, None, None]
    expected = np.clip(f * values + (1 - f) * BACKGROUNDS[adjust](values), 0, 255 if images.dtype == np.uint8 else 1)
    found = adjust(tf.constant(images), tf.constant(factors)).numpy()
    assert (found.dtype, found.shape) == (images.dtype, images.shape)
    # 0.299, 0.587 and 0.114 in parts of 2¹⁶.
    assert_rounded(found, expected, slack=1e-2)


@given(pictures(DTYPES, channels=(3,)), st.data())
def test_hues_are_those_of_colorsys(images, draw):
    turns = draw.draw(uniforms(len(images))) - np.float32(0.5)
    found = color.adjust_hue(tf.constant(images), tf.constant(turns)).numpy()
    assert found.dtype == images.dtype
    largest = 255 if images.dtype == np.uint8 else 1
    expected = np.empty(images.shape)
    for place in np.ndindex(images.shape[:3]):
        h, s, v = colorsys.rgb_to_hsv(*(np.float64(images[place]) / largest))
        expected[place] = colorsys.hsv_to_rgb((h + np.float64(turns[place[0]])) % 1, s, v)
    assert_rounded(found, expected * largest, slack=1e-2)


def test_hues_are_those_of_keras():
    images = noise([8, 5, 6, 3], "float32")
    layer = keras.layers.RandomHue(1.0, value_range=(0, 1), seed=0)
    drawn = layer.get_random_transformation(images)
    found = color.adjust_hue(tf.constant(images), drawn["factor"])
    np.testing.assert_allclose(found, layer.transform_images(images, drawn), atol=1e-5)


def test_primary_colours_go_round_and_greys_stay():
    red, green, blue, white, ash = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255] * 3, [77] * 3
    found = color.adjust_hue(tf.constant([[[red, green, blue, white, ash]]], tf.uint8), tf.constant([1 / 3]))
    assert found.numpy().tolist() == [[[green, blue, red, white, ash]]]


RANDOM = {
    "brightness": (augment.brightness, color.adjust_brightness, 1, 0.7),
    "contrast": (augment.contrast, color.adjust_contrast, 1, 0.7),
    "saturation": (augment.saturation, color.adjust_saturation, 1, 0.7),
    "hue": (augment.hue, color.adjust_hue, 0, 0.4),
}


@pytest.mark.parametrize("name", list(RANDOM))
@given(pictures(), st.data())
def test_each_draws_evenly_around_what_changes_nothing(name, images, draw):
    make, adjust, neutral, limit = RANDOM[name]
    numbers = draw.draw(uniforms(len(images)))
    expected = adjust(tf.constant(images), tf.constant(neutral + (2 * numbers - 1) * np.float32(limit), tf.float32))
    np.testing.assert_array_equal(applied(make(limit), images, Given(numbers)), expected)
    # A hue is computed anew, and so rounded.
    np.testing.assert_allclose(applied(make(0), images, Given(numbers)), images, atol=1e-6)


def test_one_channel_has_neither_saturation_nor_hue():
    images = tf.constant(noise([3, 4, 4, 1]))
    for adjust in (color.adjust_saturation, color.adjust_hue):
        assert adjust(images, tf.constant([0.3, 0.4, 0.5])) is images


@pytest.mark.parametrize("adjust", [*ENHANCERS, color.adjust_hue], ids=lambda adjust: adjust.__name__)
def test_dtypes_and_channels_without_meaning_are_refused(adjust):
    name = adjust.__name__
    with pytest.raises(TypeError, match=rf"{name}: inputs must be uint8 \(0 to 255\) or floating .*, found int32"):
        adjust(tf.zeros([1, 2, 2, 3], tf.int32), tf.constant([1.0]))
    if adjust is not color.adjust_brightness:
        with pytest.raises(ValueError, match=f"{name}: images must have 1 or 3 channels, found 4"):
            adjust(tf.zeros([1, 2, 2, 4], tf.uint8), tf.constant([1.0]))


@pytest.mark.parametrize(("make", "limit"), [(augment.brightness, 1), (augment.saturation, 1), (augment.hue, 0.5)])
def test_factors_beyond_their_limit_are_refused(make, limit):
    with pytest.raises(ValueError, match=f"factor must be a number from 0 to {limit}, found 1.5"):
        make(1.5)
