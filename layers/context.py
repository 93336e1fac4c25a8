"""What a layer may ask of its argument `training`.

`training` is False, True, or the step context of a training engine, which is truthy and knows:

- `uniform(shape)`: float32 uniforms in [0, 1), a new draw at every call, for the rows of this slice
  of the batch (`shape[0]` rows, maybe a tensor; so a draw does not depend on how a batch was cut);
- `valid_rows`: None, or a scalar int32 tensor: rows from there on are padding;
- `all_reduce(tensor)`: the sum over all replicas, with its gradient;
- `replicas`: how many there are (1 when it does not say).

A bare True means that all rows are valid and that there is no other replica.
"""

import tensorflow as tf


def fresh_seed():
    """A seed `[2]` for stateless ops, drawn from TensorFlow's global generator (`tf.random.set_seed`)."""
    return tf.random.uniform([2], tf.int64.min, tf.int64.max, tf.int64)


def uniform(training, shape):
    """Float32 uniforms in [0, 1) of `shape`; with a bare True, under a fresh seed."""
    if hasattr(training, "uniform"):
        return training.uniform(shape)
    return tf.random.stateless_uniform(shape, fresh_seed())


def valid_rows(training):
    """The number of rows that are no padding, or None if all are valid."""
    return getattr(training, "valid_rows", None)


def replicas(training):
    """The number of replicas that share the batch."""
    return getattr(training, "replicas", 1)


def all_reduce(training, tensor):
    """The sum of `tensor` over all replicas."""
    return training.all_reduce(tensor) if hasattr(training, "all_reduce") else tensor
