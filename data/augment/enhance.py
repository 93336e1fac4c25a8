"""The operations of RandAugment that are neither geometry nor colour, on uint8 images `[batch, height, width, c]`.

They are those of Pillow's `ImageEnhance` and `ImageOps`, value for value but for the rounding of `adjust_sharpness`.
"""

import tensorflow as tf

from data.augment.color import blend


def adjust_sharpness(images, factors):
    """factor·x + (1 − factor)·s, s the image smoothed; factors are `[batch]`, 0 smoothed, 1 the image, above sharper.

    s has rounded means over 3 × 3 pixels, the middle one counted five times, and edges as they are.
    """
    if min(images.shape[1:3]) < 3:
        return images
    values = tf.cast(images, tf.float32)
    rows = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
    sums = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * values[:, 1:-1, 1:-1]
    smooth = tf.floor(sums / 13 + 0.5)
    edges = tf.pad(tf.ones_like(smooth, tf.bool), [[0, 0], [1, 1], [1, 1], [0, 0]])
    smooth = tf.where(edges, tf.pad(smooth, [[0, 0], [1, 1], [1, 1], [0, 0]]), values)
    return blend(images, smooth, factors)


def posterize(images, bits):
    """Keep the highest `bits` of each value: `[batch]` integers from 1 to 8."""
    masks = tf.cast(256 - tf.bitwise.left_shift(1, 8 - bits), tf.uint8)
    return tf.bitwise.bitwise_and(images, masks[:, None, None, None])


def solarize(images, thresholds):
    """Invert the values that are not below the threshold of their image, `[batch]` numbers."""
    bright = tf.cast(images, tf.float32) >= thresholds[:, None, None, None]
    return tf.where(bright, 255 - images, images)


def autocontrast(images):
    """Stretch each channel of each image from 0 to 255; one that has a single value stays."""
    low = tf.cast(tf.reduce_min(images, axis=[1, 2]), tf.float64)
    high = tf.cast(tf.reduce_max(images, axis=[1, 2]), tf.float64)
    levels = tf.range(256, dtype=tf.float64)
    scale = 255 / tf.maximum(high - low, 1)
    table = tf.where((high > low)[..., None], (levels * scale[..., None]) + (-low * scale)[..., None], levels)
    return _looked_up(images, tf.cast(tf.clip_by_value(table, 0, 255), tf.uint8))


def equalize(images):
    """Spread the values of each channel of each image so that each stretch of them holds as many pixels."""
    flat = tf.cast(tf.reshape(_by_channel(images), [-1, images.shape[1] * images.shape[2]]), tf.int32)
    counts = tf.math.bincount(flat, minlength=256, maxlength=256, axis=-1)
    counts = tf.reshape(counts, [-1, images.shape[3], 256])
    levels = tf.range(256)
    last = tf.reduce_max(tf.where(counts > 0, levels, 0), axis=-1, keepdims=True)
    step = (images.shape[1] * images.shape[2] - tf.gather(counts, last, batch_dims=2)) // 255
    table = (step // 2 + tf.cumsum(counts, axis=-1, exclusive=True)) // tf.maximum(step, 1)
    return _looked_up(images, tf.cast(tf.where(step > 0, tf.minimum(table, 255), levels), tf.uint8))


def _looked_up(images, tables):
    """`images` by `tables [batch, channels, 256]`."""
    channels = _by_channel(images)
    found = tf.gather(tables, tf.cast(channels, tf.int32), batch_dims=2)
    return tf.ensure_shape(tf.transpose(found, [0, 2, 3, 1]), images.shape)


def _by_channel(images):
    return tf.transpose(images, [0, 3, 1, 2])
