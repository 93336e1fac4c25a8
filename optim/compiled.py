"""Updates of many numbers as one XLA program: each is read once and written once, whatever the formula."""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

# Below, an update costs less than it takes to compile it: about 15 ms a variable.
_ENOUGH = 2**20


def pays(variables: Sequence[tf.Variable]) -> bool:
    """Whether an update of these variables is worth compiling, in the graph that is being traced."""
    return not tf.executing_eagerly() and sum(math.prod(v.shape) for v in variables) >= _ENOUGH


def compiled(update: Callable, *tensors) -> None:
    """`update(*tensors)`, which may read and assign variables, compiled by XLA."""
    # A function of its own in every trace: in another replica's, the same variables are others.
    tf.function(update, jit_compile=True, autograph=False)(*tensors)


def direct(update: Callable, *tensors) -> None:
    """`update(*tensors)`, as it is."""
    update(*tensors)
