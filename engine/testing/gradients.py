"""The gradient check: three verdicts on one function, and the coordinate that is wrong by name."""

import tensorflow as tf

from engine.context import StepContext
from engine.testing import connections
from engine.testing.callables import Callable, label
from engine.testing.directions import cotangents, generator
from engine.testing.functions import EPSILON, Function, Gradient
from engine.testing.kinks import read_distances
from engine.testing.report import GradientReport
from engine.testing.verdicts import Check

_WRT = ("inputs", "variables", "inputs+variables")


def check_gradients(
    fn_or_module,
    inputs,
    *,
    wrt="inputs+variables",
    order=1,
    dtype="float64",
    disconnected=(),
    distance_to_kink=None,
    training=None,
    directions=3,
    seed=0,
    rtol=None,
):
    """Checks the gradients of a function or a module at a point; a `GradientReport`, or a `GradientError`.

    For φ = ∑ v·outputs with a random cotangent v, three independent verdicts on ∇φ along random directions u:

    - adjoint: ⟨v, J·u⟩ = ⟨Jᵀ·v, u⟩, forward mode (which does not see `tf.custom_gradient`) against reverse mode;
    - taylor: φ(x + h·u) − φ(x) − h·⟨∇φ, u⟩ falls like h², and not like h;
    - differences: central differences, extrapolated to h = 0, equal ⟨∇φ, u⟩.

    Steps are fitted to the size of each coordinate, to the dtype and to the rounding that is found. A direction
    costs about ten evaluations whatever the size of its tensors; coordinates are looked at only after it disagrees.

    fn_or_module: any callable. Variables are those of the module that it is, whose method it is, or that a
        `functools.partial` holds: every trainable one. A plain function's are those that it uses.
    inputs: one tensor or array, a list or tuple of positional arguments, or a dict, which is one argument; with any
        nesting inside. Floating leaves (a Python float too) are checked, all others are passed on as they are.
    wrt: "inputs", "variables" or "inputs+variables". What is frozen or not trainable is not checked, and statistics
        that the function moves are put back.
    order: 2 also checks the gradient's own gradient, with None taken as zeros there.
    dtype: to check in. Inputs are converted, and modules copied (`engine.cast`), so the caller's stay as they are;
        what a plain function takes from around it keeps its dtype. None: everything as it is.
    disconnected: names of inputs, variables or outputs ("inputs[0]['a']", "layers.0.bias", "outputs[1]") that no
        gradient joins to the rest. Any other whose gradient is None is an error, and so is one named here that has one.
    distance_to_kink: a function of the same arguments that says how far the nearest kink is: one scalar in the units of
        what moves, or a nest like the inputs. Steps stay short of it. At a kink any derivative between the one-sided
        ones is accepted, and is in the report.
    training: passed on as `training=` where the callable takes it. Of a step context every evaluation gets a copy.
    directions: how many random directions; more are added for tensors that these hardly feel.
    seed: of the directions and cotangents.
    rtol: relative to ‖∇φ∘u‖. None: 1e-9 in float64, 1e-3 in float32, 5e-2 in float16, 2e-1 in bfloat16, by the
        coarsest dtype that takes part.

    Raises ValueError or TypeError for arguments that make no sense, complex tensors among them.

    >>> report = check_gradients(lambda x: tf.sin(x) * x, tf.constant([0.5, 2.0]))
    >>> report.failed, report.names
    ([], ['inputs[0]'])
    """
    if wrt not in _WRT:
        raise ValueError(f"wrt must be one of {', '.join(map(repr, _WRT))}, found {wrt!r}")
    if order not in (1, 2):
        raise ValueError(f"order must be 1 or 2, found {order!r}")
    if not (isinstance(directions, int) and directions >= 1):
        raise ValueError(f"directions must be a whole number of at least 1, found {directions!r}")
    if not (isinstance(seed, int) and seed >= 0):
        raise ValueError(f"seed must be a whole number of at least 0, found {seed!r}")
    if rtol is not None and not 0 < rtol < 1:
        raise ValueError(f"rtol must lie between 0 and 1, found {rtol!r}")
    if isinstance(disconnected, str):
        raise TypeError(f"disconnected must be a collection of names, found the string {disconnected!r}")
    dtype = None if dtype is None else tf.as_dtype(dtype)
    if dtype is not None and dtype not in EPSILON:
        raise ValueError(f"dtype must be one of {', '.join(d.name for d in EPSILON)}, found {dtype.name}")

    callee = Callable(fn_or_module, dtype)
    repeat = _repeat(
        callee.label,
        wrt=None if wrt == _WRT[-1] else repr(wrt),
        order=None if order == 1 else repr(order),
        dtype=None if dtype == tf.float64 else repr(dtype and dtype.name),
        disconnected=repr(sorted(disconnected)) if disconnected else None,
        distance_to_kink=distance_to_kink and label(distance_to_kink),
        training=None if training is None else _shown(training),
        rtol=None if rtol is None else repr(rtol),
        directions=repr(directions),
        seed=repr(seed),
    )
    function = Function(callee, inputs, dtype, training)
    try:
        function.keep(lambda point: ("variables" if point.place is None else "inputs") in wrt)
        if not function.points:
            raise ValueError(f"{callee.label} has nothing to check: no floating {wrt.replace('+', ' and no ')}")
        name = "as it is" if dtype is None else dtype.name
        report = GradientReport(callee.label, 1, name, seed)
        connections.check(function, report, disconnected, repeat)
        check = Check(function, report, repeat, rtol, read_distances(function, distance_to_kink))
        check.run(directions)
        if order == 2:
            report.second = GradientReport(callee.label, 2, name, seed)
            v = cotangents(generator(seed, 2), function.outputs(function.values))
            second = Gradient(function, v)
            Check(second, report.second, repeat, rtol, check.kinks).run(directions)
    finally:
        function.restore()
    return report


def _repeat(called: str, **options: str | None) -> str:
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    return f"check_gradients({', '.join([called, 'inputs', *given])})"


def _shown(training) -> str:
    if isinstance(training, StepContext):
        return f"engine.StepContext({int(training.seed)}, {int(training.step)})"
    return repr(training)
