"""A schedule is its closed form at every step, in float64, eagerly, in a graph and under XLA."""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_forms import CLOSED_FORMS, FORMS, counts, flags, rates, started, values

import optim
from optim import schedules
from optim.schedules import (
    Scale,
    constant,
    cosine,
    cosine_restarts,
    cyclic,
    exponential,
    inverse_sqrt,
    inverse_time,
    join,
    one_cycle,
    piecewise,
    polynomial,
    warmup,
    warmup_cosine,
    warmup_stable_decay,
)

# Every boundary of the closed forms, and the steps beside it.
STEPS = [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 19, 20, 21, 29, 30, 31, 32, 39, 40, 41]
STEPS += [48, 49, 50, 97, 98, 99, 106, 107, 108, 120, 121, 147, 214, 294, 343, 10**6]
# Python and TensorFlow may each round cos and pow in the last place, and four operations follow.
ULPS = 8 * np.finfo(np.float64).eps
# Shares of long periods lose a digit or two.
ROUNDING = 5e-14
FAR = tf.constant(10**12, tf.int64)
every_schedule = pytest.mark.parametrize("name", FORMS)


@functools.cache
def compiled(jit_compile):
    """All schedules [schedules] at a step."""

    @tf.function(jit_compile=jit_compile, autograph=False)
    def row(step):
        return tf.stack([schedule(step) for schedule, _ in CLOSED_FORMS])

    return row


@functools.cache
def all_values(jit_compile):
    """[steps, schedules], step by step."""
    found = np.array([compiled(jit_compile)(tf.constant(step, tf.int64)) for step in STEPS])
    assert compiled(jit_compile).experimental_get_tracing_count() == 1
    return found


@pytest.mark.parametrize("column", range(len(CLOSED_FORMS)), ids=[repr(schedule) for schedule, _ in CLOSED_FORMS])
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_follows_its_closed_form_in_one_trace(column, jit_compile):
    schedule, form = CLOSED_FORMS[column]
    tolerance = 10 * ULPS if isinstance(schedule, cosine_restarts) else ULPS
    expected = [form(step) for step in STEPS]
    np.testing.assert_allclose(all_values(jit_compile)[:, column], expected, rtol=tolerance, atol=0.3 * tolerance)


def test_every_exported_schedule_is_drawn_and_compiled():
    exported = set(schedules.__all__) - {"plot"}
    assert exported == set(FORMS)
    assert exported == {type(schedule).__name__ for schedule, _ in CLOSED_FORMS} | {"warmup_cosine"}


@every_schedule
@given(data=st.data())
def test_follows_its_closed_form_whatever_its_arguments(name, data):
    schedule, form = data.draw(FORMS[name])
    for step in [0, 1, *data.draw(st.lists(st.integers(2, 300), min_size=3, max_size=3))]:
        found = schedule(step)
        assert (found.dtype, found.shape) == (tf.float64, ())
        assert abs(float(found) - form(step)) <= ROUNDING * max(1, abs(form(step))), (schedule, step)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_is_finite_long_after_its_end(jit_compile):
    assert np.isfinite(compiled(jit_compile)(FAR)).all()


@every_schedule
@settings(max_examples=10)
@given(data=st.data())
def test_prints_as_the_call_that_makes_it(name, data):
    schedule, _ = data.draw(FORMS[name])
    again = eval(repr(schedule))
    assert again == schedule or (name == "Scale" and again.schedule == schedule.schedule)


