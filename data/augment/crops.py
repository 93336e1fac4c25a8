"""Windows of images: moved by whole pixels, or of another size and stretched to one."""

import tensorflow as tf

from data.augment.checks import interval, one_of, whole
from data.augment.warp import FILL_MODES, INTERPOLATIONS, warp
from data.augment.windows import random_windows
from data.marks import by_example


def random_crop(padding=4, fill_mode="constant"):
    """Move each image by whole pixels, uniform in [−padding, padding] down and across; any dtype.

    What enters the picture is zeros (`"constant"`), the edge (`"nearest"`) or the mirror image (`"reflect"`:
    d c b a | a b c d | d c b a), for which the padding may be as large as the image.
    He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016, section 4.2: padding 4.
    """
    padding = whole("random_crop", "padding", padding, 0)
    one_of("random_crop", "fill_mode", fill_mode, FILL_MODES)

    @by_example
    def crop(batch, draws):
        images = batch["inputs"]
        _, height, width, channels = images.shape
        if fill_mode == "reflect" and padding > min(height, width):
            raise ValueError(
                f"random_crop: height and width must be at least {padding} to be reflected, found {height}×{width}"
            )
        moves = tf.cast(draws.uniform(2) * (2.0 * padding + 1.0), tf.int32) - padding
        rows, columns = moves[:, :1] + tf.range(height), moves[:, 1:] + tf.range(width)
        inner_rows, inner_columns = _inside(rows, height, fill_mode), _inside(columns, width, fill_mode)
        pixels = tf.reshape(images, [-1, channels])
        first = tf.range(tf.shape(images)[0]) * (height * width)
        places = (first[:, None] + inner_rows * width)[:, :, None] + inner_columns[:, None]
        if fill_mode == "constant":
            # What lies outside is read from one more pixel, a black one.
            kept = tf.equal(rows, inner_rows)[:, :, None] & tf.equal(columns, inner_columns)[:, None]
            places = tf.where(kept, places, tf.shape(pixels)[0])
            pixels = tf.pad(pixels, [[0, 1], [0, 0]])
        return {**batch, "inputs": tf.ensure_shape(tf.gather(pixels, places), images.shape)}

    return crop


def _inside(places, size, fill_mode):
    """Places on a line of `size` pixels, those beyond its ends brought back to them, or reflected."""
    if fill_mode == "reflect":
        places = tf.where(places < 0, -1 - places, places)
        places = tf.where(places >= size, 2 * size - 1 - places, places)
    return tf.clip_by_value(places, 0, size - 1)


def random_resized_crop(
    height=None, width=None, area_range=(0.08, 1.0), aspect_ratio_range=(3 / 4, 4 / 3), interpolation="bilinear"
):
    """A window anywhere in each image, stretched to `height` × `width`, or to the image's own size.

    Its share of the image's area is uniform in `area_range`; its width over its height is uniform on a logarithmic
    scale in that part of `aspect_ratio_range` with which it fits; its place is uniform where it fits. Edges of the
    window may cut pixels; interpolation reads half a pixel beyond them, where there is one. No antialiasing: what is
    larger than the result loses pixels. Any integer or float dtype.
    Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 6.
    """
    name = "random_resized_crop"
    given = [
        None if size is None else whole(name, argument, size, 1)
        for argument, size in (("height", height), ("width", width))
    ]
    areas = interval(name, "area_range", area_range, 1e-4, 1)
    ratios = interval(name, "aspect_ratio_range", aspect_ratio_range, 1e-2, 1e2)
    one_of(name, "interpolation", interpolation, INTERPOLATIONS)

    @by_example
    def crop(batch, draws):
        images = batch["inputs"]
        size = [own if wanted is None else wanted for own, wanted in zip(images.shape[1:3], given, strict=True)]
        windows = random_windows(images.shape[1:3], draws.uniform(4), areas, ratios)
        return {**batch, "inputs": resized_windows(images, windows, size, interpolation)}

    return crop


def resized_windows(images, windows, size, interpolation="bilinear"):
    """The `windows [batch, 4]` of `images` (top, left, height, width in pixels, fractions too), stretched to `size`.

    The centre of pixel i of n in the result is at (i + ½)·length/n of the window, as in Pillow's `resize(box=…)`.
    """
    top, left, height, width = tf.unstack(windows, axis=1)
    down, across = height / size[0], width / size[1]
    zero = tf.zeros_like(top)
    rows = [across, zero, left + across / 2 - 0.5, zero, down, top + down / 2 - 0.5]
    matrices = tf.reshape(tf.stack(rows, axis=1), [-1, 2, 3])
    return warp(images, matrices, "nearest", interpolation=interpolation, size=size)
