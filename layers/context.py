"""What a layer may ask of its argument `training`.

`training` is False, True, or the step context of a training engine, which is truthy and knows:

- `uniform(shape)`: float32 uniforms in [0, 1), a new draw at every call, for the rows of this slice
  of the batch (`shape[0]` rows, maybe a tensor; so a draw does not depend on how a batch was cut);
- `valid_rows`: None, or a scalar int32 tensor: rows from there on are padding;
- `all_reduce(tensor)`: the sum over all replicas, with its gradient;
- `replicas`: how many there are (1 when it does not say);
- `first_part`: whether this is the first part of its slice of the batch that a replica computes in a step, a bool
  or a scalar bool tensor (True when it does not say): what moves once per step, whatever the batch, moves there;
- `replays`: whether a layer computes again what it has computed before, for the backward pass
  (False when it does not say): what must happen once per step has happened.

A bare True means that all rows are valid and that there is no other replica.

A context may be copied (`copy.copy`): a copy's draws go on where the context's stood and do not move those
of the context. `layers.recompute` rests on that.
"""

import copy

import tensorflow as tf


def fresh_seed():
    """A seed `[2]` for stateless ops, drawn from TensorFlow's global generator (`tf.random.set_seed`)."""
    return tf.random.uniform([2], tf.int64.min, tf.int64.max, tf.int64)


class Seeded:
    """What a bare True means, with draws that can be repeated: all come from one fresh seed, by their number."""

    def __init__(self):
        self.seed, self.draws, self.replays = fresh_seed(), 0, False

    def uniform(self, shape):
        """Float32 uniforms in [0, 1) of `shape`; each call is a new draw."""
        self.draws += 1
        return tf.random.stateless_uniform(shape, self.seed + tf.constant([0, self.draws], tf.int64))


def repeatable(training):
    """`training`, or for a bare True a context whose draws can be repeated."""
    return Seeded() if training and not hasattr(training, "uniform") else training


def replay(training):
    """`training` for computing again what is about to be computed: the same draws, and `replays`."""
    if not training:
        return training
    again = copy.copy(training)
    again.replays = True
    return again


def uniform(training, shape):
    """Float32 uniforms in [0, 1) of `shape`; with a bare True, under a fresh seed."""
    if hasattr(training, "uniform"):
        return training.uniform(shape)
    return tf.random.stateless_uniform(shape, fresh_seed())


def normal(training, shape):
    """Float64 standard normals of `shape`: Φ⁻¹ of `uniform`'s.

    In float32, XLA and TensorFlow's kernels differ by 2e-5, and kernels within themselves by where a value lies.
    """
    # The uniforms are multiples of 2⁻²³: half a step up they lie evenly within (0, 1), and none becomes infinite.
    return tf.math.ndtri(tf.cast(uniform(training, shape), tf.float64) + 2.0**-24)


def sizes(x):
    """The sizes of `x`, a shape for a draw: ints where they are known, else scalar tensors."""
    dynamic = tf.unstack(tf.shape(x))
    return [size if known is None else known for known, size in zip(x.shape, dynamic, strict=True)]


def valid_rows(training):
    """The number of rows that are no padding, or None if all are valid."""
    return getattr(training, "valid_rows", None)


def replicas(training):
    """The number of replicas that share the batch."""
    return getattr(training, "replicas", 1)


def all_reduce(training, tensor):
    """The sum of `tensor` over all replicas."""
    return training.all_reduce(tensor) if hasattr(training, "all_reduce") else tensor


def once(training):
    """Whether what moves once per step, whatever the batch, is to move now: a bool, or a scalar bool tensor."""
    return False if replaying(training) else getattr(training, "first_part", True)


def replaying(training):
    """Whether this is a second run: state that moves once per step must stay where the first run left it."""
    return getattr(training, "replays", False)
