"""Where a function says that it is not smooth: how far steps may go, and what is accepted at the kink itself."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from engine.testing.directions import generator, scale
from engine.testing.functions import EPSILON, Function
from engine.testing.ladder import Base, Ladder, inner
from engine.testing.locate import coordinate
from engine.testing.report import Kink

_LOOKED_AT = 64
# Of the jump between the two derivatives: what a kink that is near, but not here, adds to the one of its side.
_NEAR = 2.0**-6


@dataclasses.dataclass
class Kinks:
    """still: by the point's position a mask of coordinates at a kink, which no direction moves.

    largest: the largest step that meets no kink. everywhere: every direction crosses one.
    """

    still: dict[int, np.ndarray]
    largest: float = math.inf
    everywhere: bool = False


def read_distances(function: Function, distance_to_kink) -> Kinks:
    """Asks the declaration: a scalar for all directions, or distances with the nesting of the inputs.

    Of a nest, a leaf may be None, or of any shape that broadcasts to its input's.
    Raises ValueError for another nesting.
    """
    kinks = Kinks({})
    if distance_to_kink is None:
        return kinks
    answer = distance_to_kink(*function.arguments)
    leaves = tf.nest.flatten(answer)
    nearest = max(EPSILON[value.dtype] for value in function.values) ** 0.4
    if len(leaves) == 1 and np.ndim(leaves[0]) == 0:
        reach = max(float(1.5 * scale(value, "floored").max(initial=0)) for value in function.values)
        kinks.largest = float(leaves[0]) / reach
        kinks.everywhere = kinks.largest < nearest
    elif len(leaves) == len(function.leaves):
        for position, point in enumerate(function.points):
            if point.place is None or leaves[point.place] is None:
                continue
            distances = np.broadcast_to(np.abs(np.asarray(leaves[point.place], np.float64)), tuple(point.value.shape))
            steps = distances / (1.5 * scale(point.value, "floored"))
            kinks.still[position] = steps < nearest
            kinks.largest = min(kinks.largest, steps[steps >= nearest].min(initial=math.inf))
    else:
        raise ValueError(
            f"distance_to_kink must return one scalar or the {len(function.leaves)} leaves of the inputs, "
            f"found {len(leaves)}"
        )
    if kinks.everywhere:
        kinks.largest = math.inf
    # A power of two, so that a step times a direction is not rounded.
    elif math.isfinite(kinks.largest):
        kinks.largest = 2.0 ** math.floor(math.log2(kinks.largest))
    return kinks


def accept(base: Base, moves: list, rtol: float, name: str, index, size: float = 1.0) -> tuple[Kink | None, bool]:
    """The one-sided derivatives along `moves`, None if they agree, and whether the gradient lies between them.

    size: of the direction, by which the numbers are divided.
    """
    ladder, analytic = Ladder(base, moves), predicted(base, moves)
    (left, right), error = _sides(ladder)
    # Every output has a kink of its own: a sum of values between is between the sums of the smaller and of the larger.
    pairs = list(zip(left, right, strict=True))
    low, high = (_sum(choose(*pair) for pair in pairs) for choose in (tf.minimum, tf.maximum))
    slack = 8 * error + rtol * max(ladder.size, high - low) + _NEAR * (high - low)
    accepted = low - slack <= analytic <= high + slack
    if accepted and high - low <= slack:
        return None, True
    return Kink(name, index, _sum(left) / size, _sum(right) / size, analytic / size), accepted


def _sides(ladder: Ladder) -> tuple[list[list], float]:
    """([left, right], error): v∘(derivatives of the outputs) from either side, and how far off their sum may be."""
    sides, error = [], 0.0
    for t in (-ladder.top, ladder.top):
        slopes = list(zip(_slopes(ladder, t), _slopes(ladder, t / 4), strict=True))
        sides.append([fine + (fine - coarse) / 3 for coarse, fine in slopes])
        off = _sum(tf.abs(fine - coarse) for coarse, fine in slopes)
        error = max(error, off / 3 + ladder.noise(t / 4) / abs(t / 4))
    return sides, error


def _slopes(ladder: Ladder, t: float) -> list[tf.Tensor]:
    base = ladder.base
    parts = zip(base.cotangents, ladder.outputs(t), base.outputs, strict=True)
    return [v * (tf.cast(y, tf.float64) - tf.cast(here, tf.float64)) / t for v, y, here in parts]


def _sum(tensors) -> float:
    return sum(float(tf.reduce_sum(tensor)) for tensor in tensors)


def at_coordinates(base: Base, kinks: Kinks, rtol: float, seed: int):
    """What `accept` says of coordinates at a kink; of more than 64 in a tensor 64 at random."""
    for position, mask in kinks.still.items():
        places = np.argwhere(mask)
        if len(places) > _LOOKED_AT:
            places = generator(seed, 3, position).choice(places, _LOOKED_AT, replace=False)
        for place in places:
            index = tuple(int(i) for i in place)
            moves, size = coordinate(base, position, index)
            yield accept(base, moves, rtol, base.function.points[position].name, index, size)


def predicted(base: Base, moves: list) -> float:
    """⟨∇φ, u⟩ in float64."""
    parts = zip(base.gradients, moves, strict=True)
    return sum(inner(gradient, move) for gradient, move in parts if move is not None)
