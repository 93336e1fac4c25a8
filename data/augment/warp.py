"""The inverse warp: a pixel of the result is read where a matrix says, between pixels and beyond the edges."""

import functools
import math

import tensorflow as tf

from data.augment.checks import number, one_of
from data.values import computed, restored

FILL_MODES = ("constant", "nearest", "reflect")
INTERPOLATIONS = ("bilinear", "nearest")


def warp(images, matrices, fill_mode="constant", fill_value=0.0, interpolation="bilinear", size=None):
    """The pixel (x, y) of the result is the image at M·(x, y, 1): x counts columns and y rows, from pixel centres.

    images: `[batch, height, width, channels]` of any integer or float dtype, which the result keeps; matrices:
    `[batch, 2, 3]` float32; size: the (height, width) of the result, unless that of the images. Between pixels, values
    are weighted (`"bilinear"`, rounded for integers) or the nearest is taken. Beyond the edges is `fill_value`, in the
    unit of the images (`"constant"`), the edge (`"nearest"`), or the mirror image (`"reflect"`:
    d c b a | a b c d | d c b a). These are SciPy's grid-constant, nearest and reflect.
    """
    if images.dtype == tf.uint8 and not 0 <= fill_value <= 255:
        raise ValueError(f"fill_value must be from 0 to 255 for uint8 images, found {fill_value:g}")
    size = images.shape[1:3] if size is None else size
    plain = interpolation == "nearest" and images.dtype == tf.uint8
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=images if plain else computed(images),
        transforms=tf.pad(tf.reshape(matrices, [-1, 6]), [[0, 0], [0, 2]]),
        output_shape=size,
        fill_value=fill_value,
        interpolation=interpolation.upper(),
        fill_mode=fill_mode.upper(),
    )
    return tf.ensure_shape(warped if plain else restored(warped, images.dtype), [None, *size, images.shape[3]])


def checked_fill(name, fill_mode, fill_value, interpolation):
    """The three as keywords for `warp`; ValueError in the name of `name` for what they cannot be."""
    return {
        "fill_mode": one_of(name, "fill_mode", fill_mode, FILL_MODES),
        "fill_value": number(name, "fill_value", fill_value, -math.inf),
        "interpolation": one_of(name, "interpolation", interpolation, INTERPOLATIONS),
    }


def affine(size, degrees=0.0, x_shear=0.0, y_shear=0.0, magnification=1.0, right=0.0, down=0.0):
    """Matrices `[batch, 2, 3]` for `warp`, of images whose `size` is (height, width).

    The picture is magnified and sheared, turned by `degrees` counter-clockwise, and moved `right` and `down` by pixels:
    p is read at c + A·(p − c − t), c the centre, t = (right, down), A = R·[[1, x_shear], [y_shear, 1]] / magnification,
    R the rotation back. Arguments are numbers or float32 `[batch]`.
    """
    values = [tf.convert_to_tensor(v, tf.float32) for v in (degrees, x_shear, y_shear, magnification, right, down)]
    zeros = tf.zeros(functools.reduce(tf.broadcast_dynamic_shape, map(tf.shape, values)))
    degrees, x_shear, y_shear, magnification, right, down = (value + zeros for value in values)
    # In float64, because a float32 cosine differs in its last bit between the packets of a vectorised loop and its
    # remainder: what an example becomes would depend on its place in the batch.
    radians = tf.cast(degrees, tf.float64) * (math.pi / 180)
    cos, sin = tf.cast(tf.cos(radians), tf.float32), tf.cast(tf.sin(radians), tf.float32)
    a, b = (cos - sin * y_shear) / magnification, (cos * x_shear - sin) / magnification
    c, d = (sin + cos * y_shear) / magnification, (sin * x_shear + cos) / magnification
    x, y = (size[1] - 1) / 2, (size[0] - 1) / 2
    across, along = x + right, y + down
    entries = [a, b, x - a * across - b * along, c, d, y - c * across - d * along]
    return tf.reshape(tf.stack(entries, axis=-1), [-1, 2, 3])
