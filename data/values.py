"""The values of images: uint8 from 0 to 255, floats from 0 to 1, and the way from one to the other."""

import tensorflow as tf

# What ITU-R BT.601 makes of red, green and blue, in parts of 2¹⁶: grey stays exactly what it is.
LUMA = (19595, 38470, 7471)


def white(images, name):
    """The largest value of `images`: 255 for uint8, 1 for floats; TypeError naming `name` for what has none."""
    if images.dtype == tf.uint8:
        return 255.0
    if images.dtype.is_floating:
        return 1.0
    raise TypeError(f"{name}: inputs must be uint8 (0 to 255) or floating (0 to 1), found {images.dtype.name}")


def computed(images):
    """The same values in the dtype to compute in: float64 stays, all else is float32."""
    return images if images.dtype == tf.float64 else tf.cast(images, tf.float32)


def restored(values, dtype):
    """Computed values, which must lie in the range of `dtype`, as that; rounded if it is an integer one."""
    return tf.cast(tf.round(values) if dtype.is_integer else values, dtype)


def levels(images, name):
    """uint8 images: floats in steps of 1/255, cut off below 0 and above 1; TypeError naming `name` as with `white`."""
    if white(images, name) == 255.0:
        return images
    return restored(tf.clip_by_value(computed(images) * 255.0, 0.0, 255.0), tf.uint8)


def flat(images):
    """`[batch, values]`: TensorFlow is slow at broadcasting one number over the last of many dimensions."""
    return tf.reshape(images, [-1, images.shape[1:].num_elements()])
