"""Transforms: functions of a batch that training and evaluation share.

Each may also stand among augmentations, in `data.augment.compose`: of the draws that it is given there, it takes none.
"""

import tensorflow as tf

from data.marks import by_example
from data.values import computed, restored


@by_example
def to_float(batch, draws=None):
    """The batch with `inputs` as float32 in [0, 1]: x / 255 for uint8 inputs of any shape.

    Raises TypeError for other dtypes, whose range is not known.

    >>> to_float({"inputs": tf.constant([0, 51, 255], tf.uint8)})["inputs"].numpy()
    array([0. , 0.2, 1. ], dtype=float32)
    """
    inputs = batch["inputs"]
    if inputs.dtype != tf.uint8:
        raise TypeError(f"to_float: inputs must be uint8, found {inputs.dtype.name}")
    return {**batch, "inputs": tf.cast(inputs, tf.float32) / 255.0}


def normalize(mean, std):
    """(x − mean) / std; `mean` and `std` are numbers, or one for each channel, of floating inputs `[…, channels]`.

    Raises ValueError unless every std is finite and above 0, and TypeError for inputs that are not floating: let
    `to_float` come first.

    >>> normalize(mean=0.5, std=[0.25])({"inputs": tf.constant([[0.0], [1.0]])})["inputs"].numpy().tolist()
    [[-2.0], [2.0]]
    """
    mean, std = (tf.constant(value, tf.float64) for value in (mean, std))
    if not tf.reduce_all(tf.math.is_finite(mean)) or not tf.reduce_all((std > 0) & tf.math.is_finite(std)):
        raise ValueError(f"normalize: mean and std must be finite, std above 0, found {mean.numpy()} and {std.numpy()}")

    @by_example
    def normalized(batch, draws=None):
        inputs = batch["inputs"]
        if not inputs.dtype.is_floating:
            raise TypeError(f"normalize: inputs must be floating, found {inputs.dtype.name}: let to_float come first")
        for name, value in (("mean", mean), ("std", std)):
            if value.shape.rank and value.shape[0] not in (1, inputs.shape[-1]):
                raise ValueError(f"normalize: {name} has {value.shape[0]} numbers, inputs {inputs.shape[-1]} channels")
        return {**batch, "inputs": (inputs - tf.cast(mean, inputs.dtype)) / tf.cast(std, inputs.dtype)}

    return normalized


def resize(height, width):
    """Images `[batch, …, …, channels]` in another size, by `resized`: `[batch, height, width, channels]`."""
    if min(height, width) < 1:
        raise ValueError(f"resize: height and width must be at least 1, found {height} and {width}")

    @by_example
    def resize(batch, draws=None):
        return {**batch, "inputs": resized(batch["inputs"], (height, width))}

    return resize


def resized(images, size):
    """Images `[…, height, width, channels]` in another (height, width), of the same dtype.

    Bilinear with half-pixel centres; where it shrinks, the triangle is as wide as the step (antialiased), as in Pillow.
    """
    return restored(tf.image.resize(computed(images), size, antialias=True), images.dtype)


def one_hot(classes):
    """Class numbers `labels [batch]` as float32 rows `[batch, classes]`; float rows of that width stay what they are.

    So labels that `augment.mixup` mixed in training and those of an evaluation get one form. Raises ValueError for
    float labels of another shape.

    >>> one_hot(3)({"inputs": None, "labels": tf.constant([2, 0])})["labels"].numpy().tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    if not isinstance(classes, int) or classes < 1:
        raise ValueError(f"one_hot: classes must be a whole number of at least 1, found {classes!r}")

    @by_example
    def rows(batch, draws=None):
        labels = batch["labels"]
        if labels.dtype.is_floating:
            if labels.shape[1:] != [classes]:
                raise ValueError(f"one_hot: float labels must have shape [batch, {classes}], found {labels.shape}")
            return batch
        return {**batch, "labels": tf.one_hot(labels, classes)}

    return rows
