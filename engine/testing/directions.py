"""Random directions and cotangents, fitted to the scale of what they move."""

import numpy as np
import tensorflow as tf

# A coordinate moves by h times its size: nothing leaves the range in which the function is what it is near the point,
# be it log at 1e-8. Zeros, and in the directions called "floored" what is small beside the others, move by
# h times the typical size. "unit" moves what is small by h: for functions that have a scale of their own, such as exp.
KINDS = ("floored", "relative", "unit")
_SAMPLE = 10_000


def generator(seed: int, *stream: int) -> np.random.Generator:
    """The random numbers of one purpose of one check."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *stream])))


def bounded(random: np.random.Generator, shape) -> np.ndarray:
    """Values of both signs with sizes from 0.5 to 1.5: no coordinate of a direction is near 0, and so none unseen."""
    values = random.random(tuple(shape), np.float32)
    values *= 2
    values -= 1
    return values + np.copysign(np.float32(0.5), values)


def scale(value: tf.Tensor, kind: str) -> np.ndarray:
    """How far each coordinate moves for h = 1: |x|, or the floor that the kind sets under it. float64."""
    sizes = np.abs(np.asarray(value, np.float64))
    if kind == "relative" and sizes.any():
        return sizes
    return np.maximum(sizes, 1.0 if kind == "unit" else min(typical(sizes), 1.0))


def typical(sizes: np.ndarray) -> float:
    """The median of what is not 0 (of a sample, in large tensors); 1 if all is."""
    flat = sizes.ravel()
    some = flat[:: max(1, flat.size // _SAMPLE)]
    some = some[some > 0]
    return float(np.median(some)) if some.size else 1.0


def direction(random: np.random.Generator, values: list[tf.Tensor], kind: str, still: dict) -> list[tf.Tensor]:
    """A direction in all tensors at once; coordinates where the mask `still[position]` is True do not move."""
    moves = []
    for position, value in enumerate(values):
        move = bounded(random, value.shape) * scale(value, kind)
        if position in still:
            move = np.where(still[position], 0.0, move)
        moves.append(tf.constant(move, value.dtype))
    return moves


def cotangents(random: np.random.Generator, outputs: list[tf.Tensor]) -> list[tf.Tensor]:
    """v in ∑ v·outputs, in float64: random, and 1 for a single scalar.

    Of several outputs each is brought to the size of the largest, so that no one drowns the others.
    """
    if len(outputs) == 1 and outputs[0].shape.rank == 0:
        return [tf.ones([], tf.float64)]
    sizes = [_root_mean_square(y) for y in outputs]
    scaled = []
    for y, size in zip(outputs, sizes, strict=True):
        # Products with the cotangent must stay within the output's own range.
        factor = min(max(sizes) / size, float(y.dtype.max) ** 0.25) if size else 1.0
        scaled.append(tf.constant(bounded(random, y.shape).astype(np.float64) * factor))
    return scaled


def _root_mean_square(tensor: tf.Tensor) -> float:
    values = np.asarray(tensor, np.float64)
    largest = np.abs(values).max(initial=0.0)
    # Squares of 1e200 are no numbers.
    return float(largest * np.sqrt(np.mean(np.square(values / largest)))) if largest else 0.0
