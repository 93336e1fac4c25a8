"""RandAugment's operations are Pillow's, and each image gets the one that it drew."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from augment_parts import Given, applied, assert_rounded, centred, noise, pictures, rotated, uniforms
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from data import augment
from data.augment import enhance, randaugment
from data.augment.randaugment import OPERATIONS, operate
from data.draws import Draws


@st.composite
def levels(draw):
    """uint8 images of which some have few values, or one."""
    images = draw(pictures(("uint8",), least=1))
    step = draw(st.sampled_from([1, 3, 60, 200, 255]))
    return images // step * step


def by_pillow(images, change):
    """`change` of each image, as Pillow has it: without an axis for one channel."""
    return np.stack([
        np.asarray(change(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image))).reshape(image.shape)
        for image in images
    ])  # fmt: skip


@given(levels())
def test_autocontrast_and_equalize_are_pillows_bit_for_bit(images):
    np.testing.assert_array_equal(enhance.autocontrast(tf.constant(images)), by_pillow(images, ImageOps.autocontrast))
    np.testing.assert_array_equal(enhance.equalize(tf.constant(images)), by_pillow(images, ImageOps.equalize))


@pytest.mark.parametrize("seed", range(3))
def test_equalize_is_pillows_on_larger_images(seed):
    values = np.random.default_rng(seed).normal(90, 20 + 10 * seed, [2, 40, 50, 3]).clip(0, 255).astype(np.uint8)
    np.testing.assert_array_equal(enhance.equalize(tf.constant(values)), by_pillow(values, ImageOps.equalize))


@given(levels(), st.integers(1, 8), st.integers(0, 256))
def test_posterize_and_solarize_are_pillows_bit_for_bit(images, bits, threshold):
    found = enhance.posterize(tf.constant(images), tf.fill([len(images)], bits))
    np.testing.assert_array_equal(found, by_pillow(images, lambda image: ImageOps.posterize(image, bits)))
    found = enhance.solarize(tf.constant(images), tf.fill([len(images)], float(threshold)))
    np.testing.assert_array_equal(found, by_pillow(images, lambda image: ImageOps.solarize(image, threshold)))


@given(levels(), st.floats(0, 3, width=32))
def test_sharpness_is_pillows_but_for_its_rounding(images, factor):
    found = enhance.adjust_sharpness(tf.constant(images), tf.fill([len(images)], factor)).numpy()
    expected = by_pillow(images, lambda image: ImageEnhance.Sharpness(image).enhance(factor))
    assert np.max(np.abs(np.float64(found) - expected)) <= 1


# SciPy's matrix and move, rows first.
MOVED = {
    "rotate": lambda s: (rotated(30 * s), [0, 0]),
    "shear_x": lambda s: ([[1, 0], [0.3 * s, 1]], [0, 0]),
    "shear_y": lambda s: ([[1, 0.3 * s], [0, 1]], [0, 0]),
    "translate_x": lambda s: (np.eye(2), [0, 9 * 150 / 331 * s]),
    "translate_y": lambda s: (np.eye(2), [8 * 150 / 331 * s, 0]),
}
TONES = {
    "brightness": lambda image, s: ImageEnhance.Brightness(image).enhance(1 + 0.9 * s),
    "color": lambda image, s: ImageEnhance.Color(image).enhance(1 + 0.9 * s),
    "contrast": lambda image, s: ImageEnhance.Contrast(image).enhance(1 + 0.9 * s),
    "sharpness": lambda image, s: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * s),
    "posterize": lambda image, s: ImageOps.posterize(image, 8 - round(4 * abs(s))),
    "solarize": lambda image, s: ImageOps.solarize(image, 255 * (1 - abs(s))),
    "autocontrast": lambda image, s: ImageOps.autocontrast(image),
    "equalize": lambda image, s: ImageOps.equalize(image),
    "identity": lambda image, s: image,
}


@given(st.lists(st.integers(0, 13), min_size=1, max_size=9), st.floats(-1, 1, width=32), st.integers(0, 99))
def test_each_image_gets_its_operation_whatever_the_others_get(numbers, strength, seed):
    images = noise([len(numbers), 8, 9, 3], seed=seed)
    found = operate(tf.constant(images), tf.constant(numbers), tf.fill([len(numbers)], strength), 7.0).numpy()
    for image, changed, number in zip(images, found, numbers, strict=True):
        name = OPERATIONS[number]
        if name in MOVED:
            assert_rounded(changed, centred(image, *MOVED[name](np.float64(strength)), cval=7), slack=1e-2)
        else:
            expected = by_pillow(image[None], lambda image, name=name: TONES[name](image, strength))[0]
            assert np.max(np.abs(np.float64(changed) - expected)) <= 2


def test_operations_and_signs_are_drawn_evenly_and_independently(monkeypatch):
    drawn = []

    def noted(images, numbers, strengths, fill_value):
        drawn.append((numbers.numpy(), strengths.numpy()))
        return images

    monkeypatch.setattr(randaugment, "operate", noted)
    applied(augment.rand_augment(n=3, m=12), np.zeros([5000, 1, 1, 1], np.uint8), Draws(0, 0, 0, 5000))
    assert len(drawn) == 3
    numbers, signs = (np.stack(part) for part in zip(*drawn, strict=True))
    np.testing.assert_allclose(np.abs(signs), 0.4, rtol=1e-6)
    table = [[np.sum((numbers == n) & (signs * sign > 0)) for n in range(14)] for sign in (-1, 1)]
    assert scipy.stats.chisquare(np.ravel(table)).pvalue > 1e-4
    pairs = np.histogram2d(numbers[0], numbers[1], bins=14, range=[[0, 14]] * 2)[0]
    assert scipy.stats.chisquare(pairs.ravel()).pvalue > 1e-4


@settings(max_examples=5)
@given(uniforms(4, 2, 2), st.floats(0, 30))
def test_floats_are_the_levels_of_uint8(numbers, m):
    images = noise([4, 6, 5, 3])
    function = augment.rand_augment(2, m)
    expected = applied(function, images, Given(numbers)) / np.float32(255)
    for dtype in ("float32", "float16"):
        found = applied(function, (images / np.float32(255)).astype(dtype), Given(numbers))
        np.testing.assert_allclose(found, expected, atol=1e-3 if dtype == "float16" else 1e-6)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [((0,), "n must be a whole number of at least 1, found 0"), ((2, 31), "m must be a number from 0 to 30, found 31")],
)
def test_what_cannot_be_is_refused(arguments, reason):
    with pytest.raises(ValueError, match=f"rand_augment: {reason}"):
        augment.rand_augment(*arguments)
