"""What a gradient check says: the report of a right function, the error of a wrong one, the line that repeats it."""

import numpy as np
import pytest
import tensorflow as tf

import engine
import layers
from engine import testing

X = np.random.default_rng(0).normal(size=(4, 5))


def scaled(factors):
    """exp(x) whose backward pass is multiplied by `factors`."""

    @tf.custom_gradient
    def wrong_exp(x):
        return tf.exp(x), lambda upstream: upstream * tf.exp(x) * tf.cast(factors, x.dtype)

    return wrong_exp


def failure(*arguments, **options):
    with pytest.raises(testing.GradientError) as caught:
        testing.check_gradients(*arguments, **options)
    return caught.value


def test_a_right_function_has_three_numbers_for_every_direction():
    report = testing.check_gradients(layers.Dense(5, 3, activation="tanh"), X, directions=4)
    assert (report.names, report.outputs) == (["inputs[0]", "kernel", "bias"], ["outputs"])
    assert (report.failed, report.skipped, report.kinks, report.second) == ([], {}, [], None)
    for numbers in (report.adjoint, report.taylor, report.differences, report.precision):
        assert len(numbers) == 4
    assert max(report.adjoint) < 1e-12
    assert max(report.differences) < 1e-9
    np.testing.assert_allclose(report.taylor, 2, atol=0.1)
    assert report.evaluations < 80


def test_a_report_reads_like_a_table():
    lines = str(testing.check_gradients(layers.Dense(5, 3, activation="tanh"), X, order=2, seed=5)).splitlines()
    assert lines[0] == "gradients of Dense(5, 3, activation='tanh'), order 1, float64, seed 5: right"
    assert "with respect to inputs[0], kernel, bias; " in lines[1]
    assert [line.split()[0] for line in lines[2:5]] == ["adjoint", "taylor", "differences"]
    assert "order 2, float64" in lines[5]


def test_an_error_names_the_coordinate_and_has_both_values():
    factors = np.ones([4, 5])
    factors[3, 1] = 1.01
    error = failure(scaled(factors), X, seed=3)
    assert (error.name, error.index, error.seed) == ("inputs[0]", (3, 1), 3)
    np.testing.assert_allclose(error.analytic / error.numeric, 1.01, rtol=1e-8)
    assert error.report.failed == ["adjoint", "taylor", "differences"]
    assert error.verdict == "adjoint"
    assert isinstance(error, AssertionError)


def test_the_values_of_a_scalar_function_are_its_own_derivatives():
    factors = np.ones([4, 5])
    factors[2, 4] = -1
    wrong = scaled(factors)
    error = failure(lambda x: tf.reduce_sum(wrong(x)), X)
    assert error.index == (2, 4)
    np.testing.assert_allclose([error.analytic, error.numeric], [-np.exp(X[2, 4]), np.exp(X[2, 4])], rtol=1e-9)


def test_the_message_holds_what_the_fields_hold_and_the_line_that_repeats_it():
    wrong_exp = scaled(1.01)
    error = failure(wrong_exp, X, seed=11, directions=2, wrt="inputs", rtol=1e-6)
    message = str(error)
    for part in (error.verdict, error.name, str(list(error.index)), f"{error.analytic:.12g}", f"{error.numeric:.12g}"):
        assert part in message
    line = next(line for line in message.splitlines() if "repeat it: " in line).partition("repeat it: ")[2]
    assert line == "check_gradients(wrong_exp, inputs, wrt='inputs', rtol=1e-06, directions=2, seed=11)"
    # The very error, from what the line says.
    scope = {"check_gradients": testing.check_gradients, "wrong_exp": wrong_exp, "inputs": X}
    with pytest.raises(testing.GradientError) as again:
        eval(line, scope)
    assert str(again.value) == message


def test_the_same_seed_finds_the_same_and_another_seed_other_directions():
    first, again, other = (testing.check_gradients(tf.sin, X, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.differences != other.differences


def test_an_error_of_second_order_says_so():
    @tf.custom_gradient
    def square(x):
        @tf.custom_gradient
        def twice(x):
            return 2 * x, lambda upstream: 3 * upstream

        return x * x, lambda upstream: upstream * twice(x)

    assert testing.check_gradients(square, X).failed == []
    error = failure(square, X, order=2)
    assert "gradient of the gradient" in str(error)
    assert error.report.order == 2
    np.testing.assert_allclose(error.analytic / error.numeric, 1.5, rtol=1e-8)


def test_a_verdict_that_cannot_be_had_is_skipped_with_its_reason():
    def dilation(x):
        return tf.nn.dilation2d(x, tf.zeros([2, 2, 1], x.dtype), [1, 1, 1, 1], "VALID", "NHWC", [1, 1, 1, 1])

    report = testing.check_gradients(dilation, X.reshape(1, 4, 5, 1))
    assert report.skipped == {
        "adjoint": "no forward mode: LookupError: gradient registry has no entry for: Dilation2DBackpropFilter"
    }
    assert (report.adjoint, len(report.differences)) == ([], 3)
    assert "adjoint     skipped: no forward mode" in str(report)


def test_an_operation_that_forward_mode_leaves_out_is_no_mistake_of_the_gradient():
    """TensorFlow takes a bilinear resize for a constant in forward mode, and says nothing."""
    images = X.reshape(1, 4, 5, 1)
    report = testing.check_gradients(lambda x: tf.image.resize(x, [6, 6])[:, :4, :5] * tf.cast(x, tf.float32), images)
    assert report.skipped == {"adjoint": "forward mode leaves out ResizeBilinear"}
    assert len(report.differences) == 3


def test_a_kink_that_was_accepted_is_in_the_report():
    x = np.array([-1.0, 0.0, 2.0])
    report = testing.check_gradients(lambda x: tf.reduce_sum(tf.nn.relu(x)), x, distance_to_kink=tf.abs)
    assert report.kinks == [testing.Kink("inputs[0]", (1,), 0.0, 1.0, 0.0)]
    assert "inputs[0] at [1]: 0 lies between 0 and 1" in str(report)


def test_laws_and_strategies_come_with_the_package_when_they_are_asked_for():
    assert callable(testing.laws.batch_is_its_examples)
    assert callable(testing.strategies.layer_cases)
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        _ = testing.magic
    assert not hasattr(engine, "nothing")
