"""The warp reads where SciPy reads, between pixels and beyond edges; rotations and their like are what Pillow and Keras
make of the same parameters."""

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from augment_parts import Given, applied, assert_rounded, centred, noise, pictures, rotated, uniforms
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data import augment
from data.augment.warp import affine, warp

MODES = {"constant": "grid-constant", "nearest": "nearest", "reflect": "reflect"}
ENTRIES = [-1.5, -0.93, -0.31, 0.0, 0.47, 1.0, 1.83]


def scipys(image, matrix, mode, order, cval=0.0, size=None):
    """An image `[height, width, channels]` read by SciPy at M·(x, y, 1)."""
    rows, columns = np.indices(size or image.shape[:2])
    x, y = (m[0] * columns + m[1] * rows + m[2] for m in np.float64(matrix))
    planes = [
        scipy.ndimage.map_coordinates(np.float64(plane), [y, x], order=order, mode=MODES[mode], cval=cval)
        for plane in np.moveaxis(image, -1, 0)
    ]
    return np.stack(planes, axis=-1), x, y


@given(pictures(("uint8", "int32", "float16", "float32", "float64")), st.sampled_from(list(MODES)), st.data())
def test_bilinear_warps_are_scipys(images, mode, draw):
    linear = st.lists(st.sampled_from(ENTRIES), min_size=6, max_size=6)
    matrices = np.float32([draw.draw(linear) for _ in images]).reshape(-1, 2, 3) * [1, 1, 4]
    cval = draw.draw(st.sampled_from([0.0, 0.5, 1.0]) if images.dtype.kind == "f" else st.integers(0, 255))
    found = warp(tf.constant(images), tf.constant(matrices, tf.float32), mode, cval).numpy()
    assert (found.dtype, found.shape) == (images.dtype, images.shape)
    assert_rounded(found, np.stack([scipys(*pair, mode, 1, cval)[0] for pair in zip(images, matrices, strict=True)]))


@given(pictures(("uint8", "float32", "float64")), st.sampled_from(list(MODES)), st.data())
def test_nearest_warps_are_scipys(images, mode, draw):
    linear = st.lists(st.sampled_from(ENTRIES), min_size=6, max_size=6)
    matrices = np.float32([draw.draw(linear) for _ in images]).reshape(-1, 2, 3) * [1, 1, 4] + [0, 0, 0.013]
    size = (draw.draw(st.integers(1, 9)), 5)
    warped = warp(
        tf.constant(images), tf.constant(matrices, tf.float32), mode, interpolation="nearest", size=size
    ).numpy()
    for found, image, matrix in zip(warped, images, matrices, strict=True):
        expected, x, y = scipys(image, matrix, mode, 0, size=size)
        # Halfway between two pixels, either is the nearest.
        clear = (np.abs(x % 1 - 0.5) > 1e-3) & (np.abs(y % 1 - 0.5) > 1e-3)
        np.testing.assert_array_equal(found[clear], expected[clear])


@pytest.mark.parametrize("turns", [-1, 1, 2, 3])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_a_quarter_turn_is_counter_clockwise_and_exact(turns, interpolation):
    images = noise([2, 7, 7, 3])
    found = warp(tf.constant(images), affine((7, 7), 90.0 * turns), interpolation=interpolation)
    np.testing.assert_array_equal(found, np.rot90(images, turns, axes=(1, 2)))


@given(st.floats(-180, 180), st.floats(0.5, 2), st.floats(-4, 4), st.floats(-4, 4))
def test_turned_magnified_and_moved_images_are_pillows(degrees, magnification, right, down):
    image = noise([1, 21, 17, 1], "float32")
    matrix = affine((21, 17), degrees, magnification=magnification, right=right, down=down)
    turned = Image.fromarray(image[0, ..., 0]).rotate(degrees, Image.Resampling.BILINEAR, translate=(right, down))
    if magnification != 1:
        # Pillow's matrices read at pixel corners.
        (a, b, c), (d, e, f) = np.float64(matrix[0])
        corners = (a, b, c + 0.5 - a / 2 - b / 2, d, e, f + 0.5 - d / 2 - e / 2)
        turned = Image.fromarray(image[0, ..., 0]).transform(
            (17, 21), Image.Transform.AFFINE, corners, Image.Resampling.BILINEAR
        )
    _, x, y = scipys(image[0], matrix[0], "constant", 1)
    inner = (x > 0.01) & (x < 15.99) & (y > 0.01) & (y < 19.99)
    found = warp(tf.constant(image), matrix)[0, ..., 0].numpy()
    np.testing.assert_allclose(found[inner], np.asarray(turned)[inner], atol=1e-4)


