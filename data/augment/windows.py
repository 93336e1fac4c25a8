"""Windows `[batch, 4]` in images: (top, left, height, width) in pixels, float32, fractions too."""

import math

import tensorflow as tf


def random_windows(size, uniform, area_range, aspect_ratio_range):
    """Windows inside images of `size` (height, width), from numbers `uniform [batch, 4]`.

    The share of the area is uniform in `area_range`, and width over height uniform on a logarithmic scale in the part
    of `aspect_ratio_range` with which that area fits (or the nearest that fits); the place is uniform where it fits.
    """
    # In float64, because a float32 exponential differs in its last bit between the packets of a vectorised loop and
    # its remainder: what an example becomes would depend on its place in the batch.
    uniform = tf.cast(uniform, tf.float64)
    full_height, full_width = map(float, size)
    area = _between(area_range, uniform[:, 0]) * full_height * full_width
    flattest, widest = tf.math.log(area / full_height**2), tf.math.log(full_width**2 / area)
    limits = [
        tf.minimum(tf.maximum(tf.constant(math.log(r), area.dtype), flattest), widest) for r in aspect_ratio_range
    ]
    ratio = tf.exp(_between(limits, uniform[:, 1]))
    height, width = tf.minimum(tf.sqrt(area / ratio), full_height), tf.minimum(tf.sqrt(area * ratio), full_width)
    top, left = uniform[:, 2] * (full_height - height), uniform[:, 3] * (full_width - width)
    return tf.cast(tf.stack([top, left, height, width], axis=1), tf.float32)


def pasted(images, windows, others):
    """`others`, a number or images of that shape, in the windows, which may reach out of the image; else `images`.

    A pixel belongs to the window if its centre does.
    """
    _, height, width, channels = images.shape
    down, across = inside(windows, (height, width))
    # One row of values for each row of pixels, because broadcasting over channels is slow.
    window = down[:, :, None] & tf.repeat(across, channels, axis=1)[:, None]
    others, rows = (
        part if part.shape.rank == 0 else tf.reshape(part, [-1, height, width * channels]) for part in (others, images)
    )
    return tf.reshape(tf.where(window, others, rows), [-1, height, width, channels])


def inside(windows, size):
    """Which rows `[batch, height]` and columns `[batch, width]` of images of that `size` are in the windows: bool."""
    top, left, height, width = tf.unstack(windows[:, :, None], axis=1)
    rows, columns = (tf.range(length, dtype=tf.float32) + 0.5 for length in size)
    return (rows >= top) & (rows < top + height), (columns >= left) & (columns < left + width)


def _between(limits, uniform):
    return limits[0] + (limits[1] - limits[0]) * uniform
