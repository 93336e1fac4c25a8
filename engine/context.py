"""The step context: what a layer may know of the step it computes in, passed to it as `training`."""

import math
from collections.abc import Sequence

import tensorflow as tf

# Of the Philox counter's two words the first counts blocks of four values, the second numbers (step, draw).
_DRAWS_PER_STEP = 1 << 16
_PHILOX = 1


class StepContext:
    """A truthy `training` that draws randomness and knows which rows count.

    Draws are keyed by (seed, step, draw) and cut by the row's index in the global batch: a slice of the batch reads
    its own rows of the one stream, so replicas and micro-batches see the masks that the whole batch would have seen.
    (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3": a counter can be entered anywhere.)

    seed: int64 scalar; step: int64 scalar, updates done before this one; first_row: index of the slice's first row
    in the global batch; valid_rows: how many rows count, the rest is padding (None: all);
    all_reduce: sums a tensor over replicas; replicas: how many there are.
    first_part: whether no other part of the slice was computed before in this step, a bool or a scalar bool tensor.
    replays: set on a copy (`copy.copy`) for a second run with the same draws, for the backward pass.
    """

    replays = False

    def __init__(self, seed, step, first_row=0, valid_rows=None, *, all_reduce=None, replicas=1, first_part=True):
        self.seed = tf.convert_to_tensor(seed, tf.int64)
        self.step = tf.convert_to_tensor(step, tf.int64)
        self.first_row = tf.cast(first_row, tf.int64)
        self.valid_rows = valid_rows
        self.replicas = replicas
        self.first_part = first_part
        self.all_reduce = all_reduce or (lambda tensor: tensor)
        self.draws = 0

    def __bool__(self) -> bool:
        return True

    def uniform(self, shape: Sequence) -> tf.Tensor:
        """float32 uniforms in [0, 1) for this slice's rows; shape[0] is the number of rows. Each call is a new draw."""
        if self.draws == _DRAWS_PER_STEP:
            raise ValueError(f"a step may draw {_DRAWS_PER_STEP} times, one more was asked for")
        rows, *rest = shape
        values = math.prod(rest) if all(isinstance(n, int) for n in rest) else tf.reduce_prod(tf.stack(rest))
        # Each row begins at a counter of its own, hence the rounding up to whole blocks of four.
        blocks = -(-values // 4)
        words = [self.first_row * tf.cast(blocks, tf.int64), self.step * _DRAWS_PER_STEP + self.draws]
        self.draws += 1
        # Bits, not floats: XLA makes floats of the upper bits and TensorFlow's kernels of the lower ones, but the bits
        # are the same.
        bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=tf.stack([rows, 4 * blocks]),
            key=tf.bitcast(self.seed, tf.uint64)[tf.newaxis],
            counter=tf.bitcast(tf.stack(words), tf.uint64),
            alg=_PHILOX,
            dtype=tf.int32,
        )
        drawn = tf.cast(tf.bitwise.bitwise_and(bits, 2**23 - 1), tf.float32) * 2.0**-23
        return tf.reshape(drawn[:, :values], tf.stack([rows, *rest]))

    def mask(self, rows) -> tf.Tensor | None:
        """bool [rows], False on padding; None where every row counts."""
        return None if self.valid_rows is None else tf.range(rows) < self.valid_rows
