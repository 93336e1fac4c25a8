"""Transforms: functions batch -> batch that training and evaluation share."""

import tensorflow as tf


def to_float(batch):
    """The batch with `inputs` as float32 in [0, 1]: x / 255 for uint8 inputs of any shape.

    Raises TypeError for other dtypes, whose range is not known.

    >>> to_float({"inputs": tf.constant([0, 51, 255], tf.uint8)})["inputs"].numpy()
    array([0. , 0.2, 1. ], dtype=float32)
    """
    inputs = batch["inputs"]
    if inputs.dtype != tf.uint8:
        raise TypeError(f"to_float: inputs must be uint8, found {inputs.dtype.name}")
    return {**batch, "inputs": tf.cast(inputs, tf.float32) / 255.0}
