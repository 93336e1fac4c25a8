"""What must hold before a derivative is looked at: finite, repeatable, and joined to what is tested."""

import numpy as np
import tensorflow as tf

from engine.testing.directions import cotangents, generator
from engine.testing.functions import Function, dense
from engine.testing.report import GradientError, GradientReport

_CONTEXT = (
    "if it draws random numbers, pass training=engine.StepContext(seed, step): every evaluation then draws the same"
)


def check(function: Function, report: GradientReport, disconnected, repeat: str) -> None:
    """Runs the function twice and differentiates every output alone; drops what is declared as disconnected.

    Raises GradientError: "non_finite", "non_deterministic", "constant" or "disconnected".
    """

    def refuse(verdict, name, why, index=None):
        report.failed, report.evaluations = [verdict], function.evaluations
        raise GradientError(verdict, name, why, report=report, repeat=repeat, index=index)

    declared = set(disconnected)
    report.names = [point.name for point in function.points]
    for point in function.points:
        refuse_non_finite([(point.name, point.value)], refuse)
    first = function.outputs(function.values)
    names = list(function.output_names)
    unknown = sorted(declared - {*report.names, *names})
    if unknown:
        raise ValueError(f"disconnected names {unknown}, which are none of {[*report.names, *names]}")
    if not first:
        refuse("constant", "outputs", "there is no floating output that could depend on anything")
    refuse_non_finite(zip(names, first, strict=True), refuse)
    with function.at(function.values) as sources:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(sources)
            outputs = function(sources)
        vs = [tf.cast(v, y.dtype) for v, y in zip(cotangents(generator(report.seed, 0), outputs), outputs, strict=True)]
        gradients = [tape.gradient(y, sources, v) for y, v in zip(outputs, vs, strict=True)]
    for name, y, again in zip(names, first, outputs, strict=True):
        _refuse_difference(name, y, again, refuse)

    free = [name for name, row in zip(names, gradients, strict=True) if all(part is None for part in row)]
    for name in free:
        if name not in declared:
            refuse("constant", name, "does not depend on anything that is tested (every gradient is None)")
    function.ignored = set(free)
    for point, column in zip(function.points, zip(*gradients, strict=True), strict=True):
        found = [part for part in column if part is not None]
        if not found and point.name not in declared:
            refuse("disconnected", point.name, "its gradient is None; if that is meant, name it in disconnected=")
        if point.name in declared and any(np.asarray(dense(part, point.value)).any() for part in found):
            refuse("disconnected", point.name, "is declared as disconnected, and has a gradient that is not zero")
    for name, row in zip(names, gradients, strict=True):
        if (
            name in declared
            and name not in free
            and any(
                np.asarray(dense(part, point.value)).any() for part, point in zip(row, function.points, strict=True)
            )
        ):
            refuse("disconnected", name, "is declared as disconnected, and has a gradient that is not zero")
    function.keep(lambda point: point.name not in declared)
    function.ignored |= declared
    report.names = [point.name for point in function.points]
    report.outputs = [name for name in names if name not in function.ignored]
    if not function.points or not report.outputs:
        raise ValueError("nothing is left to check: everything is declared as disconnected")


def refuse_non_finite(named, refuse) -> None:
    """Refuses the first value that is NaN or infinite, by its tensor's name and its index."""
    for name, tensor in named:
        if bool(tf.reduce_all(tf.math.is_finite(tensor))):
            continue
        bad = np.argwhere(~np.asarray(tf.math.is_finite(tensor)))
        index = tuple(int(i) for i in bad[0])
        why = f"holds {len(bad)} values that are not finite, the first is {float(tensor[index])}"
        refuse("non_finite", name, why, index)


def _refuse_difference(name, first, again, refuse) -> None:
    if first.shape != again.shape:
        refuse("non_deterministic", name, f"has shapes {first.shape} and {again.shape} in two evaluations. {_CONTEXT}")
    one, two = np.asarray(first), np.asarray(again)
    differ = np.argwhere(one != two)
    if len(differ):
        index = tuple(int(i) for i in differ[0])
        values = f"{float(one[index])!r} and {float(two[index])!r}"
        why = f"{len(differ)} of {one.size} values differ between two evaluations, the first is {values}. {_CONTEXT}"
        refuse("non_deterministic", name, why, index)
