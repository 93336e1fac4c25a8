import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from optim import schedules
from optim.schedules import constant, cosine, exponential, piecewise, polynomial, warmup, warmup_cosine

# Every boundary below, and the steps beside it.
STEPS = [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 19, 20, 21, 29, 30, 31, 32, 40]
# Python and TensorFlow may each round cos and pow in the last place, and four operations follow.
ULPS = 8 * np.finfo(np.float64).eps

CLOSED_FORMS = [
    (constant(0.1), lambda t: 0.1),
    (exponential(0.3, 7, 0.9), lambda t: 0.3 * 0.9 ** (t / 7)),
    (exponential(0.3, 7, 0.9, staircase=True), lambda t: 0.3 * 0.9 ** (t // 7)),
    (piecewise([5, 20], [0.1, 0.2, 0.3]), lambda t: 0.1 if t <= 5 else 0.2 if t <= 20 else 0.3),
    (piecewise([], [0.7]), lambda t: 0.7),
    (polynomial(0.3, 10), lambda t: (0.3 - 1e-4) * (1 - min(t, 10) / 10) + 1e-4),
    (polynomial(0.3, 10, 0.1, power=0.5), lambda t: (0.3 - 0.1) * math.sqrt(1 - min(t, 10) / 10) + 0.1),
    (
        polynomial(0.3, 10, 0.1, power=2.0, cycle=True),
        lambda t: (0.3 - 0.1) * (1 - t / (10 * max(1, math.ceil(t / 10)))) ** 2 + 0.1,
    ),
    (cosine(0.3, 30), lambda t: 0.3 * (1 + math.cos(math.pi * min(t, 30) / 30)) / 2),
    (cosine(0.3, 30, alpha=0.1), lambda t: 0.3 * (0.9 * (1 + math.cos(math.pi * min(t, 30) / 30)) / 2 + 0.1)),
    (warmup(0.3, 4), lambda t: 0.3 * min(t / 4, 1)),
    (warmup(0.3, 0), lambda t: 0.3),
    (
        warmup(exponential(0.3, 7, 0.9), 4, initial_value=0.1),
        lambda t: 0.1 + 0.2 * t / 4 if t < 4 else 0.3 * 0.9 ** ((t - 4) / 7),
    ),
    (
        warmup_cosine(0.3, 10, 30, alpha=0.5),
        lambda t: 0.3 * t / 10 if t < 10 else 0.3 * (0.5 * (1 + math.cos(math.pi * (min(t, 30) - 10) / 20)) / 2 + 0.5),
    ),
]


@functools.cache
def all_values(jit_compile):
    """[steps, schedules], from one compiled function."""

    @tf.function(jit_compile=jit_compile)
    def values(steps):
        def row(step):
            return tf.stack([schedule(step) for schedule, _ in CLOSED_FORMS])

        return tf.map_fn(row, steps, fn_output_signature=tf.float64)

    return values(tf.constant(STEPS, tf.int64)).numpy()


@pytest.mark.parametrize("column", range(len(CLOSED_FORMS)), ids=[repr(schedule) for schedule, _ in CLOSED_FORMS])
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_follows_its_closed_form_in_float64(column, jit_compile):
    form = CLOSED_FORMS[column][1]
    expected = [form(step) for step in STEPS]
    np.testing.assert_allclose(all_values(jit_compile)[:, column], expected, rtol=ULPS, atol=0.3 * ULPS)


def test_every_exported_schedule_has_a_closed_form():
    tested = {type(schedule).__name__ for schedule, _ in CLOSED_FORMS} | {"warmup_cosine"}
    assert set(schedules.__all__) == tested


theirs = keras.optimizers.schedules


@pytest.mark.parametrize(
    ("ours", "peer"),
    [
        (exponential(0.5, 8, 0.75), theirs.ExponentialDecay(0.5, 8, 0.75)),
        (exponential(0.5, 8, 0.75, True), theirs.ExponentialDecay(0.5, 8, 0.75, True)),
        (piecewise([5, 20], [0.5, 0.25, 0.125]), theirs.PiecewiseConstantDecay([5, 20], [0.5, 0.25, 0.125])),
        (polynomial(0.5, 8), theirs.PolynomialDecay(0.5, 8)),
        (polynomial(0.5, 8, 0.125, 2.0, True), theirs.PolynomialDecay(0.5, 8, 0.125, 2.0, True)),
        (cosine(0.5, 32, 0.25), theirs.CosineDecay(0.5, 32, 0.25)),
        (warmup(cosine(0.5, 32), 8), theirs.CosineDecay(0.0, 32, warmup_target=0.5, warmup_steps=8)),
    ],
    # An address in a test's name would be another in each worker process.
    ids=lambda value: None if " at 0x" in str(value) else str(value),
)
def test_follows_keras(ours, peer):
    # Keras computes in float32.
    np.testing.assert_allclose([ours(t) for t in STEPS], [peer(t) for t in STEPS], rtol=1e-6, atol=1e-7)


@given(value=st.floats(-1e300, 1e300))
def test_a_number_keeps_all_its_digits(value):
    assert float(constant(value)(0)) == value
    assert float(schedules.evaluate(value, 0)) == value


@given(warm=st.integers(0, 9), step=st.integers(0, 99))
def test_warmup_shifts_what_comes_after_it(warm, step):
    decay = exponential(0.5, 8, 0.75)
    assert float(warmup(decay, warm)(warm + step)) == float(decay(step))


def test_any_function_of_the_step_is_a_schedule():
    halves = warmup(lambda step: 1.0 / (2.0 + tf.cast(step, tf.float32)), 2)
    assert [float(halves(t)) for t in range(5)] == pytest.approx([0, 0.25, 0.5, 1 / 3, 0.25], rel=1e-7)


def test_a_schedule_prints_as_the_call_that_makes_it():
    for schedule, _ in CLOSED_FORMS:
        assert eval(repr(schedule)) == schedule


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: constant(math.nan), "value must be a finite number, got nan"),
        (lambda: exponential(0.1, 0, 0.9), "decay_steps must be a finite number above 0, got 0"),
        (lambda: exponential(0.1, 10, -1), "decay_rate must be a finite number above 0, got -1"),
        (lambda: piecewise([1], [0.1]), "values must be one longer than boundaries, got 1 values and 1 boundaries"),
        (lambda: piecewise([2, 2], [1, 2, 3]), r"boundaries must rise strictly, got \(2, 2\)"),
        (lambda: piecewise([2], [1, math.inf]), r"values\[1\] must be a finite number, got inf"),
        (lambda: polynomial(0.1, 10, power=0), "power must be a finite number above 0, got 0"),
        (lambda: cosine(math.inf, 10), "initial_value must be a finite number, got inf"),
        (lambda: warmup(0.1, 2.5), "warmup_steps must be a whole number, 0 or above, got 2.5"),
        (lambda: warmup(math.nan, 2), "schedule must be a finite number, got nan"),
        (lambda: warmup_cosine(0.1, 10, 10), r"total_steps must be above warmup_steps \(10\), got 10"),
    ],
)
def test_arguments_are_checked_when_the_schedule_is_made(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


def test_an_argument_that_is_no_number_is_a_type_error():
    with pytest.raises(TypeError, match=r"^decay_steps must be a finite number above 0, got '10'$"):
        cosine(0.1, "10")
