"""Memory for time: a block that keeps its input only, and computes again in the backward pass."""

import contextlib

import tensorflow as tf

from layers import context
from layers.base import Layer
from layers.sequential import _name, _takes_training, _waiting

# The graphs in which TensorFlow builds the gradients of tf.cond and tf.while_loop; a variable that they read
# themselves gets lost there (2.21).
_BRANCHES = ("_CondGradFuncGraph", "_WhileBodyGradFuncGraph")


def recompute(block):
    """`block` as a layer that keeps nothing of its forward pass but the input; see `Recompute`."""
    return Recompute(block)


class Recompute(Layer):
    """block(x), differentiated by computing it once more: the same shapes, values and gradients.

    Between forward and backward pass only x is kept. n blocks in a row thus take the memory of their n
    inputs and of one block's insides, for one more forward pass (a third more time where a backward pass costs two).

    `block` is a layer, a network, or any function of a tensor, with or without `training`. Variables that the
    block reads get their gradients, wherever they are kept; the layer knows those below `block` if that is a
    `tf.Module`. The second run makes the draws of the first (the masks of dropout), and the draws of layers
    behind the block are those that they would make without. What moves once per step must ask
    `layers.context.replaying(training)`, as BatchNorm does; state that a forward pass both reads and writes
    would differ in the second run. Recomputation may be nested; a block at depth d then runs d + 1 times.

    Values and gradients are those of `block` to the bit wherever the two runs are computed alike, as they are eagerly;
    an optimizer of graphs may fuse them differently (XLA; in a tf.function, mostly in bfloat16) and then rounds
    differently, as it also does without recomputation. Second derivatives are right too, but save no memory.

    Raises a TypeError for what cannot be called; a ValueError if a tape outside a tf.cond or tf.while_loop
    asks for gradients of what inside it recomputes a block with variables (TensorFlow cannot read them there: the
    tape belongs inside too, or the whole loop into the block); a NotImplementedError for forward-mode
    differentiation outside a tf.function.
    Source: Chen et al. 2016, "Training deep nets with sublinear memory cost", arXiv 1604.06174, section 4.

    >>> from layers import Dense, Sequential
    >>> Sequential([Recompute(Dense(3, 4, activation="relu")), Dense(4, 2)])(tf.zeros([5, 3])).shape
    TensorShape([5, 2])
    """

    def __init__(self, block):
        super().__init__()
        if _waiting(block) or not callable(block):
            raise TypeError(f"recompute takes a layer or a function of a tensor, found {_name(block)}")
        self.block = block
        self._takes_training = _takes_training(block)

    def last_dimension(self, size):
        """The block's."""
        return self.block.last_dimension(size) if isinstance(self.block, Layer) else None

    def __call__(self, x, training=False):
        """block(x)."""
        training = context.repeatable(training)
        again = context.replay(training)  # as of before the first run's draws

        def compute(x, training):
            return self.block(x, training=training) if self._takes_training else self.block(x)

        @tf.custom_gradient
        def run(x):
            def gradient(*gradients, variables=()):
                # A copy at every call: a persistent tape may ask twice.
                return self._backward(lambda x: compute(x, context.replay(again)), x, gradients, variables)

            # Eagerly, tapes would note what the block computes, and keep it. The scope hides it from them.
            # (In a graph nothing is kept that the backward pass does not ask for.)
            with tf.init_scope() if tf.executing_eagerly() else contextlib.nullcontext():
                return compute(x, training), gradient

        return run(tf.convert_to_tensor(x))

    def _backward(self, compute, x, gradients, variables):
        """The gradients with respect to `x` and to each of `variables`, from a second run."""
        if variables and type(tf.compat.v1.get_default_graph()).__name__ in _BRANCHES:
            raise ValueError(
                f"{self!r} has variables, which TensorFlow cannot read in the gradient of a tf.cond or tf.while_loop: "
                "put the tape inside it too, or recompute a block that contains it"
            )
        arrived = [
            None if gradient is None or not _differentiable(gradient) else tf.convert_to_tensor(gradient)
            for gradient in gradients
        ]
        dependencies = [gradient for gradient in arrived if gradient is not None]
        # Without the dependencies the second run could start at once, or be merged with the first as a common
        # subexpression: either way everything would be kept. They reach what does not depend on x, such as masks.
        with tf.GradientTape(watch_accessed_variables=False) as tape, tf.control_dependencies(dependencies):
            x = x if tf.executing_eagerly() else _after(dependencies, x)
            sources = [x, *variables] if _differentiable(x) else list(variables)
            tape.watch(sources)
            outputs = tf.nest.flatten(compute(x))
        pairs = [pair for pair in zip(outputs, arrived, strict=True) if pair[1] is not None]
        found = tape.gradient([y for y, _ in pairs], sources, [gradient for _, gradient in pairs])
        if tf.executing_eagerly() and all(each is None for each in found) and not _noted():
            raise NotImplementedError(
                f"{self!r} is differentiated forwards (tf.autodiff.ForwardAccumulator) eagerly, where TensorFlow lets "
                "no tape see a second run: do it inside a tf.function"
            )
        to_x = found[: len(sources) - len(variables)] or [None]
        return (to_x, found[len(sources) - len(variables) :]) if variables else to_x


def _after(tensors, x):
    """x to the bit, but not before `tensors` are there.

    XLA heeds no control dependency, and would see through arithmetic such as + 0; it does not know that no
    absolute value exceeds infinity.
    """
    for tensor in tensors:
        never = tf.reduce_any(tf.abs(tf.reshape(tensor, [-1])[:1]) > float("inf"))
        x = tf.where(never, tf.zeros_like(x), x)
    return x


def _noted():
    """Whether tapes note what is computed now."""
    one = tf.ones([])
    with tf.GradientTape() as tape:
        tape.watch(one)
        two = one * 2
    return tape.gradient(two, one) is not None


def _differentiable(tensor):
    return tensor.dtype.is_floating or tensor.dtype.is_complex
