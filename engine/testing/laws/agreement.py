"""How far two computations of one thing may part, and what is said when they part further.

**The bound.** A sound algorithm returns, up to rounding, the exact result for inputs that were moved by rounding
(it is backward stable: Higham 2002, "Accuracy and stability of numerical algorithms", section 1.5). So a value y may be
off by

    ε·G·(S + |y|),   S = max over 4 draws of |f(x·(1 + h·δ)) − f(x)| / h,   every δ = ±1 at random,

where every scalar of the floating inputs and variables is moved by its own δ, h = 16·ε, and ε is the spacing at 1 of
the coarsest dtype that takes part. S is how much y feels of its inputs' rounding; it is large where y is the small
difference of large numbers, so that no tolerance need be tuned to a scale. G = 16 + 4·√n allows for the sums: n
roundings of random sign add up like √n, and n is the size of the largest tensor among inputs, variables and outputs.
As G·ε exceeds h, a jump (a relu's gradient near 0, maxima near a tie) is let pass where a move by h crosses it, and no
other.

A gradient may be 0 by cancellation (of a bias in front of batch normalisation; of the inputs of a normalisation over
two values) and still be a sum of larger terms, with their roundings. So to |g| are added the largest S + |g| of all
gradients of the evaluation, and, in the gradient's own units, max |y| over the outputs by the root mean square of the
variable or input (cotangents are of size 1).

Integers and booleans must be equal. At an exact tie compilers may decide differently: give inputs away from there.
"""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from engine.testing.directions import generator
from engine.testing.functions import EPSILON
from engine.testing.laws.subject import GRADIENT, Subject, map_tensors

_DRAWS = 4


class LawError(AssertionError):
    """A law that does not hold.

    law: its name; name: the output, gradient or variable at fault, or None; index: where in it, or None;
    found, expected, difference, bound: the values there, or None where no two numbers were compared.
    """

    def __init__(self, law: str, message: str, *, name=None, index=None, found=None, expected=None, bound=None):
        super().__init__(f"{law}: {message}")
        self.law, self.name, self.index, self.bound = law, name, index, bound
        self.found, self.expected = found, expected
        self.difference = None if bound is None else abs(found - expected)


def agree(
    law: str,
    who: object,
    found: Mapping[str, tf.Tensor],
    expected: Mapping[str, tf.Tensor],
    bounds: Mapping[str, np.ndarray] | None,
    there: str,
    here: str,
) -> None:
    """LawError unless both hold the same names, shapes and, within `bounds` (None: to the bit), values.

    there, here: the ways in which `found` and `expected` were computed, for the message.
    """
    for name in [*expected, *(name for name in found if name not in expected)]:
        if name not in found or name not in expected:
            has, lacks = (here, there) if name in expected else (there, here)
            raise LawError(law, f"{who}: there is {name} {has}, but not {lacks}", name=name)
        shapes = [list(values[name].shape) for values in (found, expected)]
        if shapes[0] != shapes[1]:
            text = f"{who}: {name} has shape {shapes[0]} {there}, but {shapes[1]} {here}"
            raise LawError(law, text, name=name)
    wrong = []
    for name, value in expected.items():
        left, right = as_numbers(found[name]), as_numbers(value)
        allowed = np.zeros(right.shape) if bounds is None else bounds[name]
        with np.errstate(invalid="ignore", over="ignore"):
            difference = np.abs(left - right)
        same = (left == right) | (np.isnan(left) & np.isnan(right))
        beyond = np.where(same, False, ~(difference <= allowed))
        if beyond.any():
            # The worst is where the bound is exceeded by the largest factor.
            excess = np.where(beyond, np.nan_to_num(difference, nan=np.inf) / np.maximum(allowed, 1e-300), -1)
            index = tuple(int(i) for i in np.unravel_index(excess.argmax(), excess.shape))
            wrong.append(
                (name, index, left[index], right[index], float(allowed[index]), int(beyond.sum()), beyond.size)
            )
    if wrong:
        name, index, left, right, bound, count, size = wrong[0]
        at = f"{name} at {index}" if index else name
        explains = "every bit must be the same" if bounds is None else f"rounding explains {bound:.3g}"
        lines = [
            f"{who} does not compute the same {there} and {here}",
            f"  {at}: {left!s} {there}, {right!s} {here}; they differ by {abs(left - right):.3g}, {explains}",
            f"  {count} of {size} values of {name} differ by more",
        ]
        if wrong[1:]:
            lines.append(f"  and so do values of {', '.join(other for other, *_ in wrong[1:])}")
        raise LawError(law, "\n".join(lines), name=name, index=index, found=left, expected=right, bound=bound)


