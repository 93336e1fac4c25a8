"""A line of text names augmentations; what it cannot mean is said in one line, and nothing in it is run."""

import inspect

import numpy as np
import pytest
import tensorflow as tf
from augment_parts import noise
from hypothesis import given
from hypothesis import strategies as st

from data import augment
from data.draws import Draws


def result(function, images):
    return function({"inputs": tf.constant(images)}, Draws(0, 0, 0, len(images)))["inputs"].numpy()


@pytest.mark.parametrize(
    ("text", "make"),
    [
        ("flip_left_right", lambda: augment.flip_left_right()),
        ("flip_left_right()", lambda: augment.flip_left_right()),
        (" rotation( degrees = 15 ) ", lambda: augment.rotation(15)),
        ("rotation(-0.0, 'reflect')", lambda: augment.rotation(0, "reflect")),
        (
            "flip_up_down, random_crop(padding=2, fill_mode='nearest')",
            lambda: augment.compose(augment.flip_up_down(), augment.random_crop(2, "nearest")),
        ),
        ("random_resized_crop(area_range=(0.2, 0.5))", lambda: augment.random_resized_crop(area_range=(0.2, 0.5))),
    ],
)
def test_text_makes_what_python_makes(text, make):
    images = noise([9, 8, 6, 3])
    np.testing.assert_array_equal(result(augment.parse(text), images), result(make(), images))


def test_no_text_is_no_augmentation():
    assert augment.parse("") is None
    assert augment.parse("  ") is None


def test_classes_go_to_those_that_take_them_unless_they_are_given():
    batch = {"inputs": tf.constant(noise([4, 3, 3, 1])), "labels": tf.constant([0, 1, 2, 0])}
    for text, classes in (
        ("flip_left_right,mixup", 3),
        ("cutmix(1.0)", 5),
        ("mixup(classes=7)", 7),
        ("mixup(0.1, 7)", 7),
    ):
        found = augment.parse(text, classes=3 if classes == 7 else classes)(batch, Draws(0, 0, 0, 4))
        assert found["labels"].shape == [4, classes]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("flip", "augment: augmentations are flip_left_right, .*, token_dropout, found 'flip'"),
        ("flip_left_right,", None),
        ("rotation", r"augment: rotation\(degrees, fill_mode='constant', .*\): missing a required argument: 'degrees'"),
        ("rotation(angle=3)", r"augment: rotation\(degrees, .*\): "),
        ("cutout(1, 2, 3)", r"augment: cutout\(size, fill_value=0.0\): too many positional arguments"),
        ("rotation(200)", "rotation: degrees must be a number from 0 to 180, found 200"),
        ("rotation(1e999)", "rotation: degrees must be a number from 0 to 180, found inf"),
        ("cutout(1e999)", "cutout: size must be a finite number of at least 0, found inf"),
        ("cutout(3, 1" + "0" * 999 + ")", "cutout: fill_value must be a finite number of at least -inf, found 1000"),
        ("cutout('a')", "cutout: size must be a finite number of at least 0, found 'a'"),
        ("random_erasing(area_range=3)", "random_erasing: area_range must be a pair of numbers, found 3"),
        ("cutout(size)", r"augment: cannot read 'cutout\(size\)' \(cutout: arguments are numbers, strings"),
        ("cutout(**{'size': 3})", r"augment: cannot read .* \(cutout has \*\* among its arguments\)"),
        ("cutout(3", "augment: cannot read 'cutout\\(3' .*: write for instance flip_left_right,random_crop"),
        ("cutout(3) hue(0.1)", "augment: cannot read"),
        ("data.augment.hue(0.1)", r"augment: cannot read .* \(expected a name\)"),
        ("__import__('os').abort()", r"augment: cannot read .* \(expected a name\)"),
        ("exit()", "found 'exit'"),
        ("cutout(__import__('os').abort())", "arguments are numbers, strings"),
        ("cutout((" * 3000, "augment: cannot read"),
    ],
)
def test_what_cannot_be_meant_is_said_in_one_line(text, reason):
    if reason is None:
        assert augment.parse(text)
        return
    with pytest.raises(ValueError, match=rf"^[^\n]*{reason}[^\n]*$"):
        augment.parse(text)


@given(st.text(st.sampled_from("abz_(),=.'\"*[]{} 01\n\x00é") | st.characters(), max_size=30))
def test_any_text_is_read_or_refused(text):
    message = ""
    try:
        augment.parse(text)
    except ValueError as error:
        message = str(error)
    assert "\n" not in message


def test_names_are_the_public_makers_and_say_what_they_do():
    for name in augment.NAMES:
        assert inspect.getdoc(getattr(augment, name))
