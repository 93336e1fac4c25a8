"""The third verdict: central differences, extrapolated to the step 0 (Richardson 1911; Ridders 1982)."""

import dataclasses
import math

from engine.testing.ladder import Ladder

# An estimate of an error is one of its size, no bound.
_DOUBT = 8.0
# What contradicts must be known to this share of what it contradicts.
_PRECISE = 1e-2


@dataclasses.dataclass
class Difference:
    """numeric − analytic along a direction: the value, how far it can be trusted, the step it was found at."""

    value: float
    error: float
    step: float
    agrees: bool


def differences(ladder: Ladder, rtol: float) -> Difference:
    """The extrapolated central difference minus the gradient along the ladder's direction.

    It agrees if it is 0 to `rtol` at some step, else if it is 0 to its own error where that error is least. Steps fall
    until they meet no kink: a smaller one that contradicts the best so far, beyond both errors, knows better.
    Value and error are NaN and infinite if the function is finite at no step.
    """
    best = Difference(math.nan, math.inf, ladder.top, False)
    step = ladder.top
    while step / 4 >= ladder.bottom:
        found = at(ladder, step)
        if abs(found.value) <= rtol * ladder.size:
            return dataclasses.replace(found, agrees=True)
        doubt = _DOUBT * (found.error + best.error)
        contradicts = abs(found.value - best.value) > doubt and found.error <= _PRECISE * abs(best.value)
        if found.error < best.error or contradicts:
            best = found
        # Where the error is all rounding, smaller steps only make it larger.
        if abs(best.value) <= _DOUBT * best.error and found.error <= 2 * ladder.noise(step / 4) / (step / 4):
            break
        step /= 4
    return dataclasses.replace(best, agrees=abs(best.value) <= _DOUBT * best.error)


def at(ladder: Ladder, step: float) -> Difference:
    """The extrapolation from the steps `step` and `step`/4."""
    coarse, fine = ladder.odd(step), ladder.odd(step / 4)
    value = fine + (fine - coarse) / 15
    error = abs(fine - coarse) + ladder.noise(step / 4) / (step / 4)
    return Difference(value, error, step, False)


def one_sided(ladder: Ladder, step: float) -> tuple[float, float, float]:
    """(left, right, error): derivatives along the direction from either side, minus the gradient's."""
    sides = []
    error = 0.0
    for sign in (-1, 1):
        coarse, fine = (ladder.remainder(sign * t) / (sign * t) for t in (step, step / 4))
        sides.append(fine + (fine - coarse) / 3)
        error = max(error, abs(fine - coarse) / 3 + ladder.noise(sign * step / 4) / (step / 4))
    return sides[0], sides[1], error
