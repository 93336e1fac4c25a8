"""The first verdict: ⟨v, J·u⟩ = ⟨Jᵀ·v, u⟩, forward mode against reverse mode.

Forward mode runs eagerly, operation by operation: there it looks through `tf.custom_gradient` at what is computed.
"""

import contextlib

import tensorflow as tf

from engine.testing.ladder import Base, inner, underflow

# Backward passes subtract numbers of the outputs' size, and coordinates of 100 multiply what that leaves.
_CANCELLED = 2.0**10


# Operations that forward mode passes over as if they were constant, since the gradient of their gradient is missing.
_LOST = {"ResizeBilinear"}


class NoForwardMode(Exception):
    """TensorFlow has no forward mode for something in the function."""


def mismatch(base: Base, moves: list) -> float:
    """⟨v, J·u⟩ − ⟨Jᵀ·v, u⟩. Raises NoForwardMode, with the reason, where there is no J·u."""
    with base.function.at(base.values) as sources, _eagerly():
        moving = [(source, move) for source, move in zip(sources, moves, strict=True) if move is not None]
        try:
            with tf.autodiff.ForwardAccumulator(*(list(side) for side in zip(*moving, strict=True))) as forward:
                outputs = base.function(sources)
            pushed = [forward.jvp(y) for y in outputs]
        except Exception as error:
            # The function itself and its reverse mode have run before: what fails here is forward mode.
            reason = str(error).strip().splitlines() or [""]
            raise NoForwardMode(f"no forward mode: {type(error).__name__}: {reason[0]}") from error
    total = 0.0
    for v, jvp in zip(base.cotangents, pushed, strict=True):
        if jvp is not None:
            total += float(tf.reduce_sum(v * tf.cast(jvp, tf.float64)))
    for gradient, move in zip(base.gradients, moves, strict=True):
        if move is not None:
            total -= inner(gradient, move)
    return total


def lost_operations(base: Base) -> list[str]:
    """Operations in the function that forward mode would leave out without a word."""
    with base.function.at(base.values) as sources:
        try:
            traced = tf.function(lambda: base.function(sources), autograph=False).get_concrete_function()
        except Exception:
            # What can't be traced can't be searched.
            return []
    graph = traced.graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return sorted(_LOST & {node.op for node in nodes})


def adjoint_tolerance(base: Base, moves: list, size: float, rtol: float) -> float:
    """`rtol` of ‖∇φ∘u‖, and what sums of numbers of the outputs' size leave when they cancel.

    Where the function was found to round more coarsely than its dtype, the tolerance is that rounding's.
    """
    relative, rounding = max(rtol, 16 * base.rounding), max(base.epsilon, base.rounding)
    lost = underflow(base.gradients, moves) + base.floor
    return relative * size + _CANCELLED * rounding * base.size + 8 * lost


@contextlib.contextmanager
def _eagerly():
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)
