"""Brightness, contrast, saturation and hue, of uint8 images from 0 to 255 or floating ones from 0 to 1.

Results are kept in that range; uint8 is rounded. Images have 3 channels (red, green, blue) or 1, which has neither
saturation nor hue and stays as it is there. Factors are as in Pillow's `ImageEnhance`: 1 is the image itself. The
`adjust_…` functions take a number for each image, `[batch]` float32; the others draw it.
"""

import tensorflow as tf

from data.augment.checks import number
from data.augment.geometry import signed
from data.marks import by_example
from data.values import LUMA, computed, flat, restored, white


def brightness(factor):
    """Multiply each image by a number uniform in [1 − factor, 1 + factor], factor at most 1: black is 0."""
    return _random("brightness", factor, adjust_brightness, around=1.0)


def contrast(factor):
    """Scale each image's distance from its mean grey by a number uniform in [1 − factor, 1 + factor], factor ≤ 1."""
    return _random("contrast", factor, adjust_contrast, around=1.0)


def saturation(factor):
    """Scale the distance of each pixel from its grey by a number uniform in [1 − factor, 1 + factor], factor ≤ 1."""
    return _random("saturation", factor, adjust_saturation, around=1.0)


def hue(factor):
    """Turn the hue of each image by an angle uniform in [−factor, factor], in full turns, factor at most ½."""
    return _random("hue", factor, adjust_hue, around=0.0, highest=0.5)


def adjust_brightness(images, factors):
    """factor·x."""
    largest, values = white(images, "adjust_brightness"), computed(flat(images))
    brighter = tf.minimum(tf.cast(factors, values.dtype)[:, None] * values, largest)
    return tf.reshape(restored(brighter, images.dtype), [-1, *images.shape[1:]])


def adjust_contrast(images, factors):
    """factor·x + (1 − factor)·m, m the mean over an image's pixels of their grey."""
    name = "adjust_contrast"
    # Sums of whole numbers, the same in every order: the batch must not show. Floats are rounded to 2⁻²⁴ for it.
    unit = 1.0 if white(images, name) == 255.0 else 2.0**24
    wholes = images if unit == 1.0 else tf.round(computed(images) * unit)
    means = tf.reduce_sum(tf.cast(wholes, tf.int64), axis=[1, 2]) / (images.shape[1] * images.shape[2])
    blended = blend(flat(images), _grey(means, name) / unit, factors)
    return tf.reshape(blended, [-1, *images.shape[1:]])


def adjust_saturation(images, factors):
    """factor·x + (1 − factor)·g, g the grey of each pixel, 0.299·R + 0.587·G + 0.114·B (ITU-R BT.601)."""
    name = "adjust_saturation"
    white(images, name)
    return images if images.shape[3] == 1 else blend(images, _grey(computed(images), name), factors)


def adjust_hue(images, turns):
    """The hue of HSV moved by `turns`, 1 the full circle; value and saturation stay.

    Smith, "Color gamut transform pairs", SIGGRAPH 1978: the hexcone.
    """
    largest = white(images, "adjust_hue")
    if images.shape[3] == 1:
        return images
    red, green, blue = _channels(computed(images), "adjust_hue")
    high = tf.maximum(tf.maximum(red, green), blue)
    low = tf.minimum(tf.minimum(red, green), blue)
    chroma = high - low
    # Sixths of a turn from red, times chroma.
    sixths = tf.where(tf.equal(high, green), blue - red + 2 * chroma, red - green + 4 * chroma)
    sixths = tf.where(tf.equal(high, red), green - blue, sixths)
    hue = tf.math.divide_no_nan(sixths, chroma) + tf.cast(turns * 6, high.dtype)[:, None, None]
    hue = hue - 6 * tf.floor(hue / 6)
    shares = (tf.abs(hue - 3) - 1, 2 - tf.abs(hue - 2), 2 - tf.abs(hue - 4))
    moved = [tf.minimum(low + chroma * tf.clip_by_value(share, 0, 1), largest) for share in shares]
    return tf.stack([restored(channel, images.dtype) for channel in moved], axis=-1)


def blend(images, background, factors):
    """factor·x + (1 − factor)·background, `[batch, …]` both, kept in the range of `images`."""
    values = computed(images)
    factors = tf.reshape(tf.cast(factors, values.dtype), [-1, *[1] * (images.shape.rank - 1)])
    blended = factors * values + (1 - factors) * tf.cast(background, values.dtype)
    return restored(tf.clip_by_value(blended, 0, white(images, "blend")), images.dtype)


def _grey(values, name):
    if values.shape[-1] == 1:
        return values
    red, green, blue = _channels(values, name)
    return (((LUMA[0] * red + LUMA[1] * green) + LUMA[2] * blue) / 2**16)[..., None]


def _channels(values, name):
    if values.shape[-1] != 3:
        raise ValueError(f"{name}: images must have 1 or 3 channels, found {values.shape[-1]}")
    return tf.unstack(values, axis=-1)


def _random(name, factor, adjust, around, highest=1.0):
    limit = number(name, "factor", factor, 0, highest)

    @by_example
    def adjusted(batch, draws):
        return {**batch, "inputs": adjust(batch["inputs"], around + signed(draws.uniform(), limit))}

    return adjusted