def test_rotations_zooms_and_translations_are_keras():
    images = tf.constant(noise([6, 9, 12, 3], "float32"))
    layers = keras.layers
    for mode in MODES:
        layer = layers.RandomRotation(0.5, mode, seed=1)
        drawn = layer.get_random_transformation(images)
        found = warp(images, affine((9, 12), drawn["angle"]), mode)
        np.testing.assert_allclose(found, layer.transform_images(images, drawn), atol=1e-4)
        layer = layers.RandomZoom(0.4, fill_mode=mode, seed=1)
        drawn = layer.get_random_transformation(images)
        found = warp(images, affine((9, 12), magnification=1 / drawn["height_zoom"][:, 0]), mode)
        np.testing.assert_allclose(found, layer.transform_images(images, drawn), atol=1e-4)
        layer = layers.RandomTranslation(0.4, 0.2, mode, seed=1)
        drawn = layer.get_random_transformation(images)
        right, down = tf.unstack(drawn["translations"], axis=1)
        found = warp(images, affine((9, 12), right=right, down=down), mode)
        np.testing.assert_allclose(found, layer.transform_images(images, drawn), atol=1e-4)


# What stands in SciPy's order: rows before columns. u is a drawn number in [−1, 1).
CASES = {
    "rotation": (augment.rotation(33), (), lambda u: (rotated(33 * u), [0, 0])),
    "zoom": (augment.zoom(0.6), (), lambda u: (np.eye(2) / (1 + 0.6 * u), [0, 0])),
    "translation": (augment.translation(0.3, 0.5), (2,), lambda u: (np.eye(2), [0.3 * 8 * u[0], 0.5 * 6 * u[1]])),
    "shear": (augment.shear(0.4, 0.2), (2,), lambda u: ([[1, 0.2 * u[1]], [0.4 * u[0], 1]], [0, 0])),
}


@pytest.mark.parametrize("name", list(CASES))
@given(st.data())
def test_each_draws_what_it_says(name, draw):
    function, values, geometry = CASES[name]
    images = noise([3, 8, 6, 2], draw.draw(st.sampled_from(["uint8", "float32"])))
    numbers = draw.draw(uniforms(3, *values))
    found = applied(function, images, Given(numbers))
    expected = [centred(image, *geometry(2 * np.float64(u) - 1)) for image, u in zip(images, numbers, strict=True)]
    assert_rounded(found, np.stack(expected), slack=1e-2)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("mode", list(MODES))
def test_no_strength_leaves_every_image_as_it_is(dtype, mode):
    images = noise([4, 7, 10, 3], dtype)
    for maker in (augment.rotation, augment.zoom, augment.translation, augment.shear):
        for interpolation in ("bilinear", "nearest"):
            numbers = np.random.default_rng(0).random([4] if maker in (augment.rotation, augment.zoom) else [4, 2])
            function = maker(0, fill_mode=mode, interpolation=interpolation)
            np.testing.assert_array_equal(applied(function, images, Given(numbers)), images)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: augment.rotation(-1), "rotation: degrees must be a number from 0 to 180, found -1"),
        (lambda: augment.rotation("15"), "rotation: degrees must be a number from 0 to 180, found '15'"),
        (lambda: augment.zoom(1), "zoom: factor must be a number from 0 to 0.9, found 1"),
        (lambda: augment.translation(float("nan")), "height_factor must be a number from 0 to 1, found nan"),
        (lambda: augment.shear(0.1, True), "shear: y_factor must be a number from 0 to 1, found True"),
        (lambda: augment.shear(0.1, fill_mode="wrap"), "fill_mode must be one of constant, nearest, reflect, found"),
        (lambda: augment.zoom(0.1, interpolation="cubic"), "interpolation must be one of bilinear, nearest, found"),
        (lambda: warp(tf.zeros([1, 2, 2, 1], tf.uint8), affine((2, 2)), fill_value=256), "from 0 to 255 for uint8"),
    ],
)
def test_what_cannot_be_is_refused(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()
