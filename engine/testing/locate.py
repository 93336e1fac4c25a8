"""Which coordinate disagrees, found by halving the direction that does: O(log n) evaluations."""

from collections.abc import Callable as Measure

import numpy as np
import tensorflow as tf

from engine.testing.directions import scale
from engine.testing.ladder import Base


def locate(base: Base, moves: list, measure: Measure[[list], float]) -> tuple[int, list[tuple[int, ...]]]:
    """(position of the tensor, coordinates to look at) for a direction whose parts `measure` tells how wrong they are.

    The first coordinate is where halving leads. An error that is spread over all coordinates can vanish on the way
    down in rounding; then the coordinate that matters most, the second, is as wrong as any.
    """
    alone = [position for position, move in enumerate(moves) if move is not None]
    if len(alone) > 1:
        alone.sort(key=lambda position: measure(_only(moves, position)), reverse=True)
    position = alone[0]
    move = np.asarray(moves[position], np.float64).ravel()
    shape = tuple(moves[position].shape)
    first, end = 0, move.size
    while end - first > 1:
        middle = (first + end) // 2
        halves = [(first, middle), (middle, end)]
        first, end = max(halves, key=lambda half: measure(_only(moves, position, *half)))
    weights = np.abs(np.asarray(base.gradients[position], np.float64).ravel() * move)
    return position, [tuple(int(i) for i in np.unravel_index(at, shape)) for at in (first, int(np.argmax(weights)))]


def coordinate(base: Base, position: int, index: tuple[int, ...], kind: str = "relative") -> tuple[list, float]:
    """(moves, scale): one coordinate alone, by its own size, or with the floor of another kind of direction."""
    value = base.values[position]
    size = float(scale(value[index], kind))
    move = np.zeros(value.shape)
    move[index] = size
    moves = [None] * len(base.values)
    moves[position] = tf.constant(move, value.dtype)
    return moves, size


def _only(moves: list, position: int, first: int = 0, end: int | None = None) -> list:
    """`moves` with nothing but the coordinates `first` to `end` of one tensor."""
    part = moves[position]
    if end is not None:
        flat = np.zeros(part.shape.num_elements())
        flat[first:end] = np.asarray(part, np.float64).ravel()[first:end]
        part = tf.constant(flat.reshape(part.shape), part.dtype)
    return [part if number == position else None for number in range(len(moves))]