theirs = keras.optimizers.schedules
# Keras computes in the dtype of the initial value. Its constants go through float32: all are exact in binary.
exact = st.integers(1, 64).map(lambda n: np.float64(n / 64))
KERAS = {
    "exponential": (exponential, theirs.ExponentialDecay, (exact, counts, rates, flags)),
    "inverse_time": (inverse_time, theirs.InverseTimeDecay, (exact, counts, rates, flags)),
    "polynomial": (polynomial, theirs.PolynomialDecay, (exact, counts, exact, rates, flags)),
    "cosine": (cosine, theirs.CosineDecay, (exact, counts, exact)),
    # Powers of 3, say, are restarts where Keras's logarithm is a hair early, and its value the lowest.
    "cosine_restarts": (
        cosine_restarts, theirs.CosineDecayRestarts, (exact, counts, st.sampled_from([1.0, 2.0]), rates, exact)
    ),
    "piecewise": (
        lambda a, b, *numbers: piecewise([a, a + b], numbers),
        lambda a, b, *numbers: theirs.PiecewiseConstantDecay([a, a + b], list(numbers)),
        (counts, counts, exact, exact, exact),
    ),
    "warmup": (
        lambda start, peak, n, warm, alpha: warmup(cosine(peak, n, alpha), warm, start),
        lambda start, peak, n, warm, alpha: theirs.CosineDecay(start, n, alpha, warmup_target=peak, warmup_steps=warm),
        (exact, exact, counts, counts, exact),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KERAS)
@given(data=st.data())
def test_follows_keras_in_float64(name, data):
    ours, peer, arguments = KERAS[name]
    drawn = data.draw(st.tuples(*arguments))
    schedule, other = ours(*drawn), peer(*drawn)
    for step in data.draw(st.lists(st.integers(0, 200), min_size=3, max_size=3)):
        np.testing.assert_allclose(schedule(step), other(step), rtol=1e-13, atol=1e-15)


@given(value=st.floats(-1e300, 1e300))
def test_a_number_keeps_all_its_digits(value):
    assert float(constant(value)(0)) == value
    assert float(schedules.evaluate(value, 0)) == value


@given(part=started, warm=st.integers(0, 9), step=st.integers(0, 99))
def test_warmup_and_join_shift_what_comes_after_them(part, warm, step):
    schedule, _ = part
    assert float(warmup(schedule, warm)(warm + step)) == float(schedule(step))
    assert float(join([0.5, schedule], [warm + 1])(warm + 1 + step)) == float(schedule(step))
    assert float(join([0.5, schedule], [warm + 1])(warm)) == 0.5


@given(peak=st.floats(0.01, 2.0), n=counts, share=st.floats(0.0, 1.0))
def test_what_decays_never_rises_and_ends_where_it_should(peak, n, share):
    ends = {
        exponential(peak, n, 0.5): 0.0,
        exponential(peak, n, 0.5, staircase=True): 0.0,
        inverse_time(peak, n, 0.0): peak,
        cosine(peak, n, share): share * peak,
        polynomial(peak, n, share * peak, 1.5): share * peak,
        piecewise([n, 2 * n], [peak, peak / 2, peak / 4]): peak / 4,
        warmup_stable_decay(peak, 0, 2 * n, n, share * peak): share * peak,
    }
    for schedule, end in ends.items():
        seen = [float(schedule(t)) for t in (*sorted({0, 1, n - 1, n, n + 1, 2 * n, 2 * n + 1}), FAR)]
        # Up to a rounding or two.
        assert (np.diff(seen) <= 5e-16 * peak).all()
        assert (seen[0], seen[-1]) == (pytest.approx(peak, rel=1e-15), pytest.approx(end, rel=1e-15, abs=0))


@given(low=values, high=values, n=counts, step=st.integers(0, 200))
def test_cycles_repeat_and_reach_their_limits_exactly(low, high, n, step):
    schedule = cyclic(low, high, n)
    turns = [float(schedule(turn * n)) for turn in range(5)]
    assert turns[::2] == [low] * 3
    assert turns[1::2] == [low + (high - low)] * 2
    assert float(schedule(step)) == pytest.approx(float(schedule(step + 2 * n)), abs=1e-14)
    halves = cyclic(low, high, n, "triangular2")
    assert [float(halves(turn * n)) for turn in (1, 3, 5)] == [low + (high - low) / 2**k for k in range(3)]


@given(peak=st.floats(0.01, 2.0), n=st.integers(1, 30), t_mul=st.sampled_from([1.0, 1.1, 2.0, 3.0, 7.0]))
def test_every_restart_is_at_the_top_and_comes_from_the_bottom(peak, n, t_mul):
    schedule, start = cosine_restarts(peak, 10 * n, t_mul, m_mul=0.5), 0
    for period in range(3):
        assert float(schedule(start)) == pytest.approx(peak / 2**period, rel=1e-13)
        start = round(start + 10 * n * t_mul**period)
        slope = math.pi / 2 / (10 * n * t_mul**period)
        assert float(schedule(start - 1)) <= 2 * peak / 2**period * slope**2


@given(peak=st.floats(0.01, 2.0), warm=st.integers(0, 9), level=counts, decay=counts, end=values)
def test_warmup_stable_decay_is_exactly_its_peak_between_and_its_end_after(peak, warm, level, decay, end):
    total = warm + level + decay
    schedule = warmup_stable_decay(peak, warm, total, decay, end, power=0.5)
    assert {float(schedule(t)) for t in (warm, warm + level // 2, warm + level)} == {peak}
    assert {float(schedule(t)) for t in (total, total + 1, FAR)} == {end}
    assert float(schedule(0)) == (0.0 if warm else peak)


def test_any_function_of_the_step_is_a_schedule():
    def halves(step):
        return 1.0 / (2.0 + tf.cast(step, tf.float32))

    assert [float(warmup(halves, 2)(t)) for t in range(5)] == pytest.approx([0, 0.25, 0.5, 1 / 3, 0.25], rel=1e-7)
    assert [float(join([1, halves], [2])(t)) for t in range(4)] == pytest.approx([1, 1, 1 / 2, 1 / 3], rel=1e-7)
    assert float(Scale(halves)(2)) == 0.25


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_a_scale_changes_between_steps_without_a_trace(jit_compile):
    rate = Scale(cosine(0.5, 10))
    row = tf.function(rate, jit_compile=jit_compile, autograph=False)
    before = float(row(tf.constant(3)))
    rate.factor.assign(0.25)
    assert float(row(tf.constant(3))) == before / 4
    assert row.experimental_get_tracing_count() == 1


def test_a_scale_is_part_of_the_rule_it_is_given_to(tmp_path):
    rate, x = Scale(0.5), tf.Variable(0.0)
    rule = optim.chain(optim.clip_by_value(1.0), optim.SGD(rate))
    rule.init([x])
    assert rate.factor.ref() in {v.ref() for v in rule.variables}
    rate.factor.assign(0.125)
    path = tf.train.Checkpoint(rule=rule).write(tmp_path / "state")
    rate.factor.assign(1.0)
    tf.train.Checkpoint(rule=rule).read(path).assert_consumed()
    rule.apply([tf.constant(1.0)], [x])
    assert (float(x), rate.factor.trainable) == (-0.0625, False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: constant(math.nan), "value must be a finite number, got nan"),
        (lambda: exponential(0.1, 0, 0.9), "decay_steps must be a finite number above 0, got 0"),
        (lambda: exponential(0.1, 10, -1), "decay_rate must be a finite number above 0, got -1"),
        (lambda: inverse_time(0.1, 10, -1), "decay_rate must be a finite number, 0 or above, got -1"),
        (lambda: inverse_sqrt(0.1, 0), "warmup_steps must be a whole number, 1 or above, got 0"),
        (lambda: piecewise([1], [0.1]), "values must be one longer than boundaries, got 1 values and 1 boundaries"),
        (lambda: piecewise([2, 2], [1, 2, 3]), r"boundaries must rise strictly, got \(2, 2\)"),
        (lambda: piecewise([2], [1, math.inf]), r"values\[1\] must be a finite number, got inf"),
        (lambda: polynomial(0.1, 10, power=0), "power must be a finite number above 0, got 0"),
        (lambda: cosine(math.inf, 10), "initial_value must be a finite number, got inf"),
        (lambda: cosine_restarts(0.1, 10, 0.5), "t_mul must be a finite number, 1 or above, got 0.5"),
        (lambda: cosine_restarts(0.1, 10, m_mul=0), "m_mul must be a finite number above 0, got 0"),
        (lambda: cyclic(0.1, 1, 0), "step_size must be a finite number above 0, got 0"),
        (lambda: cyclic(0.1, 1, 5, "sine"), "mode must be one of triangular, triangular2, exp_range, got 'sine'"),
        (lambda: cyclic(0.1, 1, 5, "exp_range", 1.5), "gamma must be a number above 0 and at most 1, got 1.5"),
        (lambda: cyclic(0.1, 1, 5, gamma=0.5), "gamma must be 1 in the mode triangular, got 0.5: it is for exp_range"),
        (lambda: one_cycle(0.1, 10, 0.5), "pct_start must be a number above 0 and below 0.5, got 0.5"),
        (lambda: one_cycle(0.1, 10, div_factor=0), "div_factor must be a finite number above 0, got 0"),
        (lambda: join([0.1], [1]), "schedules must be one longer than boundaries, got 1 schedules and 1 boundaries"),
        (lambda: join([0.1, 0.2], [0]), r"boundaries\[0\] must be a whole number, 1 or above, got 0"),
        (lambda: join([0.1, 0.2, 0.3], [4, 3]), r"boundaries must rise strictly, got \(4, 3\)"),
        (lambda: join([0.1, math.nan], [4]), r"schedules\[1\] must be a finite number, got nan"),
        (lambda: warmup(0.1, 2.5), "warmup_steps must be a whole number, 0 or above, got 2.5"),
        (lambda: warmup(math.nan, 2), "schedule must be a finite number, got nan"),
        (lambda: warmup_cosine(0.1, 10, 10), r"total_steps must be above warmup_steps \(10\), got 10"),
        (lambda: warmup_stable_decay(0.1, 5, 9, 5),
         r"total_steps must be at least warmup_steps \(5\) and decay_steps \(5\) together, got 9"),
        (lambda: Scale(math.inf), "schedule must be a finite number, got inf"),
    ],
)  # fmt: skip
def test_arguments_are_checked_when_the_schedule_is_made(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


def test_an_argument_that_is_no_number_is_a_type_error():
    with pytest.raises(TypeError, match=r"^decay_steps must be a finite number above 0, got '10'$"):
        cosine(0.1, "10")


def test_a_warm_up_from_0_to_0_is_refused_and_one_that_moves_is_not():
    with pytest.raises(ValueError, match=r"^schedule must not start at 0 after a warm-up from 0, got cyclic\("):
        warmup(cyclic(0.0, 1.0, 5), 10)
    assert float(warmup(cyclic(0.0, 1.0, 5), 0)(5)) == 1.0
    assert float(warmup(cyclic(0.0, 1.0, 5), 10, initial_value=0.5)(5)) == 0.25
    assert float(warmup(0.0, 10)(5)) == 0.0
