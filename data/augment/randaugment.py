"""RandAugment: a few operations drawn at random for each image, all of one strength."""

import tensorflow as tf

from data.augment import enhance
from data.augment.checks import number, whole
from data.augment.color import adjust_brightness, adjust_contrast, adjust_saturation
from data.augment.warp import affine, warp
from data.marks import by_example
from data.values import levels, white

# What the strength ±1 is: degrees, the tangent of an angle, a share of the image; the rest stands below.
_WARPS = {"rotate": 30.0, "shear_x": 0.3, "shear_y": 0.3, "translate_x": 150 / 331, "translate_y": 150 / 331}
_TONES = {
    "brightness": lambda images, s: adjust_brightness(images, 1 + 0.9 * s),
    "color": lambda images, s: adjust_saturation(images, 1 + 0.9 * s),
    "contrast": lambda images, s: adjust_contrast(images, 1 + 0.9 * s),
    "sharpness": lambda images, s: enhance.adjust_sharpness(images, 1 + 0.9 * s),
    "posterize": lambda images, s: enhance.posterize(images, 8 - tf.cast(tf.round(4 * tf.abs(s)), tf.int32)),
    "solarize": lambda images, s: enhance.solarize(images, 255 * (1 - tf.abs(s))),
    "autocontrast": lambda images, s: enhance.autocontrast(images),
    "equalize": lambda images, s: enhance.equalize(images),
    "identity": lambda images, s: images,
}
OPERATIONS = (*_WARPS, *_TONES)


def rand_augment(n=2, m=9, fill_value=0.0):
    """For each image, `n` times one of 14 operations drawn evenly, with the strength `m` of 30.

    | operation | at m = 30 |
    |---|---|
    | rotate, shear_x, shear_y, translate_x, translate_y | ±30°, ±0.3, ±0.3, ±45% of the width, ±45% of the height |
    | brightness, color, contrast, sharpness | the factor 1 ± 0.9 (`brightness`, `saturation`, `contrast`) |
    | posterize, solarize | to 4 bits; all values inverted (at m = 0: 8 bits; only the value 255) |
    | autocontrast, equalize, identity | always the same |

    Signs are drawn. Images are uint8, or floating in [0, 1], which are rounded to steps of 1/255, because some of the
    operations are about these. Warps are bilinear and fill with `fill_value`, in the unit of the images.
    Cubuk, Zoph, Shlens, Le, "RandAugment: practical automated data augmentation with a reduced search space", 2020.
    """
    n = whole("rand_augment", "n", n, 1)
    strength = number("rand_augment", "m", m, 0, 30) / 30
    fill_value = number("rand_augment", "fill_value", fill_value, 0, 255)

    @by_example
    def augmented(batch, draws):
        images = batch["inputs"]
        changed, unit = levels(images, "rand_augment"), 255.0 / white(images, "rand_augment")
        for drawn in tf.unstack(draws.uniform(n, 2), axis=1):
            numbers = tf.cast(drawn[:, 0] * len(OPERATIONS), tf.int32)
            signs = tf.where(drawn[:, 1] < 0.5, -strength, strength)
            changed = operate(changed, numbers, signs, fill_value * unit)
        if images.dtype != tf.uint8:
            changed = tf.cast(tf.cast(changed, tf.float32) / 255.0, images.dtype)
        return {**batch, "inputs": changed}

    return augmented


def operate(images, numbers, strengths, fill_value=0.0):
    """uint8 images, each by the operation `OPERATIONS[number]` with its strength in [−1, 1]: both `[batch]`."""
    # All warps are one group; each of the other operations computes only on the images that drew it.
    groups = tf.maximum(numbers - len(_WARPS) + 1, 0)
    count = len(_TONES) + 1
    rows = tf.dynamic_partition(tf.range(tf.size(numbers)), groups, count)
    parts = tf.dynamic_partition(images, groups, count)
    parts = [tf.ensure_shape(part, [None, *images.shape[1:]]) for part in parts]
    done = [_warped(parts[0], tf.gather(numbers, rows[0]), tf.gather(strengths, rows[0]), fill_value)]
    for tone, part, row in zip(_TONES.values(), parts[1:], rows[1:], strict=True):
        done.append(tone(part, tf.gather(strengths, row)))
    return tf.ensure_shape(tf.dynamic_stitch(rows, done), images.shape)


def _warped(images, numbers, strengths, fill_value):
    height, width = images.shape[1:3]
    degrees, x_shear, y_shear, right, down = (
        tf.where(tf.equal(numbers, number), strengths * most, 0.0) for number, most in enumerate(_WARPS.values())
    )
    matrices = affine((height, width), degrees, x_shear, y_shear, 1.0, right * width, down * height)
    return warp(images, matrices, fill_value=fill_value)
