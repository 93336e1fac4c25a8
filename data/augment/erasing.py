"""A rectangle of each image goes; any dtype. `fill_value` is in the unit of the images."""

import math

import tensorflow as tf

from data.augment.checks import interval, number
from data.augment.windows import pasted, random_windows
from data.marks import by_example


def cutout(size, fill_value=0.0):
    """Fill a square of `size` pixels whose centre is uniform in each image; what lies outside the image is cut off.

    DeVries, Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.
    """
    size = number("cutout", "size", size, 0)
    fill = _fill("cutout", fill_value)

    @by_example
    def cut(batch, draws):
        images = batch["inputs"]
        corners = draws.uniform(2) * tf.cast(images.shape[1:3], tf.float32) - size / 2
        windows = tf.concat([corners, tf.fill(tf.shape(corners), size)], axis=1)
        return {**batch, "inputs": fill(images, windows)}

    return cut


def random_erasing(probability=0.5, area_range=(0.02, 0.4), aspect_ratio_range=(0.3, 10 / 3), fill_value=0.0):
    """With `probability`, fill a rectangle of each image, drawn as `random_resized_crop` draws its windows.

    Zhong, Zheng, Kang, Li, Yang, "Random erasing data augmentation", AAAI 2020.
    """
    name = "random_erasing"
    probability = number(name, "probability", probability, 0, 1)
    areas = interval(name, "area_range", area_range, 1e-4, 1)
    ratios = interval(name, "aspect_ratio_range", aspect_ratio_range, 1e-2, 1e2)
    fill = _fill(name, fill_value)

    @by_example
    def erase(batch, draws):
        images = batch["inputs"]
        windows = random_windows(images.shape[1:3], draws.uniform(4), areas, ratios)
        # A window without height holds nothing.
        chosen = tf.cast(draws.uniform() < probability, tf.float32)
        return {**batch, "inputs": fill(images, windows * chosen[:, None])}

    return erase


def _fill(name, fill_value):
    fill_value = number(name, "fill_value", fill_value, -math.inf)

    def fill(images, windows):
        if images.dtype.is_integer and not images.dtype.min <= fill_value <= images.dtype.max:
            raise ValueError(f"{name}: fill_value must be a {images.dtype.name}, found {fill_value:g}")
        return pasted(images, windows, tf.cast(fill_value, images.dtype))

    return fill
