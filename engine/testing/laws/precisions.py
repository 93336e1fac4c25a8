"""The law that float32 computes what the formula says."""

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

from engine.testing.functions import EPSILON
from engine.testing.laws.agreement import LawError, agree, rounding_bounds
from engine.testing.laws.compilers import check_repeats
from engine.testing.laws.subject import Subject

_LAW = "float32_follows_float64"


def float32_follows_float64(fn: Callable, inputs: Any, *, training: Any = None, atol: float = 0.0) -> None:
    """In float32, `fn` computes what it computes in float64, up to the rounding of a sound algorithm.

    Outputs, gradients and moved variables of a float32 copy are compared with those of a float64 copy that holds the
    same values (`engine.cast`; a plain function gets the inputs in both dtypes). The bound is that of
    `engine.testing.laws.agreement` with the ε of float32, 2⁻²³, and S taken in float64: an error is laid to the formula
    only if no rounding of inputs and variables could explain it, as with the variance E[x²] − E[x]² far from 0.

    LawError also where the float64 copy returns another dtype: something in it rounds. TypeError for a plain
    function that reads variables, which cannot be cast: give the module.
    See `engine.testing.laws` for the arguments.

    >>> float32_follows_float64(tf.nn.softmax, tf.constant([[0.0, 1.0, 2.0]]))
    """
    narrow = Subject(fn, inputs, training, tf.float32)
    wide = Subject(narrow.function, narrow.args, training, tf.float64)
    for name, variable in wide.variables.items():
        if variable.dtype.is_floating and variable.dtype != tf.float64:
            raise TypeError(f"{_LAW} cannot cast {name}, a variable that the function {wide} reads: give it the module")
    for name, y in wide.outputs().items():
        if y.dtype.is_floating and y.dtype != tf.float64:
            text = (
                f"{wide}: {name} is {y.dtype.name} though all inputs and variables are float64: something in it rounds"
            )
            raise LawError(_LAW, text, name=name)
    cotangents = {subject: subject.cotangents() for subject in (narrow, wide)}

    def evaluate(subject, args):
        with subject.undisturbed():
            return subject.measure(args, cotangents[subject])

    expected, found = evaluate(wide, wide.args), evaluate(narrow, narrow.args)
    check_repeats(_LAW, narrow, evaluate(narrow, narrow.args), found)
    bounds = rounding_bounds(wide, partial(evaluate, wide), expected, atol=atol, epsilon=EPSILON[tf.float32])
    agree(_LAW, narrow, found, expected, bounds, "in float32", "in float64")
