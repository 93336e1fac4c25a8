"""Remainders of the linear prediction at smaller and smaller steps: what two of the verdicts look at."""

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import tensorflow as tf

from engine.testing.functions import EPSILON

# The rounding of float16 is finer; what is coarser is a function that turns within a step.
_COARSEST = 2.0**-9
# Relative steps: between two of them the third order falls by 4,096, a kink by 16, rounding not at all.
_LOOKED_AT = {
    tf.float64: [2.0**exponent for exponent in (-8, -12, -16, -20, -24)],
    tf.float32: [2.0**exponent for exponent in (-5, -9, -13)],
}
_FADES = 8
_NOTICED = 2.0**5
_FEW = 64
_GOLDEN = (math.sqrt(5) - 1) / 2
# Between what the rounding of the point changes and the outputs themselves there must be room for a ladder of steps.
_ROOM = {tf.float64: 2.0**20, tf.float32: 2.0**16}
_TINY = {tf.float32: 2.0**-126, tf.float16: 2.0**-14, tf.bfloat16: 2.0**-126}


@dataclasses.dataclass
class Base:
    """The point of a check and what is known there: outputs, cotangents v (float64), gradients of ∑ v·outputs."""

    function: Any
    outputs: list[tf.Tensor]
    cotangents: list[tf.Tensor]
    gradients: list[tf.Tensor]
    rounding: float = 0.0

    @functools.cached_property
    def size(self) -> float:
        """‖v∘outputs‖, what a derivative is typically like for a relative change."""
        return self.contract(self.outputs)[1]

    @functools.cached_property
    def conditioned(self) -> float:
        """What the rounding of the points themselves changes in φ."""
        return self.epsilon * norm(self.gradients, self.values)

    @functools.cached_property
    def floor(self) -> float:
        """What φ could lose however small the outputs are: to numbers too small for a dtype, to cancellation."""
        return underflow(self.outputs, self.cotangents) + self.function.cancellation(self.cotangents)

    @property
    def values(self) -> list[tf.Tensor]:
        """The values of the points."""
        return self.function.values

    @property
    def coarsest(self) -> tf.DType:
        """The coarsest of all dtypes that take part."""
        return max((tensor.dtype for tensor in [*self.values, *self.outputs]), key=EPSILON.get)

    @property
    def epsilon(self) -> float:
        """The unit roundoff of the coarsest dtype."""
        return EPSILON[self.coarsest]

    def contract(self, outputs: list[tf.Tensor]) -> tuple[float, float]:
        """(∑ v·(outputs − outputs here), ‖v∘outputs‖)."""
        total, squares = 0.0, 0.0
        for v, y, here in zip(self.cotangents, outputs, self.outputs, strict=True):
            y = tf.cast(y, tf.float64)
            total += float(tf.reduce_sum(v * (y - tf.cast(here, tf.float64))))
            squares = math.hypot(squares, length(v * y))
        return total, squares


class Ladder:
    """φ(x + t·u) − φ(x) − ⟨∇φ, t·u⟩ for φ = ∑ v·outputs, at any t.

    A u of None stands for tensors that do not move. Below float64, ⟨∇φ, t·u⟩ is taken with the step as it was rounded.
    parts: ‖∇φ∘u‖ of each tensor; size: of all, what a derivative along u is typically like.
    top: the largest step; bottom: the smallest.
    """

    def __init__(self, base: Base, moves: list, largest: float = math.inf):
        self.base, self.moves = base, moves
        self.parts = [norm([g], [u]) for g, u in zip(base.gradients, moves, strict=True)]
        self.size = math.hypot(*self.parts)
        rounding = max(base.epsilon, base.rounding)
        # Between the truncation of the fourth order and the rounding there is the fifth root; the ladder begins above.
        self.top = min(2.0 ** round(math.log2(rounding) / 6), largest)
        self.bottom = min(2.0**8 * base.epsilon, self.top * 2.0**-8)
        self._slope = [
            inner(gradient, move) if move is not None and move.dtype == tf.float64 else None
            for gradient, move in zip(base.gradients, moves, strict=True)
        ]
        self._underflow = underflow(base.gradients, moves)
        self._known = {}

    def remainder(self, t: float) -> float:
        """The remainder at t, NaN where the function is not finite."""
        return self._at(t)[0]

    def noise(self, t: float) -> float:
        """How much of the remainder at t rounding could make up."""
        base = self.base
        outputs = 2 * max(base.epsilon, base.rounding) * max(base.size, self._at(t)[1])
        return outputs + base.conditioned + base.floor + abs(t) * self._underflow

    @property
    def hopeless(self) -> bool:
        """Whether the rounding of the point alone, as in sin(1e20), leaves differences no digits."""
        room = max(self.base.size, self._at(self.top)[1])
        return _ROOM.get(self.base.coarsest, 0.0) * self.base.conditioned > room

    def odd(self, t: float) -> float:
        """(φ(x + t·u) − φ(x − t·u)) / 2t − ⟨∇φ, u⟩: how far the central difference is from the gradient."""
        return (self.remainder(t) - self.remainder(-t)) / (2 * t)

    def outputs(self, t: float) -> list[tf.Tensor]:
        """The outputs at x + t·u."""
        return self.base.function.outputs(self._moved(t))

    def _moved(self, t: float) -> list[tf.Tensor]:
        return [
            value if move is None else value + tf.constant(t, value.dtype) * move
            for value, move in zip(self.base.values, self.moves, strict=True)
        ]

    def _at(self, t: float) -> tuple[float, float]:
        if t not in self._known:
            moved, predicted = self._moved(t), 0.0
            for position, slope in enumerate(self._slope):
                if slope is not None:
                    predicted += t * slope
                elif self.moves[position] is not None:
                    ends = (tf.cast(tensor, tf.float64) for tensor in (moved[position], self.base.values[position]))
                    predicted += inner(self.base.gradients[position], next(ends) - next(ends))
            total, size = self.base.contract(self.base.function.outputs(moved))
            finite = math.isfinite(total) and math.isfinite(size)
            self._known[t] = (total - predicted, size) if finite else (math.nan, 0.0)
        return self._known[t]


