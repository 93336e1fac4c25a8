"""The order of an epoch: a permutation that is computed for the positions asked for, and never stored."""

import tensorflow as tf

from data.draws import PHILOX, philox_key

# The cipher walks a domain of 2¹⁶ or more until it is back below `length`. Up to here, sorting is faster.
_SORTED_UP_TO = 1024


def shuffled(positions, length, seed, epoch):
    """The examples at `positions` of the order of (seed, epoch), an exact permutation of 0 … length − 1.

    `positions` are int64 of shape `[batch]`, as is the result; `length` and `seed` are Python integers,
    `epoch` is an integer or an int64 scalar. Takes O(batch) time and memory at any length, in a graph too.

    A short order is that of sorted random words. A longer one is three passes of TensorFlow's block cipher on
    `length` indices under independent keys. One pass would not do: it reads only the low 8 bits of each of
    its 3 key words, its orders of a few examples are visibly not uniform, and 1 key in 180 leaves everything
    in place.

    >>> sorted(shuffled(range(5), 5, seed=0, epoch=0).numpy().tolist())
    [0, 1, 2, 3, 4]
    """
    positions = tf.convert_to_tensor(positions, tf.int64)
    if length <= _SORTED_UP_TO:
        return tf.cast(tf.gather(tf.argsort(words([length], tf.int64, seed, "order", epoch)), positions), tf.int64)
    for key in tf.unstack(words([3, 3], tf.uint32, seed, "order", epoch)):
        last = tf.constant(length - 1, tf.int64)
        positions = tf.raw_ops.RandomIndexShuffle(index=positions, seed=key, max_index=last, rounds=4)
    return positions


def words(shape, dtype, seed, purpose, epoch, block=0):
    """Random integers of all bits, a function of (seed, purpose, epoch) from counter `block` on; 4 words a counter."""
    # The epoch is the counter's high word: as the low one, neighbouring epochs would share words.
    counter = tf.stack([tf.convert_to_tensor(value, tf.int64) for value in (block, epoch)])
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=shape,
        key=philox_key(seed, purpose),
        counter=tf.cast(counter, tf.uint64),
        alg=PHILOX,
        dtype=dtype,
    )
