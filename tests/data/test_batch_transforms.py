"""Transforms are what NumPy and Pillow make of the same numbers, and stand among augmentations too."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import data

sizes = st.integers(1, 20)


@given(sizes, sizes, sizes, sizes, st.sampled_from(["uint8", "float32", "float64"]))
def test_resize_is_pillows_both_ways(height, width, new_height, new_width, dtype):
    values = np.random.default_rng(0).integers(0, 256, [height, width]).astype(dtype)
    found = data.resize(new_height, new_width)({"inputs": tf.constant(values[None, ..., None])})["inputs"]
    assert (found.dtype, found.shape) == (dtype, [1, new_height, new_width, 1])
    picture = Image.fromarray(values.astype(np.float32)).resize((new_width, new_height), Image.Resampling.BILINEAR)
    allowed = 0.501 if dtype == "uint8" else 1e-3
    assert np.max(np.abs(np.asarray(picture) - np.float64(found[0, ..., 0]))) <= allowed


@given(st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3), st.sampled_from([[0.5], [0.1, 2.0, 3.0], 0.25]))
def test_normalize_takes_each_channels_mean_and_std(mean, std):
    for dtype in ("float32", "float64"):
        values = np.random.default_rng(0).random([2, 3, 4, 3]).astype(dtype)
        found = data.normalize(mean, std)({"inputs": tf.constant(values), "labels": 1})
        expected = (values - np.array(mean, dtype)) / np.array(std, dtype)
        np.testing.assert_allclose(found["inputs"], expected, rtol=1e-6, atol=1e-6)
        assert found["inputs"].dtype == dtype
        assert found["labels"] == 1


def test_one_hot_makes_rows_of_class_numbers_and_keeps_rows():
    found = data.one_hot(3)({"labels": tf.constant([2, 0], tf.int64)})["labels"]
    assert found.dtype == tf.float32
    assert found.numpy().tolist() == [[0, 0, 1], [1, 0, 0]]
    assert data.one_hot(3)({"labels": found})["labels"] is found


def test_transforms_chain_and_stand_among_augmentations():
    chain = data.augment.compose(data.to_float, data.normalize(0.5, 0.5), data.resize(2, 2), data.one_hot(2))
    source = data.Arrays(np.full([4, 6, 6, 1], 255, np.uint8), np.array([0, 1, 1, 0]))
    expected = chain({"inputs": tf.constant(source.arrays["inputs"]), "labels": tf.constant(source.arrays["labels"])})
    np.testing.assert_allclose(expected["inputs"], np.ones([4, 2, 2, 1]), rtol=1e-6)
    for pipeline in (
        data.Pipeline(source, 4, shuffle=False, transform=chain),
        data.Pipeline(source, 4, shuffle=False, augment=chain),
    ):
        found = next(iter(pipeline.training(0)))
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize(
    ("make", "error", "reason"),
    [
        (
            lambda: data.normalize(0.0, 0.0),
            ValueError,
            "normalize: mean and std must be finite, std above 0, found 0.0",
        ),
        (lambda: data.normalize(float("nan"), 1.0), ValueError, "normalize: mean and std must be finite"),
        (lambda: data.resize(0, 3), ValueError, "resize: height and width must be at least 1, found 0 and 3"),
        (lambda: data.one_hot(None), ValueError, "one_hot: classes must be a whole number of at least 1, found None"),
    ],
)
def test_what_cannot_be_is_refused(make, error, reason):
    with pytest.raises(error, match=reason):
        make()


def test_inputs_and_labels_that_do_not_fit_are_refused():
    with pytest.raises(TypeError, match="normalize: inputs must be floating, found uint8: let to_float come first"):
        data.normalize(0.5, 0.5)({"inputs": tf.zeros([1, 2, 2, 3], tf.uint8)})
    with pytest.raises(ValueError, match="normalize: std has 2 numbers, inputs 3 channels"):
        data.normalize(0.5, [1.0, 2.0])({"inputs": tf.zeros([1, 2, 2, 3])})
    with pytest.raises(ValueError, match=r"one_hot: float labels must have shape \[batch, 3\], found \(2,\)"):
        data.one_hot(3)({"labels": tf.zeros([2])})
