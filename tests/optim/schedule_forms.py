"""What each schedule is, in plain Python: a strategy of pairs (schedule, function of a whole number), by name."""

import math
from fractions import Fraction
from itertools import pairwise

from hypothesis import strategies as st

from optim import schedules as s

values = st.floats(-2.0, 2.0, allow_subnormal=False)
rates = st.integers(1, 64).map(lambda n: n / 32)
lengths = st.integers(1, 120) | st.integers(1, 60).map(lambda n: n + 0.5)
counts = st.integers(1, 60)
flags = st.booleans()


def cosine(t, initial, n, alpha=0.0):
    return initial * ((1 - alpha) * (1 + math.cos(math.pi * min(t / n, 1))) / 2 + alpha)


def exponential(t, initial, n, rate, staircase=False):
    return initial * rate ** (t // n if staircase else t / n)


def inverse_time(t, initial, n, rate, staircase=False):
    return initial / (1 + rate * (t // n if staircase else t / n))


def inverse_sqrt(t, peak, warm):
    """The paper's, whose d_model stands in the peak."""
    d_model = 1 / (peak * peak * warm)
    number = t + 1
    return d_model**-0.5 * min(number**-0.5, number * warm**-1.5)


def polynomial(t, initial, n, end=1e-4, power=1.0, cycle=False):
    n = n * max(1, math.ceil(t / n)) if cycle else n
    return (initial - end) * (1 - min(t / n, 1)) ** power + end


def piecewise(t, boundaries, numbers):
    return next((number for b, number in zip(boundaries, numbers, strict=False) if t <= b), numbers[-1])


def cosine_restarts(t, initial, first, t_mul=2.0, m_mul=1.0, alpha=0.0):
    """Period by period, in fractions of the decimals as they are written."""
    start, length, height = Fraction(0), Fraction(str(first)), 1.0
    while t >= start + length:
        start, length, height = start + length, length * Fraction(str(t_mul)), height * m_mul
    wave = (1 + math.cos(math.pi * float((t - start) / length))) / 2
    return initial * ((1 - alpha) * height * wave + alpha)


def cyclic(t, low, high, n, mode="triangular", gamma=1.0):
    """Smith's own lines, in which cycles count from 1; in fractions, as little is left of a late step."""
    n = Fraction(n)
    number = math.floor(1 + t / (2 * n))
    x = float(abs(t / n - 2 * number + 1))
    scale = {"triangular": 1.0, "triangular2": 1 / 2 ** (number - 1), "exp_range": gamma**t}[mode]
    return low + (high - low) * max(0, 1 - x) * scale


def lines(t, knots):
    """Straight lines between points (step, value), level outside of them."""
    for (a, u), (b, v) in pairwise(knots):
        if t <= b:
            return u + (v - u) * max(t - a, 0) / (b - a)
    return knots[-1][1]


def one_cycle(t, peak, total, pct_start=0.45, div=25.0, final=1e4):
    low, rise = peak / div, pct_start * total
    return lines(t, [(0, low), (rise, peak), (2 * rise, low), (total, low / final)])


def warmup_stable_decay(t, peak, warm, total, decay, end=0.0, power=1.0):
    if t < warm:
        return peak * t / warm
    return peak + (end - peak) * (min(max(t - total + decay, 0), decay) / decay) ** power


def pairs(schedule, form, *arguments):
    """Schedules of drawn arguments, each with its form of the same arguments."""
    return st.tuples(*arguments).map(lambda given: (schedule(*given), lambda t: form(t, *given)))


def from_part(schedule, form, part, *arguments):
    """The same, of a part, which is a pair itself, and arguments."""
    return st.tuples(part, *arguments).map(
        lambda drawn: (schedule(drawn[0][0], *drawn[1:]), lambda t: form(t, drawn[0][1], *drawn[1:]))
    )


def warmed(t, after, warm, initial=0.0):
    return initial + (after(0) - initial) * t / warm if t < warm else after(t - warm)


def joined(parts, steps):
    boundaries = [sum(steps[: i + 1]) for i in range(len(steps))]

    def form(t):
        i = sum(t >= boundary for boundary in boundaries)
        return parts[i][1](t - [0, *boundaries][i])

    return s.join([schedule for schedule, _ in parts], boundaries), form


@st.composite
def step_values(draw):
    boundaries = sorted(draw(st.sets(st.integers(0, 120), max_size=4)))
    size = len(boundaries) + 1
    return s.piecewise(boundaries, draw(st.lists(values, min_size=size, max_size=size))), boundaries


plain = pairs(s.cosine, cosine, values, lengths) | pairs(s.exponential, exponential, values, lengths, rates)
started = plain.filter(lambda pair: pair[1](0) != 0)
modes = st.sampled_from(["triangular", "triangular2"]).map(lambda m: (m, 1.0)) | st.tuples(st.just("exp_range"), rates)
modes = modes.filter(lambda mode: mode[1] <= 1)
phases = st.tuples(counts, counts, st.integers(0, 30))

FORMS = {
    "Scale": from_part(s.Scale, lambda t, after: after(t), plain),
    "constant": pairs(s.constant, lambda t, value: value, values),
    "cosine": pairs(s.cosine, cosine, values, lengths, values),
    "cosine_restarts": pairs(
        s.cosine_restarts, cosine_restarts, values, counts, st.sampled_from([1.0, 1.1, 1.25, 1.5, 2, 3]), rates, values
    ),
    "cyclic": st.tuples(values, values, lengths, modes).map(
        lambda d: (s.cyclic(*d[:3], *d[3]), lambda t: cyclic(t, *d[:3], *d[3]))
    ),
    "exponential": pairs(s.exponential, exponential, values, lengths, rates, flags),
    "inverse_sqrt": pairs(s.inverse_sqrt, inverse_sqrt, st.floats(0.01, 2.0), counts),
    "inverse_time": pairs(s.inverse_time, inverse_time, values, lengths, rates, flags),
    "join": st.tuples(st.lists(plain, min_size=3, max_size=3), st.lists(counts, max_size=2)).map(
        lambda d: joined(d[0][: len(d[1]) + 1], d[1])
    ),
    "one_cycle": pairs(
        s.one_cycle, one_cycle, values, counts, st.integers(1, 31).map(lambda n: n / 64), rates, rates
    ),
    "piecewise": step_values().map(lambda d: (d[0], lambda t: piecewise(t, d[1], d[0].values))),
    "polynomial": pairs(s.polynomial, polynomial, values, lengths, values, rates, flags),
    "warmup": from_part(s.warmup, warmed, started, st.integers(0, 30), values),
    "warmup_cosine": phases.map(
        lambda d: (s.warmup_cosine(0.75, d[2], d[2] + d[0], 0.25),
                   lambda t: warmed(t, lambda u: cosine(u, 0.75, d[0], 0.25), d[2]))
    ),
    "warmup_stable_decay": st.tuples(values, phases, values, rates).map(
        lambda d: (s.warmup_stable_decay(d[0], d[1][2], sum(d[1]), d[1][0], *d[2:]),
                   lambda t: warmup_stable_decay(t, d[0], d[1][2], sum(d[1]), d[1][0], *d[2:]))
    ),
}  # fmt: skip

# Of each schedule one or more with awkward numbers, for one compiled function. XLA divides by 49 and 107 by
# multiplying with a rounded inverse: 49 · (1/49) is below 1.
CLOSED_FORMS = [
    (s.constant(0.1), lambda t: 0.1),
    (s.exponential(0.3, 7, 0.9), lambda t: exponential(t, 0.3, 7, 0.9)),
    (s.exponential(0.3, 49, 0.9, staircase=True), lambda t: 0.3 * 0.9 ** (t // 49)),
    (s.inverse_time(0.3, 7, 0.9), lambda t: inverse_time(t, 0.3, 7, 0.9)),
    (s.inverse_time(0.3, 107, 0.9, staircase=True), lambda t: 0.3 / (1 + 0.9 * (t // 107))),
    (s.inverse_sqrt(0.3, 7), lambda t: inverse_sqrt(t, 0.3, 7)),
    (s.piecewise([5, 20], [0.1, 0.2, 0.3]), lambda t: 0.1 if t <= 5 else 0.2 if t <= 20 else 0.3),
    (s.piecewise([], [0.7]), lambda t: 0.7),
    (s.polynomial(0.3, 10), lambda t: polynomial(t, 0.3, 10)),
    (s.polynomial(0.3, 10, 0.1, power=0.5), lambda t: polynomial(t, 0.3, 10, 0.1, 0.5)),
    (s.polynomial(0.3, 49, 0.1, power=2.0, cycle=True), lambda t: polynomial(t, 0.3, 49, 0.1, 2, True)),
    (s.polynomial(0.3, 49, 0.1, power=0.5), lambda t: polynomial(t, 0.3, 49, 0.1, 0.5)),
    (s.polynomial(0.3, 0.5, 0.1, power=0.5, cycle=True), lambda t: 0.1 if t else 0.3),
    (s.cosine(0.3, 30), lambda t: cosine(t, 0.3, 30)),
    (s.cosine(0.3, 30, alpha=0.1), lambda t: cosine(t, 0.3, 30, 0.1)),
    (s.cosine_restarts(0.3, 49, 1.0), lambda t: cosine_restarts(t, 0.3, 49, 1)),
    (s.cosine_restarts(0.3, 10, 1.1, 0.5), lambda t: cosine_restarts(t, 0.3, 10, 1.1, 0.5)),
    (s.cosine_restarts(0.3, 1, 3.0, 0.5, 0.1), lambda t: cosine_restarts(t, 0.3, 1, 3, 0.5, 0.1)),
    (s.cyclic(0.1, 0.3, 49), lambda t: cyclic(t, 0.1, 0.3, 49)),
    (s.cyclic(0.1, 0.3, 7, "triangular2"), lambda t: cyclic(t, 0.1, 0.3, 7, "triangular2")),
    (s.cyclic(0.1, 0.3, 7, "exp_range", 0.99), lambda t: cyclic(t, 0.1, 0.3, 7, "exp_range", 0.99)),
    (s.one_cycle(0.3, 40), lambda t: one_cycle(t, 0.3, 40)),
    (s.one_cycle(0.85, 40, div_factor=0.85 / 0.95, final_div_factor=1.0),
     lambda t: 0.95 - 0.1 * max(1 - abs(t - 18) / 18, 0)),
    (s.join([0.1, s.cosine(0.3, 30), s.constant(0.2)], [5, 20]),
     lambda t: 0.1 if t < 5 else cosine(t - 5, 0.3, 30) if t < 20 else 0.2),
    (s.join([s.exponential(0.3, 7, 0.9)], []), lambda t: exponential(t, 0.3, 7, 0.9)),
    (s.warmup(0.3, 4), lambda t: 0.3 * min(t / 4, 1)),
    (s.warmup(0.3, 0), lambda t: 0.3),
    (s.warmup(s.exponential(0.3, 7, 0.9), 4, initial_value=0.1),
     lambda t: 0.1 + 0.2 * t / 4 if t < 4 else exponential(t - 4, 0.3, 7, 0.9)),
    (s.warmup_cosine(0.3, 10, 30, alpha=0.5), lambda t: 0.3 * t / 10 if t < 10 else cosine(t - 10, 0.3, 20, 0.5)),
    (s.warmup_stable_decay(0.3, 5, 30, 10), lambda t: lines(t, [(0, 0), (5, 0.3), (20, 0.3), (30, 0)])),
    (s.warmup_stable_decay(0.3, 0, 30, 10, 0.1, 0.5),
     lambda t: 0.3 - 0.2 * math.sqrt(min(max(t - 20, 0), 10) / 10)),
    (s.Scale(s.cosine(0.3, 30)), lambda t: cosine(t, 0.3, 30)),
]  # fmt: skip
