"""What single rules promise beyond their formulas."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_cases import random

import optim
from optim.muon import orthogonalized


def after(rule, gradients, start, path="kernel"):
    variable = tf.Variable(start)
    rule.init({path: variable})
    for gradient in gradients:
        rule.apply([tf.constant(gradient, variable.dtype)], [variable])
    return variable.numpy()


def test_a_step_of_lion_is_the_rate_in_each_number_whatever_the_gradients():
    start, gradients = np.array([1.0, -2.0, 3.0]), random((5, 3))
    steps = np.diff([after(optim.Lion(0.25), gradients[:n], start) for n in range(6)], axis=0)
    np.testing.assert_array_equal(np.abs(steps), 0.25)
    np.testing.assert_array_equal(
        after(optim.Lion(0.25), gradients * 2.0**30, start), after(optim.Lion(0.25), gradients, start)
    )


def test_centred_rmsprop_outlives_gradients_that_do_not_vary():
    # v − m² is 0 but for rounding, which at 1e4 is far beyond ε.
    x = after(
        optim.RMSprop(1e-3, rho=0.5, centered=True), [np.full(8, 1e4) + np.arange(8)] * 60, np.zeros(8, "float32")
    )
    assert np.all(np.isfinite(x))


def test_adagrad_touches_only_the_rows_that_occur():
    rule, table = optim.Adagrad(0.5, initial_accumulator_value=0.0), tf.Variable(tf.ones([3, 2]))
    rule.init({"table": table})
    step = tf.function(lambda values, rows: rule.apply([tf.IndexedSlices(values, rows)], [table]))
    graph = step.get_concrete_function(tf.ones([2, 2]), tf.constant([1, 1])).graph
    kinds = [op.type for op in graph.get_operations()]
    assert kinds.count("ResourceScatterUpdate") == 2
    step(tf.ones([2, 2]), tf.constant([1, 1]))
    assert rule.slots["accumulator"]["table"].numpy().tolist() == [[0, 0], [4, 4], [0, 0]]
    np.testing.assert_allclose(table, [[1, 1], [0.5, 0.5], [1, 1]], rtol=1e-6)


def test_adadelta_moves_in_the_units_of_its_gradients_steps_not_of_the_gradients():
    # ε aside, the scale of gradients cancels.
    ends = [
        after(optim.Adadelta(1.0, epsilon=1e-30), random((10, 3)) * scale, np.ones(3)) - 1 for scale in (1.0, 2.0**20)
    ]
    assert np.all(ends[0] != 0)
    np.testing.assert_allclose(*ends, rtol=1e-12)


@pytest.mark.parametrize("shape", [(5, 4), (2, 5, 4), (2, 3, 5, 4)], ids=str)
def test_adafactor_keeps_rows_and_columns_of_the_last_two_dimensions(shape):
    rule, kernel, bias = optim.Adafactor(), tf.Variable(random(shape)), tf.Variable(random(4))
    rule.init({"kernel": kernel, "bias": bias})
    assert rule.slots["row"]["kernel"].shape == shape[:-1]
    assert rule.slots["column"]["kernel"].shape == (*shape[:-2], shape[-1])
    assert {name: set(slots) for name, slots in rule.slots.items()} == {
        "row": {"kernel"}, "column": {"kernel"}, "v": {"bias"},
    }  # fmt: skip


@pytest.mark.parametrize("scales", [1.0, np.reshape([1.0, 16.0], (2, 1, 1))], ids=["a matrix", "a stack of them"])
def test_adafactor_knows_squares_of_rank_one(scales):
    # Then V = R Cᵀ / mean is G² itself, and the first step is that of signs, as long as the variable is.
    gradient = scales * np.outer([1.0, 2.0, -3.0], [0.5, -4.0])
    x = after(optim.Adafactor(0.25), [gradient], np.full(gradient.shape, 2.0))
    np.testing.assert_allclose(x, 2.0 - 0.25 * 2.0 * np.sign(gradient), rtol=1e-12)


def test_ftrl_sets_weights_to_0_that_gradients_do_not_need():
    gradients = np.array([[0.01, 1.0], [-0.02, 1.0], [0.01, 1.0]])
    x = after(optim.Ftrl(0.5, l1_regularization_strength=0.125), gradients, np.zeros(2))
    assert x[0] == 0.0
    assert x[1] < 0.0


def test_ftrl_without_accumulator_or_gradient_is_0_and_not_nan():
    assert after(optim.Ftrl(0.5, initial_accumulator_value=0.0), [np.zeros(2)], np.ones(2)).tolist() == [0.0, 0.0]


@settings(max_examples=15)
@given(
    rows=st.integers(1, 6), columns=st.integers(1, 6), seed=st.integers(0, 1000), scale=st.sampled_from([1e-3, 1, 1e3])
)
def test_five_steps_bring_singular_values_near_1_and_leave_the_singular_vectors(rows, columns, seed, scale):
    matrix = random((rows, columns), seed)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    found = orthogonalized(tf.constant(matrix * scale), 5).numpy()
    rotated = left.T @ found @ right.T
    np.testing.assert_allclose(rotated, np.diag(np.diag(rotated)), atol=1e-7)
    large = values / np.linalg.norm(values) > 0.01
    assert np.all((np.diag(rotated)[large] > 0.6) & (np.diag(rotated)[large] < 1.3))


def test_muon_steps_do_not_see_the_scale_of_the_gradients_and_turn_with_them():
    gradients, start = random((6, 4, 3)), np.zeros((4, 3))
    turn = np.linalg.qr(random((4, 4)))[0]
    plain = after(optim.Muon(0.5), gradients, start)
    np.testing.assert_allclose(after(optim.Muon(0.5), gradients * 1024, start), plain, rtol=1e-6)
    np.testing.assert_allclose(after(optim.Muon(0.5), turn @ gradients, start), turn @ plain, rtol=0, atol=1e-10)


def test_a_step_of_muon_has_the_root_mean_square_that_is_asked_for():
    x = after(optim.Muon(0.5, rms_rate=0.25), [random((16, 16))], np.zeros((16, 16)))
    # Singular values lie between 0.6 and 1.3, so their root mean square does.
    assert 0.6 < np.sqrt(np.mean(x**2)) / (0.5 * 0.25) < 1.3


def test_muon_leaves_vectors_embeddings_and_what_is_excluded_to_adam():
    variables = {
        "dense.kernel": tf.Variable(random((3, 2))), "dense.bias": tf.Variable(random(2)),
        "conv.kernel": tf.Variable(random((2, 2, 3, 2))), "embed.embeddings": tf.Variable(random((3, 2))),
        "head.kernel": tf.Variable(random((3, 2))),
    }  # fmt: skip
    rule = optim.Muon()
    rule.init(variables)
    assert set(rule.slots["momentum"]) == {"dense.kernel", "head.kernel"}
    assert set(rule.slots["m"]) == set(rule.slots["v"]) == set(variables) - {"dense.kernel", "head.kernel"}
    other = optim.Muon(exclude=lambda path: path.startswith("head."))
    other.init(variables)
    assert set(other.slots["momentum"]) == {"dense.kernel", "embed.embeddings"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.Muon(ns_steps=0), "ns_steps must be a whole number.*, got 0"),
        (lambda: optim.Muon(rms_rate=-1.0), "rms_rate must be a finite number above 0, got -1.0"),
        (lambda: optim.Adagrad(initial_accumulator_value=-1), "initial_accumulator_value must be .*, got -1"),
        (lambda: optim.Ftrl(initial_accumulator_value=-1), "initial_accumulator_value must be .*, got -1"),
        (lambda: optim.LARS(trust_coefficient=0), "trust_coefficient must be a finite number above 0, got 0"),
    ],
)
def test_options_outside_their_domain_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adafactor_outlives_a_row_and_a_column_without_gradients(dtype):
    gradient = 1e5 * np.ones([4, 3])
    gradient[0] = gradient[:, 0] = 0.0
    x = after(optim.Adafactor(0.01), [gradient] * 2, np.ones([4, 3], dtype))
    assert np.all(x[0] == 1.0)
    assert np.all(x[:, 0] == 1.0)
    assert np.all((x[1:, 1:] < 1.0) & (x[1:, 1:] > 0.9))


def test_ftrl_stays_where_it_is_at_a_rate_of_0():
    rule, x = optim.Ftrl(optim.schedules.warmup(0.5, 1)), tf.Variable([1.0, -2.0])
    rule.init({"x": x})
    rule.apply([tf.ones([2])], [x])
    assert x.numpy().tolist() == [1.0, -2.0]
    assert {name: slots["x"].numpy().tolist() for name, slots in rule.slots.items()} == {
        "accumulator": [np.float32(0.1)] * 2, "linear": [0.0] * 2,
    }  # fmt: skip
    rule.apply([tf.ones([2])], [x])
    np.testing.assert_array_equal(x, after(optim.Ftrl(0.5), [np.ones(2)], np.array([1.0, -2.0], "float32")))


def test_whole_numbers_may_be_written_as_floats_and_truth_is_no_number():
    matrix, ends = random((3, 2)), []
    for whole in (int, float):
        rule = optim.Lookahead(optim.Muon(0.5, ns_steps=whole(2)), whole(2))
        ends.append(after(optim.chain(optim.add_noise(1.0, seed=whole(1)), rule), [matrix] * 2, matrix))
    np.testing.assert_array_equal(*ends)
    with pytest.raises(TypeError, match=r"^learning_rate must be a finite number above 0, got True$"):
        optim.SGD(True)
