"""After a direction has disagreed: the coordinate that does."""

import dataclasses
import math

from engine.testing.adjoint import adjoint_tolerance, mismatch
from engine.testing.differences import at, differences, one_sided
from engine.testing.kinks import predicted
from engine.testing.ladder import Ladder
from engine.testing.locate import coordinate, locate
from engine.testing.taylor import ENOUGH, taylor


@dataclasses.dataclass
class Culprit:
    """Where, both values of the derivative of ∑ v·outputs there, and what can be said about it."""

    name: str
    index: tuple[int, ...] | None
    analytic: float
    numeric: float
    why: str


def culprit(outcome, rtol: float) -> Culprit:
    """The coordinate that fails the first verdict that the direction failed; else the direction's own numbers."""
    base, verdict = outcome.base, outcome.failed[0]
    position, places = _suspects(outcome)
    name = base.function.points[position].name
    for index in places:
        moves, size = coordinate(base, position, index, "unit" if outcome.kind == "unit" else "relative")
        ladder = Ladder(base, moves)
        analytic = predicted(base, moves)
        left, right, error = one_sided(ladder, ladder.top)
        if verdict == "adjoint":
            found = mismatch(base, moves)
            guilty = abs(found) > adjoint_tolerance(base, moves, ladder.size, rtol)
        elif verdict == "differences":
            difference = differences(ladder, rtol)
            found, guilty = difference.value, not difference.agrees
        else:
            found, guilty = right, taylor(ladder, rtol) < ENOUGH
        if guilty:
            why = _REASONS[verdict]
            if abs(right - left) > 8 * error + rtol * abs(right):
                why += (
                    f"; the derivatives from the left and the right are {(analytic + left) / size:g} and "
                    f"{(analytic + right) / size:g}: is it a kink? Move the point away, or declare distance_to_kink="
                )
            return Culprit(name, index, analytic / size, (analytic + found) / size, why)
    analytic = predicted(base, outcome.moves)
    found = {"adjoint": outcome.mismatch, "differences": outcome.difference.value}.get(verdict, math.nan)
    return Culprit(
        name, None, analytic, analytic + found, f"{_REASONS[verdict]}; along a direction, no one coordinate alone"
    )


_REASONS = {
    "adjoint": "forward and reverse mode disagree",
    "taylor": "the remainder of the linear prediction falls like the step, not like its square",
    "differences": "the gradient is not what differences give",
}


def acquitted(outcome, rtol: float) -> bool:
    """Whether the coordinate that disagrees most agrees when it moves alone and by its own size."""
    position, places = _suspects(outcome)
    for index in places:
        ladder = Ladder(outcome.base, coordinate(outcome.base, position, index)[0])
        difference = differences(ladder, rtol)
        if taylor(ladder, rtol) < ENOUGH or not difference.agrees or not difference.error <= 0.01 * ladder.size:
            return False
    return True


def _suspects(outcome):
    base, step = outcome.base, outcome.difference.step

    def measure(moves):
        if "adjoint" in outcome.failed:
            found = mismatch(base, moves)
        elif "differences" in outcome.failed:
            found = at(Ladder(base, moves), step).value
        else:
            ladder = Ladder(base, moves)
            found = ladder.remainder(ladder.top * 2.0**-8)
        return abs(found) if math.isfinite(found) else 0.0

    return locate(base, outcome.moves, measure)
