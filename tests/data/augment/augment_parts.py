"""What the laws of augmentations share: pictures, and draws that are given."""

import numpy as np
import scipy.ndimage
import tensorflow as tf
from hypothesis import strategies as st

below_one = st.floats(0, 1, exclude_max=True, width=32)


class Given:
    """Draws that are given, one array a call."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def uniform(self, *values):
        numbers = np.float32(self.numbers.pop(0))
        assert numbers.shape[1:] == values
        return tf.constant(numbers)

    def beta(self, alpha):
        return tf.constant(np.float32(self.numbers.pop(0)))


def uniforms(count, *values):
    """Arrays `[count, *values]` of numbers in [0, 1)."""
    size = int(np.prod([count, *values]))
    return st.lists(below_one, min_size=size, max_size=size).map(
        lambda drawn: np.float32(drawn).reshape(count, *values)
    )


@st.composite
def pictures(draw, dtypes=("uint8", "float32"), channels=(1, 3), least=4):
    """Images `[batch, height, width, channels]`: uint8 and other integers to 255, floats to 1."""
    shape = [draw(st.integers(1, 4)), *(draw(st.integers(least, 9)) for _ in range(2)), draw(st.sampled_from(channels))]
    return noise(shape, draw(st.sampled_from(dtypes)), draw(st.integers(0, 999)))


def noise(shape, dtype="uint8", seed=0):
    numbers = np.random.default_rng(seed).integers(0, 256, shape)
    dtype = tf.as_dtype(dtype)
    return (numbers if dtype.is_integer else numbers / 255).astype(dtype.as_numpy_dtype)


def applied(function, images, draws):
    """The images that `function` makes; it must keep shape, dtype, and everything else in the batch."""
    labels = tf.range(len(images))
    batch = function({"inputs": tf.constant(images), "labels": labels}, draws)
    assert batch.keys() == {"inputs", "labels"}
    assert batch["labels"] is labels
    found = batch["inputs"].numpy()
    assert (found.shape, found.dtype) == (images.shape, images.dtype)
    return found


def assert_rounded(found, exact, slack=1e-3):
    """Integers are the exact values rounded, where float32 leaves no doubt; floats are the exact values."""
    if found.dtype.kind in "iu":
        assert np.max(np.abs(found - np.float64(exact)), initial=0) <= 0.5 + slack
    else:
        np.testing.assert_allclose(np.float64(found), exact, atol=2e-3 if found.dtype.itemsize == 2 else 1e-5)


def centred(image, linear, move, cval=0.0):
    """`image` by SciPy's affine_transform: the pixel at p from the centre is read at linear·(p − move), rows first."""
    linear, centre = np.float64(linear), (np.array(image.shape[:2]) - 1) / 2
    offset = centre - linear @ (centre + move)
    planes = [
        scipy.ndimage.affine_transform(np.float64(plane), linear, offset, order=1, mode="grid-constant", cval=cval)
        for plane in np.moveaxis(image, -1, 0)
    ]
    return np.stack(planes, axis=-1)


def rotated(degrees):
    """What `centred` needs to turn an image counter-clockwise."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return [[cos, sin], [-sin, cos]]
