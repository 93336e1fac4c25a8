"""Patches of the images that a layer was fitted to have mean 0 and the identity as covariance."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
import layers


def smooth(count, height=9, width=8, channels=3, seed=0):
    """Images whose neighbouring pixels and channels are correlated, as those of photographs are."""
    rng = np.random.default_rng(seed)
    grain = rng.normal(size=[count, height + 2, width + 2, channels]).cumsum(axis=3)
    blurred = sum(grain[:, i : i + height, j : j + width] for i in range(3) for j in range(3))
    return 0.5 + 0.05 * blurred + 0.1 * rng.normal(size=[count, 1, 1, 1])


def half(layer, images):
    """The first half of the outputs, one row a patch."""
    y = layer(tf.constant(images)).numpy()
    return y[..., : layer.filters // 2].reshape(-1, layer.filters // 2), y


@settings(max_examples=8, deadline=None)
@given(st.tuples(st.integers(1, 3), st.integers(1, 3)), st.integers(1, 3), st.floats(0.1, 100), st.floats(-9, 9))
def test_whitened_patches_have_mean_0_and_identity_covariance_whatever_scale_and_offset(size, channels, scale, offset):
    images = scale * smooth(40, channels=channels) + offset
    layer = layers.Whitening(channels, size, epsilon=1e-12, dtype="float64").fit(images)
    patches, y = half(layer, images)
    np.testing.assert_allclose(patches.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(patches.T @ patches / len(patches), np.eye(patches.shape[1]), atol=1e-6)
    np.testing.assert_allclose(y[..., patches.shape[1] :], -y[..., : patches.shape[1]], atol=1e-9)


def test_epsilon_holds_back_the_directions_in_which_patches_hardly_differ():
    images = smooth(40, channels=1)
    patches, _ = half(layers.Whitening(1, epsilon=1e-12, dtype="float64").fit(images), images)
    held, _ = half(layers.Whitening(1, epsilon=0.5, dtype="float64").fit(images), images)
    windows = np.stack([images[:, i : i + 8, j : j + 7, 0].ravel() for i in range(2) for j in range(2)])
    values = np.linalg.eigvalsh(np.cov(windows, bias=True))[::-1]
    np.testing.assert_allclose(held.var(axis=0), values / (values + 0.5 * values.mean()), rtol=1e-9)
    np.testing.assert_allclose(patches.var(axis=0), 1, rtol=1e-9)


def test_training_moves_the_bias_and_never_the_kernel():
    layer = layers.Whitening(3)
    assert [variable.name for variable in engine.trainable_variables(layer)] == [layer.bias.name]
    assert set(engine.variable_paths(layer)) == {"kernel", "bias"}


def test_a_layer_that_was_not_fitted_rotates_patches():
    layer = layers.Whitening(3, dtype="float64")
    kernel = layer.kernel.numpy().reshape(12, 24)
    np.testing.assert_allclose(kernel @ kernel.T, 2 * np.eye(12), atol=1e-12)


def test_the_same_images_make_the_same_bits_and_a_saved_layer_keeps_them(tmp_path):
    images = smooth(10).astype(np.float32)
    layer, other = layers.Whitening(3).fit(images), layers.Whitening(3).fit(images)
    np.testing.assert_array_equal(layer.kernel, other.kernel)
    loaded = engine.load_model(engine.save_model(layer, tmp_path / "layer.h5"))
    np.testing.assert_array_equal(loaded(images), layer(images))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_it_computes_in_the_dtype_of_its_input(dtype):
    images = smooth(10).astype(np.float32)
    layer = layers.Whitening(3).fit(images)
    found = layer(tf.cast(images, dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(tf.cast(found, tf.float32), layer(images), atol=0.02 if dtype == "float16" else 0.2)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: layers.Whitening(0), ValueError, "in_channels must be a positive integer, found 0"),
        (lambda: layers.Whitening(3, epsilon=0), ValueError, "epsilon must be positive, found 0"),
        (lambda: layers.Whitening(3).fit(np.zeros([2, 1, 4, 3])), ValueError, "window's height of 2 exceeds the input"),
        (lambda: layers.Whitening(3).fit(np.full([2, 4, 4, 3], 0.3)), ValueError, "all are alike"),
        (lambda: layers.Whitening(3).fit(np.zeros([2, 4, 4, 3], np.uint8)), TypeError, "found an input of uint8"),
        (lambda: layers.Whitening(3)(tf.zeros([2, 4, 4, 1])), ValueError, "expects a last dimension of 3, found 1"),
    ],
)
def test_what_it_cannot_take_is_refused(act, error, message):
    with pytest.raises(error, match=message):
        act()
