"""The second verdict: the remainder of the linear prediction falls like the square of the step.

φ(x + h·u) − φ(x) − h·⟨∇φ, u⟩ is of the order h² for the gradient, and of the order h for anything else. Only the order
is looked at, so there is nothing to tune to a scale.
"""

import math

from engine.testing.ladder import Ladder

# Halfway between the order of a wrong gradient and of a right one.
ENOUGH = 1.5
_SIGNIFICANT = 64
# Relative to the first step; the large gaps show small errors under a large curvature.
_STEPS = (0, -2, -7, -12)


def taylor(ladder: Ladder, rtol: float) -> float:
    """The order with which the remainder falls along the ladder's direction; infinite where it is all rounding.

    A kink beside the point makes a remainder of its own until the steps no longer reach it: the ladder is followed
    down as long as the order is too low. NaN if the function is finite at no step.
    """
    rungs = [_rung(ladder, ladder.top * 2.0**exponent, rtol) for exponent in _STEPS]
    order = _order(rungs)
    t = ladder.top * 2.0 ** (_STEPS[-1] - 4)
    while not order >= ENOUGH and t >= ladder.bottom:
        rungs.append(_rung(ladder, t, rtol))
        order = _order(rungs)
        t /= 16
    return order


def _rung(ladder: Ladder, t: float, rtol: float) -> tuple[float, float, float]:
    """(t, the larger remainder of both sides, the size from which on it counts)."""
    # A gradient that is right to its last digits but one leaves a remainder of the first order, of that size.
    least = max(_SIGNIFICANT * ladder.noise(t), rtol * ladder.size * t)
    # A side that the function does not have, as x^1.5 at 0, is no reason against the other.
    sides = [side for side in (ladder.remainder(t), ladder.remainder(-t)) if math.isfinite(side)]
    return t, max(map(abs, sides), default=math.nan), least


def _order(rungs: list[tuple[float, float, float]]) -> float:
    rungs = [rung for rung in rungs if math.isfinite(rung[1])]
    if not rungs:
        return math.nan
    counting = [position for position, (_, size, least) in enumerate(rungs) if size > least]
    if not counting:
        return math.inf
    lowest = counting[-1]
    points = [(math.log(rungs[p][0]), math.log(rungs[p][1])) for p in counting[-3:] if p >= lowest - 2]
    # One point has no slope; and what counts at the largest step alone is as good as nothing.
    orders = [_regression(points)] if len(points) > 1 else []
    if lowest and lowest + 1 < len(rungs):
        # It fell below what counts: at least so fast.
        (t, size, _), (below, _, least) = rungs[lowest], rungs[lowest + 1]
        orders.append(math.log(size / least) / math.log(t / below))
    return max(orders, default=math.inf)


def _regression(points: list[tuple[float, float]]) -> float:
    x = sum(point[0] for point in points) / len(points)
    y = sum(point[1] for point in points) / len(points)
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)