def rounding_bounds(
    subject: Subject,
    evaluate: Callable[..., Mapping[str, tf.Tensor]],
    expected: Mapping[str, tf.Tensor],
    *,
    atol: float,
    epsilon: float | None = None,
) -> dict[str, np.ndarray]:
    """How far each value of `expected = evaluate(args)` may be off by rounding.

    atol: allowed on top. epsilon: of the dtype that is judged, by default the coarsest that takes part.
    """
    if not atol >= 0:
        raise ValueError(f"atol must be at least 0, found {atol!r}")
    part = [*subject.sources.values(), *subject.variables.values(), *expected.values()]
    epsilon = epsilon or max([EPSILON[tensor.dtype] for tensor in part if tensor.dtype.is_floating], default=0.0)
    growth = 16 + 4 * np.sqrt(max((tensor.shape.num_elements() for tensor in part), default=1))
    felt = _sensitivities(subject, evaluate, expected, 16 * epsilon)
    scales = {name: felt[name] + np.abs(as_numbers(value)) for name, value in expected.items()}
    floors = _floors(subject, scales)
    bounds = {}
    for name, scale in scales.items():
        floating = expected[name].dtype.is_floating
        scale = _finite(scale) + floors.get(name, 0.0)
        # What underflows is lost altogether; processors flush it to 0.
        tiny = float(np.finfo(np.float32).tiny) if epsilon > 1e-10 else float(np.finfo(np.float64).tiny)
        bounds[name] = growth * (epsilon * scale + tiny) + atol if floating else np.zeros(scale.shape)
    return bounds


def _floors(subject, scales):
    """What is added to the scale of every gradient, by name."""
    largest = max(
        (_finite(scale).max(initial=0.0) for name, scale in scales.items() if name.startswith(GRADIENT)), default=0.0
    )
    floating = [as_numbers(y) for y in subject.outputs().values() if y.dtype.is_floating]
    output = max((_finite(np.abs(y)).max(initial=0.0) for y in floating), default=0.0)
    floors = {}
    for name, source in subject.differentiated(subject.args).items():
        typical = np.sqrt(np.mean(as_numbers(tf.convert_to_tensor(source)) ** 2)) if source.shape.num_elements() else 0
        floors[GRADIENT + name] = largest + (output / typical if typical else 0.0)
    return floors


def _sensitivities(subject, evaluate, expected, step):
    """S of each value of `expected`, by name."""
    felt = {name: np.zeros(value.shape) for name, value in expected.items()}
    if not step:
        return felt
    rng = generator(2)

    def moved(tensor):
        signs = rng.integers(0, 2, tensor.shape) * 2 - 1
        return tensor * tf.constant(1 + step * signs, tensor.dtype) if tensor.dtype.is_floating else tensor

    for _ in range(_DRAWS):
        with subject.undisturbed():
            for variable in subject.variables.values():
                if variable.dtype.is_floating:
                    variable.assign(moved(tf.convert_to_tensor(variable)))
            found = evaluate(map_tensors(moved, subject.args))
        for name, value in expected.items():
            if name in found and found[name].shape == value.shape and value.dtype.is_floating:
                with np.errstate(invalid="ignore", over="ignore"):
                    change = np.abs(as_numbers(found[name]) - as_numbers(value)) / step
                felt[name] = np.maximum(felt[name], _finite(change))
    return felt


def as_numbers(tensor: tf.Tensor) -> np.ndarray:
    """A tensor's values for a comparison: floats as float64, the rest as it is."""
    values = np.asarray(tensor)
    return values.astype(np.float64) if tensor.dtype.is_floating else values


def _finite(values):
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
