"""SWA and Polyak averaging are plain means, of the values that they say, however many there are."""

from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import optim

numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
both_dtypes = pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)


def seen(average, values, dtype):
    """The averages after 0, 1, … updates."""
    x = tf.Variable(tf.constant(values[0], dtype))
    average.init({"x": x})
    found = [average.averages["x"].numpy()]
    for value in values[1:]:
        x.assign(tf.constant(value, dtype))
        average.update()
        found.append(average.averages["x"].numpy())
    return found


@both_dtypes
@settings(max_examples=15)
@given(values=st.lists(numbers, min_size=1, max_size=12), start=st.integers(0, 9), every=st.integers(1, 4))
def test_swa_is_the_exact_mean_of_every_so_manyth_value_from_its_start(dtype, values, start, every):
    values = np.array(values, dtype.as_numpy_dtype)
    for n, found in enumerate(seen(optim.SWA(start, every), values, dtype)):
        if n <= start:
            assert found.tobytes() == values[n].tobytes()
            continue
        taken = [Fraction(float(value)) for value in values[start : n + 1 : every]]
        error = abs(Fraction(float(found)) - sum(taken) / len(taken))
        # The last rounding, and those of what each value adds: together a unit in the last place, and not one each.
        eps, tiny = (Fraction(float(number)) for number in (np.finfo(values.dtype).eps, np.finfo(values.dtype).tiny))
        assert error <= 2 * eps * max(map(abs, taken)) + 2 * tiny


@settings(max_examples=5)
@given(values=st.lists(numbers, min_size=1, max_size=10), start=st.integers(0, 5))
def test_polyak_is_swa_that_leaves_none_out(values, start):
    assert seen(optim.Polyak(start), values, tf.float64) == seen(optim.SWA(start, 1), values, tf.float64)


@both_dtypes
@settings(max_examples=15)
@given(value=numbers, start=st.integers(0, 5))
def test_a_constant_variable_is_its_mean(dtype, value, start):
    constant = np.full(8, value, dtype.as_numpy_dtype)
    # −0 may become 0.
    np.testing.assert_array_equal(seen(optim.SWA(start, 2), constant, dtype), constant)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_in_float32_a_mean_of_many_values_neither_drifts_nor_stands_still(jit_compile):
    count = 20_000
    # At first 1, and then a little more: what a late value adds to the mean is less than half a unit in the last place.
    values = np.float32(1.0) + np.float32(2.0**-12) * (np.arange(count + 1) >= 2000).astype(np.float32)
    x, average = tf.Variable(tf.constant(values[0])), optim.Polyak()
    average.init([x])

    @tf.function(jit_compile=jit_compile, autograph=False)
    def run():
        def body(i):
            x.assign(tf.where(i >= 2000, tf.constant(values[-1]), tf.constant(values[0])))
            average.update()
            return (i + 1,)

        tf.while_loop(lambda i: i <= count, body, (tf.constant(1),))

    run()
    mean = values.mean(dtype=np.float64)
    ulp = np.spacing(np.float32(mean))
    assert abs(float(average.averages["0"]) - mean) <= 0.51 * ulp
    naive = np.float32(values[0])
    for n, value in enumerate(values[1:], 2):
        naive += (value - naive) / np.float32(n)
    assert abs(naive - mean) > 20 * ulp


def test_between_the_values_that_count_nothing_moves_not_even_for_nan():
    found = seen(optim.SWA(start=2, every=3), [0.0, 1.0, 4.0, np.nan, np.nan, 8.0, np.inf], tf.float32)
    assert [float(value) for value in found] == [0.0, 1.0, 4.0, 4.0, 4.0, 6.0, 6.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.SWA(-1, 2), "start must be a whole number, 0 or above, got -1"),
        (lambda: optim.SWA(2, 0), "every must be a whole number, 1 or above, got 0"),
        (lambda: optim.Polyak(0.5), r"start must be a whole number, 0 or above, got 0\.5"),
    ],
)
def test_what_counts_nothing_is_refused(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()
