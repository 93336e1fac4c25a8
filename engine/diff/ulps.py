"""How far two numbers of a dtype are apart, counted in the numbers of that dtype that lie between."""

import numpy as np
import numpy.typing as npt


def differing(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two arrays of one dtype and shape do not hold the same bits: flat indices, ascending."""
    a, b = np.ascontiguousarray(a).reshape(-1), np.ascontiguousarray(b).reshape(-1)
    if a.dtype == object:
        return np.flatnonzero(a != b)
    bits = [x.view(np.uint8).reshape(len(x), x.dtype.itemsize) for x in (a, b)]
    return np.flatnonzero((bits[0] != bits[1]).any(axis=1))


def ulps(a: npt.ArrayLike, b: npt.ArrayLike) -> np.ndarray | None:
    """The distance of each a from its b in units of the last place, as float64 beyond 2^53; None for other dtypes.

    Floating numbers of a dtype (bfloat16 among them) are numbered in their order, both zeros alike; the distance is
    that of the numbers. NaN where either is none. Integers are as far apart as they are.

    >>> ulps(np.float32([1.0, 0.0]), np.nextafter(np.float32([1.0, 0.0]), np.float32([2.0, -1.0])))
    array([1., 1.])
    """
    a, b = np.array(a, order="C"), np.array(b, order="C")
    if a.dtype.kind in "iu":
        return _distance(a, b)
    if a.dtype.kind != "f" and a.dtype.name != "bfloat16":
        return None
    apart = _distance(_ordered(a), _ordered(b))
    return np.where(np.isnan(a) | np.isnan(b), np.nan, apart)


def _ordered(values: np.ndarray) -> np.ndarray:
    """int64 that are ordered as the numbers are and count them: sign and magnitude as one line of integers."""
    bits = values.view(f"i{values.dtype.itemsize}").astype(np.int64)
    lowest = np.int64(-(2 ** (8 * values.dtype.itemsize - 1)))
    return np.where(bits < 0, lowest - bits, bits)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a - b| of integers, exact where it fits a float64, and never wrapped round."""
    high, low = np.maximum(a, b), np.minimum(a, b)
    # In uint64 the difference of two's complements, wrapped, is the true one, which is below 2^64.
    with np.errstate(over="ignore"):
        return (high.astype(np.uint64) - low.astype(np.uint64)).astype(np.float64)
