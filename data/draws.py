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
# 2⁶⁴ over the golden ratio, odd.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


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
    scalars. `examples`, int64 `[rows]`, are the numbers of the examples in their source, which those of a stream lack.
    """

    def __init__(self, seed, epoch, position, rows, examples=None):
        self._key = philox_key(seed, "augment")
        self._examples = None if examples is None else tf.convert_to_tensor(examples, tf.int64)
        self._epoch = tf.convert_to_tensor(epoch, tf.int64)
        self._position = tf.convert_to_tensor(position, tf.int64)
        self._rows = tf.convert_to_tensor(rows, tf.int64)
        self._drawn = 0

    def uniform(self, *values):
        """Uniform float32 numbers in [0, 1) of shape `[rows, *values]`; `values` are integers or int64 scalars.

        >>> draws = Draws(seed=0, epoch=0, position=0, rows=3)
        >>> draws.uniform().shape, draws.uniform(2, 5).shape
        (TensorShape([3]), TensorShape([3, 2, 5]))
        """
        # Whole counters for every row, so that a row can be found without drawing those before it.
        count = math.prod(values)
        counters = -(-count // 4)
        numbers = tf.raw_ops.StatelessRandomUniformV2(
            shape=tf.stack([self._rows, 4 * counters]), key=self._key, counter=self._counter(counters), alg=PHILOX
        )
        return tf.reshape(numbers[:, :count], tf.stack([self._rows, *values]))

    def beta(self, alpha):
        """Float32 numbers of the distribution Beta(alpha, alpha) of shape `[rows]`, 1 if alpha is 0.

        x / (x + y) for x and y of the distribution Γ(alpha), which TensorFlow draws with 256 counters for each. Below
        an alpha of 0.01 both can be 0 in float64; that counts as 1.
        """
        counter = self._counter(2 * 256)
        if alpha == 0:
            return tf.ones([self._rows])
        gammas = tf.raw_ops.StatelessRandomGammaV3(
            shape=tf.stack([self._rows, 2]),
            key=self._key,
            counter=counter,
            alg=PHILOX,
            alpha=tf.constant(alpha, tf.float64),
        )
        total = gammas[:, 0] + gammas[:, 1]
        return tf.cast(tf.where(total > 0, gammas[:, 0] / total, 1.0), tf.float32)

    def alternating(self):
        """Bools of shape `[rows]`, of which each is in every epoch the opposite of what it was in the epoch before.

        What an example begins with is a function of (seed, its number in the source, number of the draw), one bit of
        the hash of Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 17.
        Raises ValueError for a stream, whose examples can't be told from one another.

        >>> first, second = (Draws(0, epoch, 0, 4, [3, 1, 2, 0]).alternating().numpy() for epoch in (0, 1))
        >>> first.tolist() == (~second).tolist()
        True
        """
        if self._examples is None:
            raise ValueError(
                "an alternating flip needs examples that have numbers, and a stream's have none: flip at random"
            )
        word = tf.cast(self._examples, tf.uint64) * _GOLDEN + (self._key + np.uint64(self._drawn))
        self._drawn += 1
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            word = (word ^ tf.bitwise.right_shift(word, tf.constant(shift, tf.uint64))) * tf.constant(factor, tf.uint64)
        # The highest bit, the best mixed one: a shift leaves nothing else.
        first = tf.cast(tf.bitwise.right_shift(word, tf.constant(63, tf.uint64)), tf.int64)
        return tf.equal((first + self._epoch) % 2, 1)

    def _counter(self, counters):
        """Where the next draw of `counters` counters a row starts."""
        start = tf.stack([self._position * counters, self._epoch * 2**32 + self._drawn])
        self._drawn += 1
        return tf.cast(start, tf.uint64)
