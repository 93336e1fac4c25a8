"""What may be said of rounds: medians, intervals, ratios, and when nothing may be said."""

import math
import statistics
from typing import NamedTuple


class Ratio(NamedTuple):
    """The median of the rounds' ratios, and an interval [low, high] that holds the true median (see `interval`)."""

    median: float
    low: float
    high: float

    @property
    def swallowed(self):
        """Whether the interval is as wide as the ratio's distance from 1: then it tells nothing, and isn't shown."""
        return self.high - self.low >= abs(self.median - 1)


def interval(values):
    """(low, high): the order statistics that hold the median with a chance of at least 0.9, whatever the noise.

    Of n rounds the k lowest and k highest are left out as long as 1 − 2·Σ_{i≤k} C(n, i)/2ⁿ ≥ 0.9: none of 5 to 7, one
    of 8 to 10 at each end. Below 5 rounds all of them are not enough for 0.9, and the interval is still all of them.

    >>> interval([3, 1, 2, 5, 4]), interval([3, 1, 2, 5, 4, 6, 8, 7])
    ((1, 5), (2, 7))
    """
    values, count, left_out = sorted(values), len(values), 0
    while 1 - 2 * sum(math.comb(count, i) for i in range(left_out + 2)) / 2**count >= 0.9:
        left_out += 1
    return values[left_out], values[-1 - left_out]


def ratio(ours, theirs):
    """Ours over theirs, round by round: what a round was disturbed by, disturbed its neighbours too.

    ours, theirs: rates of as many rounds. ValueError where they differ in number or one is not above 0.
    """
    rounds = [a / b if b > 0 else math.nan for a, b in zip(ours, theirs, strict=True)]
    if not rounds or not all(value > 0 and math.isfinite(value) for value in rounds):
        raise ValueError(f"rates must be above 0, found {ours} and {theirs}")
    return Ratio(statistics.median(rounds), *interval(rounds))


def deviation(losses, reference):
    """The largest difference of two trajectories, relative to the larger of the reference's value and 0.1 of its scale.

    The scale is the largest value of the reference, so that a logit near 0 is not asked for relative digits. Infinite
    where they differ in length or hold what is not finite.
    """
    if len(losses) != len(reference) or not all(map(math.isfinite, [*losses, *reference])):
        return math.inf
    scale = 0.1 * max(map(abs, reference))
    return max(abs(a - b) / max(abs(b), scale) for a, b in zip(losses, reference, strict=True))


def void(losses, reference, tolerance):
    """Why a contender's row does not count, or None: from equal weights it must reach the reference's losses."""
    found = deviation(losses, reference)
    if found <= tolerance:
        return None
    return f"its first losses are off by {found:.1e}, more than {tolerance:.0e}"
