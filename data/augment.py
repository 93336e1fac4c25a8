"""Augmentations: functions (batch, draws) -> batch that only training applies.

Each works on `batch["inputs"]`, images `[batch, height, width, channels]` of any integer or float dtype, and
keeps shape and dtype; all else in the batch passes through. The random numbers of each example come from
`draws.uniform(*values)`.
"""

import operator

import tensorflow as tf

_MODES = ("constant", "reflect")


def flip_left_right():
    """Mirror each image left to right with probability ½."""

    def flip(batch, draws):
        images = batch["inputs"]
        flipped = draws.uniform()[:, None, None, None] < 0.5
        return {**batch, "inputs": tf.where(flipped, tf.reverse(images, axis=[2]), images)}

    return flip


def random_crop(padding, mode="constant"):
    """Move each image by whole pixels, uniform in [−padding, padding] down and across.

    What enters the picture is zeros (`"constant"`) or the mirror image about the edge pixels (`"reflect"`).
    Raises ValueError for another mode, a negative padding, or a reflection that is larger than the image.
    He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016, section 4.2: padding 4.
    """
    if mode not in _MODES:
        raise ValueError(f"random_crop: mode must be one of {', '.join(_MODES)}, found {mode!r}")
    if operator.index(padding) < 0:
        raise ValueError(f"random_crop: padding must be at least 0 pixels, found {padding}")

    def crop(batch, draws):
        images = batch["inputs"]
        _, height, width, _ = images.shape
        if mode == "reflect" and padding >= min(height, width):
            raise ValueError(
                f"random_crop: height and width must exceed {padding} to be reflected, found {height}×{width}"
            )
        corners = tf.cast(draws.uniform(2) * (2.0 * padding + 1.0), tf.int32)
        rows = corners[:, :1] + tf.range(height)
        columns = corners[:, 1:] + tf.range(width)
        padded = tf.pad(images, [[0, 0], [padding, padding], [padding, padding], [0, 0]], mode)
        windows = tf.gather(padded, rows, axis=1, batch_dims=1)
        return {**batch, "inputs": tf.gather(windows, columns, axis=2, batch_dims=1)}

    return crop


def compose(*augments):
    """Apply `augments` one after the other, each with draws of its own."""

    def composed(batch, draws):
        for augment in augments:
            batch = augment(batch, draws)
        return batch

    return composed
