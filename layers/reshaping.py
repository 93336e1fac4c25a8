"""Layers that only arrange values anew, of any dtype."""

import math

import tensorflow as tf

from layers import checks, context
from layers.base import Layer


class Flatten(Layer):
    """`[batch, …]` → `[batch, product of the rest]`, row by row; any dtype.

    >>> Flatten()(tf.zeros([8, 5, 5, 64])).shape
    TensorShape([8, 1600])
    """

    def __init__(self):
        super().__init__()

    def __call__(self, x):
        """The same values, one row for each example."""
        x = tf.convert_to_tensor(x)
        rest = x.shape[1:]
        if rest.is_fully_defined():
            return tf.reshape(x, [-1, math.prod(rest)])
        return tf.reshape(x, [tf.shape(x)[0], -1])


class Reshape(Layer):
    """`[batch, …]` → `[batch, *target_shape]`, row by row; any dtype.

    `target_shape` is one example's; one size in it may be −1, for what is left. A shape that holds another
    number of values is a ValueError, when the first tensor passes.

    >>> Reshape((-1, 2))(tf.zeros([8, 3, 4])).shape
    TensorShape([8, 6, 2])
    """

    def __init__(self, target_shape):
        super().__init__()
        if not isinstance(target_shape, (tuple, list)):
            raise ValueError(
                f"{self!r}: target_shape must be one example's, such as (28, 28, 1), found {target_shape!r}"
            )
        free = [size for size in target_shape if size == -1]
        if len(free) > 1:
            raise ValueError(f"{self!r}: target_shape may hold one -1, found {target_shape!r}")
        self.target_shape = tuple(
            -1 if size == -1 else checks.positive(self, "target_shape", size) for size in target_shape
        )

    def last_dimension(self, size):
        """That of `target_shape`, None for −1."""
        last = self.target_shape[-1:]
        return None if last in ((), (-1,)) else last[0]

    def __call__(self, x):
        """The same values in the new shape."""
        x = tf.convert_to_tensor(x)
        rest, target = x.shape[1:], self.target_shape
        if not rest.is_fully_defined():
            return tf.reshape(x, [context.sizes(x)[0], *target])
        held, known = math.prod(rest), math.prod(size for size in target if size != -1)
        if held % known if -1 in target else held != known:
            raise ValueError(f"{self!r}: target_shape {target} cannot hold the {held} values of {rest.as_list()}")
        return tf.reshape(x, [-1, *(held // known if size == -1 else size for size in target)])


class Permute(Layer):
    """The dimensions of each example in another order: dimension k of the output is dimension dims[k] of the input.

    Dimensions count from 1, after the batch; any dtype.

    >>> Permute((3, 1, 2))(tf.zeros([8, 28, 20, 3])).shape
    TensorShape([8, 3, 28, 20])
    """

    def __init__(self, dims):
        super().__init__()
        if not isinstance(dims, (tuple, list)) or {*dims} != {*range(1, len(dims) + 1)}:
            raise ValueError(f"{self!r}: dims must hold each of 1, 2, … once, found {dims!r}")
        self.dims = tuple(dims)

    def last_dimension(self, size):
        """The input's own if it stays the last, else None."""
        return size if self.dims[-1:] == (len(self.dims),) else None

    def __call__(self, x):
        """The same values, transposed."""
        x = of_rank(self, x, len(self.dims) + 1)
        return tf.transpose(x, (0, *self.dims))


def of_rank(layer, x, rank):
    """`x` as a tensor of a rank and any dtype, or a ValueError."""
    x = tf.convert_to_tensor(x)
    if x.shape.rank not in (None, rank):
        raise ValueError(f"{layer!r} expects an input of rank {rank}, found {x.shape.as_list()}")
    return x
