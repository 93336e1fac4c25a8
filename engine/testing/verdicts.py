"""The three verdicts along random directions."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from engine.testing.adjoint import NoForwardMode, adjoint_tolerance, lost_operations, mismatch
from engine.testing.connections import refuse_non_finite
from engine.testing.culprit import acquitted, culprit
from engine.testing.differences import Difference, differences
from engine.testing.directions import cotangents, direction, generator, typical
from engine.testing.functions import EPSILON, dense
from engine.testing.kinks import Kinks, accept, at_coordinates
from engine.testing.ladder import Base, Ladder, norm, rounding, underflow
from engine.testing.report import GradientError, GradientReport, Kink
from engine.testing.taylor import ENOUGH, taylor

# Of ‖∇φ∘u‖. Differences of float64 are good to 1e-11; that leaves a gradient two digits for what it cancels.
_TOLERANCES = {tf.float64: 1e-9, tf.float32: 1e-3, tf.float16: 5e-2, tf.bfloat16: 2e-1}
# Below this share of the whole direction a tensor gets one of its own.
_FELT = 1e-4
# An error of this share of ‖∇φ∘u‖ says little about the gradient.
_VAGUE = 1e-2
_CANCELLED = 2.0**10
# By which powers of two a cotangent is scaled, within the range of the dtype.
_POWERS = {tf.float64: 20, tf.float32: 20, tf.float16: 3, tf.bfloat16: 20}


@dataclasses.dataclass
class Outcome:
    """What the verdicts found along one direction.

    size: ‖∇φ∘u‖; shares: how much of it comes from each tensor. mismatch: of the adjoints; None if there is no
    forward mode. order: of the remainder.
    """

    base: Base
    moves: list
    kind: str
    size: float
    shares: list[float]
    mismatch: float | None
    order: float
    difference: Difference
    failed: list[str]

    @property
    def usable(self) -> bool:
        """Whether the function was finite at some step on both sides."""
        return math.isfinite(self.difference.value)

    @property
    def vague(self) -> bool:
        """Whether rounding leaves no digits of the derivative along this direction."""
        return not self.difference.error <= _VAGUE * self.size

    @property
    def real(self) -> bool:
        """Whether the gradient is more than what rounding leaves of a 0."""
        return self.size > _CANCELLED * (self.base.epsilon * self.base.size + self.base.floor)


class Check:
    """One order of one check; `run` fills in the report or raises GradientError."""

    def __init__(self, function, report: GradientReport, repeat: str, rtol: float | None, kinks: Kinks):
        self.function, self.report, self.repeat, self.kinks = function, report, repeat, kinks
        self._rtol, self._rounding = rtol, math.nan

    def run(self, directions: int) -> None:
        """All verdicts along `directions` directions, then alone along every tensor that these hardly moved."""
        function, report = self.function, self.report
        report.names = [point.name for point in function.points]
        everything = set(range(len(report.names)))
        outcomes = [self._direction(number, everything) for number in range(directions)]
        felt = np.max([outcome.shares for outcome in outcomes], axis=0)
        if len(felt) > 1:
            for position in np.flatnonzero(felt < _FELT):
                outcomes.append(self._direction(directions + int(position), {int(position)}))
        report.outputs = list(function.output_names)
        report.evaluations = function.evaluations
        if not self.kinks.everywhere:
            self._summarise(outcomes)

    def _summarise(self, outcomes: list[Outcome]) -> None:
        """Says what could not be had, and refuses if nothing could."""
        if not any(outcome.usable for outcome in outcomes):
            self.refuse("non_finite", self.report.names[0], "the function is finite here, and at no step from here")
        if all(outcome.vague for outcome in outcomes) and any(outcome.real for outcome in outcomes):
            for verdict in ("taylor", "differences"):
                self.report.skipped[verdict] = "the function's rounding hides its derivative"
            if "adjoint" in self.report.skipped:
                self.refuse("differences", self.report.names[0], "rounding hides the derivative: nothing was checked")

    def refuse(self, verdict: str, name: str, why: str, index=None, **numbers) -> None:
        """Raises the GradientError."""
        self.report.evaluations = self.function.evaluations
        self.report.failed = self.report.failed or [verdict]
        raise GradientError(verdict, name, why, report=self.report, repeat=self.repeat, index=index, **numbers)

    def _direction(self, number: int, moving: set[int]) -> Outcome:
        """The outcome along one direction, recorded. Raises GradientError for a wrong one."""
        base = self._base(number)
        outcome = self._outcome(base, number, "relative" if number % 2 else "floored", moving)
        if number == 0:
            for kink, accepted in at_coordinates(base, self.kinks, self._tolerance(base), self.report.seed):
                self._at_kink(kink, accepted)
        if self.kinks.everywhere:
            names = ", ".join(self.function.points[position].name for position in sorted(moving))
            self._at_kink(*accept(base, outcome.moves, self._tolerance(base), names, None))
        if not outcome.usable and outcome.kind == "floored":
            outcome = self._outcome(base, number, "relative", moving)
        if outcome.usable and outcome.vague and not outcome.failed and any(_small(v) for v in base.values):
            wider = self._outcome(base, number, "unit", moving)
            if wider.failed or not wider.vague:
                outcome = wider
        suspicious = outcome.failed and "adjoint" not in outcome.failed and outcome.kind != "relative"
        # A floor under the steps can be too high for a coordinate that is small beside the others.
        if suspicious and acquitted(outcome, self._tolerance(base)):
            again = self._outcome(base, number, "relative", moving)
            outcome = again if not again.failed else outcome
        self._record(outcome)
        if outcome.failed:
            self.report.failed = outcome.failed
            found = culprit(outcome, self._tolerance(base))
            self.refuse(outcome.failed[0], **dataclasses.asdict(found))
        return outcome

    def _at_kink(self, kink: Kink | None, accepted: bool) -> None:
        if not accepted:
            why = f"the derivative is not between those from the left and the right, {kink.left:g} and {kink.right:g}"
            nearest = min((kink.left, kink.right), key=lambda side: abs(side - kink.analytic))
            self.refuse("kink", kink.name, why, kink.index, analytic=kink.analytic, numeric=nearest)
        if kink is not None:
            self.report.kinks.append(kink)

    def _base(self, number: int) -> Base:
        function, names = self.function, self.report.names
        with function.at(function.values) as sources:
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(sources)
                outputs = function(sources)
            v = cotangents(generator(self.report.seed, 0, number), outputs)

            def backward(factor):
                upstream = [tf.cast(part * factor, y.dtype) for part, y in zip(v, outputs, strict=True)]
                return list(map(dense, tape.gradient(outputs, sources, upstream), function.values))

            gradients = backward(1.0)
            refuse_non_finite(zip(function.output_names, outputs, strict=True), self.refuse)
            refuse_non_finite([(f"gradient of {n}", g) for n, g in zip(names, gradients, strict=True)], self.refuse)
            base = Base(function, outputs, v, gradients)
            if number < 2:
                self._refuse_nonlinear(base, backward, _POWERS[base.coarsest] * (-1) ** number)
        return base

    def _refuse_nonlinear(self, base: Base, backward, power: int) -> None:
        """A cotangent that is 2ᵏ times as large makes every gradient 2ᵏ times as large, to the rounding of sums."""
        factor, names = 2.0**power, self.report.names

        def differing(one, two):
            for name, g, other, value in zip(names, one, two, base.values, strict=True):
                # Backward passes may add up in any order, but differ by no more than that.
                lost = base.floor + underflow([g], [tf.ones([], g.dtype)]) * (1 + 1 / factor)
                off = _size(tf.cast(g, tf.float64) - tf.cast(other, tf.float64))
                if math.isfinite(off) and off > math.sqrt(EPSILON[value.dtype]) * _size(g) + lost:
                    return name
            return None

        scaled = [tf.cast(g, tf.float64) / factor for g in backward(factor)]
        name = differing(base.gradients, scaled)
        if name is None:
            return
        if moved := differing(base.gradients, backward(1.0)):
            self.refuse("non_deterministic", moved, "its gradient differs between two backward passes")
        why = f"a cotangent 2^{power} times as large does not make it 2^{power} times as large"
        self.refuse("non_linear", name, f"its gradient is not linear in the cotangent: {why}")

    def _outcome(self, base: Base, number: int, kind: str, moving: set[int]) -> Outcome:
        moves = direction(generator(self.report.seed, 1, number), base.values, kind, self.kinks.still)
        moves = [move if position in moving else None for position, move in enumerate(moves)]
        if math.isnan(self._rounding):
            # Along relative steps, which are small for every coordinate.
            self._rounding = rounding(base, direction(generator(self.report.seed, 4), base.values, "relative", {}))
        base.rounding = self._rounding
        rtol, ladder = self._tolerance(base), Ladder(base, moves, self.kinks.largest)
        tolerance = adjoint_tolerance(base, moves, ladder.size, rtol)
        found = self._adjoint(base, moves, tolerance)
        if self.kinks.everywhere:
            order, difference = math.inf, Difference(0.0, 0.0, ladder.top, True)
        else:
            order, difference = taylor(ladder, rtol), differences(ladder, rtol)
        if ladder.hopeless:
            order, difference = math.inf, dataclasses.replace(difference, error=math.inf, agrees=True)
        failed = []
        if found is not None and abs(found) > tolerance:
            failed.append("adjoint")
        if order < ENOUGH:
            failed.append("taylor")
        if math.isfinite(difference.value) and not difference.agrees:
            failed.append("differences")
        shares = [part / ladder.size if ladder.size else 0.0 for part in ladder.parts]
        return Outcome(base, moves, kind, ladder.size, shares, found, order, difference, failed)

    def _adjoint(self, base: Base, moves: list, tolerance: float) -> float | None:
        if "adjoint" in self.report.skipped:
            return None
        try:
            found = mismatch(base, moves)
            if abs(found) > tolerance and (lost := lost_operations(base)):
                raise NoForwardMode(f"forward mode leaves out {', '.join(lost)}")
        except NoForwardMode as reason:
            self.report.skipped["adjoint"] = str(reason)
            return None
        if not math.isfinite(found):
            self.refuse("non_finite", self.function.output_names[0], f"forward mode gives ⟨v, J·u⟩ = {found}")
        return found

    def _record(self, outcome: Outcome) -> None:
        # What is nearly nothing is not divided by itself.
        report, size = self.report, max(outcome.size, math.sqrt(outcome.base.epsilon) * outcome.base.size) or 1.0
        if outcome.mismatch is not None:
            report.adjoint.append(abs(outcome.mismatch) / size)
        if outcome.usable:
            report.taylor.append(outcome.order)
            report.differences.append(abs(outcome.difference.value) / size)
            report.precision.append(outcome.difference.error / size)

    def _tolerance(self, base: Base) -> float:
        return _TOLERANCES[base.coarsest] if self._rtol is None else self._rtol


def _size(tensor: tf.Tensor) -> float:
    return norm([tensor], [tf.ones([], tensor.dtype)])


def _small(value: tf.Tensor) -> bool:
    return value.shape.num_elements() > 0 and typical(np.abs(np.asarray(value, np.float64))) < 1
