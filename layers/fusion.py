"""Speed for elementwise functions of several operations: one pass over memory in place of one for each operation."""

import tensorflow as tf


def fused(function):
    """`function` of one tensor, elementwise, as one XLA program for its values and one for its gradient.

    In a graph, each TensorFlow operation reads and writes whole tensors, and those between input and output are kept
    for the backward pass; here both passes read the input and what flows back, and nothing else is kept. Values and
    gradients are those of `function` up to rounding (XLA has exponentials of its own), and it can be differentiated
    again. Each shape is compiled once, in some hundredths of a second: it pays for large tensors of few shapes.

    Outside of a `tf.function`, and where `tf.debugging` looks at each operation, it is `function` itself.

    >>> cube = fused(lambda x: x * x * x)
    >>> tf.function(cube)(tf.constant([1.0, 2.0])).numpy().tolist()
    [1.0, 8.0]
    """

    @tf.function(autograph=False, jit_compile=True)
    def forward(x):
        return function(x)

    @tf.function(autograph=False, jit_compile=True)
    def backward(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x, upstream)

    @tf.custom_gradient
    def program(x):
        return forward(x), lambda upstream: backward(x, upstream)

    def chosen(x):
        return program(x) if tf.inside_function() and not _watched() else function(x)

    return chosen


def _watched():
    """Whether new operations get a check of their own, which a program could not hold."""
    with tf.Graph().as_default() as graph:
        tf.negative(tf.zeros([]))
    return len(graph.get_operations()) > 2
