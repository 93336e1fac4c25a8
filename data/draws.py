"""Random numbers as a function of where an example stands, not of the batch that asks for it.

Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) turns a key and a counter into
random words without state; a counter of 128 bits yields 4 values of 32 bits.
"""

import hashlib
import math
import operator

import numpy as np
import tensorflow as tf

PHILOX = 1


def philox_key(seed, purpose):
    """The Philox key `uint64 [1]` for a seed (any Python integer) and a purpose, a short string.

    Streams of one seed for different purposes share nothing, since the key is a hash of both.
    """
    digest = hashlib.sha256(f"{purpose}:{operator.index(seed)}".encode()).digest()
    return np.frombuffer(digest[:8], "<u8").astype(np.uint64)


class Draws:
    """The draws of `rows` consecutive examples, the first at `position` of an epoch's order.

    Each number is a function of (seed, epoch, position of its example, number of the draw): the batch size
    and the point where a run resumed do not matter. Draws are numbered in the order of the calls, while
    tracing. `seed` is any Python integer; `epoch` (below 2³¹), `position` and `rows` are integers or int64
    scalars.
    """

    def __init__(self, seed, epoch, position, rows):
        self._key = philox_key(seed, "augment")
        self._epoch = tf.convert_to_tensor(epoch, tf.int64)
        self._position = tf.convert_to_tensor(position, tf.int64)
        self._rows = tf.convert_to_tensor(rows, tf.int64)
        self._drawn = 0

    def uniform(self, *values):
        """Uniform float32 numbers in [0, 1) of shape `[rows, *values]`.

        >>> draws = Draws(seed=0, epoch=0, position=0, rows=3)
        >>> draws.uniform().shape, draws.uniform(2, 5).shape
        (TensorShape([3]), TensorShape([3, 2, 5]))
        """
        # Whole counters for every row, so that a row can be found without drawing those before it.
        counters = -(-math.prod(values) // 4)
        start = tf.stack([self._position * counters, self._epoch * 2**32 + self._drawn])
        self._drawn += 1
        shape = tf.stack([self._rows, 4 * counters])
        numbers = tf.raw_ops.StatelessRandomUniformV2(
            shape=shape, key=self._key, counter=tf.cast(start, tf.uint64), alg=PHILOX
        )
        return tf.reshape(numbers[:, : math.prod(values)], [self._rows, *values])
