"""Mirror images, in any dtype."""

import tensorflow as tf

from data.values import flat


def flip_left_right():
    """Mirror each image left to right with probability ½."""
    return _flip(axis=2)


def flip_up_down():
    """Mirror each image top to bottom with probability ½."""
    return _flip(axis=1)


def _flip(axis):
    def flip(batch, draws):
        images = batch["inputs"]
        flipped = draws.uniform()[:, None] < 0.5
        found = tf.where(flipped, flat(tf.reverse(images, axis=[axis])), flat(images))
        return {**batch, "inputs": tf.reshape(found, [-1, *images.shape[1:]])}

    return flip