def inner(gradient: tf.Tensor, move: tf.Tensor) -> float:
    """⟨gradient, move⟩ of one tensor, in float64."""
    return float(tf.reduce_sum(tf.cast(gradient, tf.float64) * tf.cast(move, tf.float64)))


def norm(gradients: list, moves: list) -> float:
    """‖gradients∘moves‖ over all tensors, in float64."""
    parts = zip(gradients, moves, strict=True)
    return math.hypot(*(length(tf.cast(g, tf.float64) * tf.cast(u, tf.float64)) for g, u in parts if u is not None))


def length(tensor: tf.Tensor) -> float:
    """‖tensor‖, also where its squares leave the range of float64."""
    found = float(tf.norm(tensor))
    if not 1e-140 < found < 1e140 and tensor.shape.num_elements():
        largest = float(tf.reduce_max(tf.abs(tensor)))
        if 0 < largest < math.inf:
            found = largest * float(tf.norm(tensor / largest))
    return found


def underflow(tensors: list[tf.Tensor], weights: list) -> float:
    """What numbers below the smallest normal ones of the tensors' dtypes would make up, weighted; 0 in float64."""
    parts = [
        _TINY[tensor.dtype] * length(tf.cast(weight, tf.float64))
        for tensor, weight in zip(tensors, weights, strict=True)
        if weight is not None and tensor.dtype in _TINY
    ]
    return math.hypot(*parts)


def rounding(base: Base, moves: list) -> float:
    """The relative rounding of the outputs as it is: what no parabola follows at steps where nothing else is left.

    (After Moré and Wild 2011, "Estimating computational noise".) A function that computes in float32 within, or takes
    differences of larger numbers, shows itself here; what only looks like noise, a kink nearby or a scale that is
    finer than the steps, fades with the step.
    """
    found = math.inf
    for step in _LOOKED_AT.get(base.coarsest, ()):
        coarse, found = found, _unevenness(base, moves, step)
        if not found > _NOTICED * base.epsilon:
            break
        if coarse / _FADES < found < _COARSEST:
            return found
    return base.epsilon


def _unevenness(base: Base, moves: list, step: float) -> float:
    """The root mean square of what outputs at uneven distances up to 3 steps are off their best parabola."""
    values = sum(y.shape.num_elements() for y in base.outputs)
    # Rounded numbers may lie on a parabola by chance: of few there are looked at more.
    times = np.concatenate([[0.0, 1.0, 2.0, 3.0], np.modf(np.arange(1, 2 + _FEW // max(values, 8)) * _GOLDEN)[0] * 3])
    ladder = Ladder(base, moves)
    runs = [base.outputs, *(ladder.outputs(time * step) for time in times[1:])]
    parabolas = np.linalg.qr(np.vander(times, 3))[0]
    squares, size = 0.0, 0.0
    for v, *ys in zip(base.cotangents, *runs, strict=True):
        apart = tf.stack([v * (tf.cast(y, tf.float64) - tf.cast(ys[0], tf.float64)) for y in ys])
        apart = tf.reshape(apart, [len(times), -1])
        squares = math.hypot(squares, length(apart - parabolas @ (parabolas.T @ apart)))
        size = math.hypot(size, length(v * tf.cast(ys[0], tf.float64)))
    return squares / math.sqrt(len(times) - 3) / size if size else 0.0
