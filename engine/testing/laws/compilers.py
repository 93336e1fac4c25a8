"""The law that compilation changes nothing."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from engine.testing.laws.agreement import LawError, agree, rounding_bounds
from engine.testing.laws.subject import Subject

_LAW = "same_in_graph_and_xla"


def same_in_graph_and_xla(fn: Callable, inputs: Any, *, training: Any = None, atol: float = 0.0) -> None:
    """Eagerly, in a `tf.function` and compiled by XLA, `fn` computes the same.

    Compared are the outputs, the gradients of inputs and trainable variables (along one random cotangent), and the
    variables that a call moves, such as moving statistics. Graphs are traced without AutoGraph, as the engine does.
    They may differ by rounding, since compilers reorder sums and fuse operations: the bound is derived in
    `engine.testing.laws.agreement`; `atol` is allowed on top, for outputs that are 0 by cancellation.

    LawError also if `fn` cannot be traced or compiled, or if two eager calls differ: bare `training=True` draws anew at
    each call, give a step context. See `engine.testing.laws` for the arguments.

    >>> same_in_graph_and_xla(tf.nn.softmax, tf.constant([[0.0, 1.0, 2.0]]))
    """
    subject = Subject(fn, inputs, training)
    cotangents = subject.cotangents()

    def measure(args):
        return subject.measure(args, cotangents)

    def evaluate(args):
        with subject.undisturbed():
            return measure(args)

    expected = evaluate(subject.args)
    check_repeats(_LAW, subject, evaluate(subject.args), expected)
    bounds = rounding_bounds(subject, evaluate, expected, atol=atol)
    for where, jit_compile in (("in a graph", False), ("under XLA", True)):
        # Arguments, not captured constants: a compiler would compute with those before it compiles.
        compiled = tf.function(measure, autograph=False, jit_compile=jit_compile)
        try:
            with subject.undisturbed():
                found = compiled(subject.args)
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
            text = f"{subject} computes eagerly, but not {where}: {type(error).__name__}: {reason}"
            raise LawError(_LAW, text) from error
        agree(_LAW, subject, found, expected, bounds, where, "eagerly")


def check_repeats(law: str, subject: Subject, again: dict, expected: dict) -> None:
    """LawError if two calls from the same state differ in a bit."""
    try:
        agree(law, subject, again, expected, None, "the second time", "the first time")
    except LawError as error:
        hint = "a layer that draws needs training=engine.StepContext(seed, step)"
        raise LawError(law, f"{str(error).removeprefix(law + ': ')}\n  {hint}", name=error.name) from None
