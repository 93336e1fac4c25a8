"""The gradient check: right functions pass, wrong ones are caught, and each verdict sees what the others do not."""

import functools
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
import layers
from engine import testing

RNG = np.random.default_rng(7)
X = RNG.normal(size=(4, 5))
IMAGES = RNG.normal(size=(2, 6, 6, 3))
LABELS = np.array([0, 2, 1, 4])


def failure(*arguments, **options):
    with pytest.raises(testing.GradientError) as caught:
        testing.check_gradients(*arguments, **options)
    return caught.value


def layer_norm(x):
    centred = x - tf.reduce_mean(x, -1, keepdims=True)
    return centred * tf.math.rsqrt(tf.reduce_mean(tf.square(centred), -1, keepdims=True) + 1e-3)


class Recurrence(tf.Module):
    """h ← tanh(h·w + x), in a loop of TensorFlow's."""

    def __init__(self, size):
        super().__init__()
        self.w = tf.Variable(tf.random.stateless_normal([size, size], [1, 2], 0.0, 0.5))

    @tf.function
    def __call__(self, x):
        w = tf.cast(self.w, x.dtype)
        return tf.while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, tf.tanh(h @ w + x)), (0, tf.zeros_like(x)))[1]


RIGHT = {
    "convolution": (lambda x, k: tf.nn.conv2d(x, k, 2, "SAME"), (IMAGES, RNG.normal(size=(3, 3, 3, 2)))),
    "max pool": (lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"), IMAGES),
    "gather": (lambda x, i: tf.gather(x, i) ** 2, (X, np.array([0, 3, 3, 0]))),
    "cross-entropy": (tf.nn.sparse_softmax_cross_entropy_with_logits, (LABELS, X)),
    "layer norm": (layer_norm, X),
    "matrix product": (tf.matmul, (X, X.T)),
    "running sum": (lambda x: tf.cumsum(x * x, -1), X),
    "sort": (lambda x: tf.sort(x) ** 3, X),
    "where": (lambda x, chosen: tf.where(chosen, tf.sin(x), x * x), (X, X > 0)),
    "einsum": (lambda x, y: tf.einsum("ij,kj->ik", x, y), (X, X[:2])),
    "relu far from 0": (tf.nn.relu, X),
    "loop in a module": (Recurrence(5), X),
    "linear": (lambda x: 3 * x, X),
    "zero": (lambda x: tf.nn.relu(-tf.square(x) - 1), X),
    "sum of a softmax": (lambda x: tf.reduce_sum(tf.nn.softmax(x), -1), X),
    "batch norm before a bias that does nothing": (
        lambda x, bias: layer_norm(tf.transpose(x + bias)),
        (X, RNG.normal(size=(4, 1))),
    ),
}


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.replace(" ", "-"))
def test_right_functions_pass(case):
    function, inputs = RIGHT[case]
    report = testing.check_gradients(function, inputs, order=1 if case == "loop in a module" else 2)
    assert (report.failed, report.skipped) == ([], {})
    # Two of these gradients are 0, of which rounding leaves 1e-16: against √ε, what is nearly nothing.
    assert max(report.adjoint) < 1e-7


@settings(max_examples=40)
@given(
    function=st.sampled_from([tf.sin, tf.tanh, tf.nn.softplus, tf.nn.softmax, layer_norm, tf.square, tf.math.cumsum]),
    exponent=st.integers(-30, 8),
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 4),
)
def test_right_functions_pass_at_every_scale(function, exponent, seed, rows):
    x = np.random.default_rng(seed).normal(size=(rows, 3)) * 10.0**exponent
    assert testing.check_gradients(function, x, seed=seed).failed == []


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e30])
@pytest.mark.parametrize("factor", [-1.0, 0.0, 1.01])
def test_wrong_functions_fail_at_every_scale(scale, factor):
    @tf.custom_gradient
    def wrong_square(x):
        return x * x, lambda upstream: upstream * 2 * x * factor

    report = failure(wrong_square, X * scale).report
    assert report.failed == ["adjoint", "taylor", "differences"]


def test_a_function_with_a_scale_of_its_own_is_checked_at_tiny_inputs_too():
    @tf.custom_gradient
    def wrong_exp(x):
        return tf.exp(x), lambda upstream: upstream * tf.exp(x) * 1.01

    assert testing.check_gradients(tf.exp, X * 1e-30).failed == []
    assert failure(wrong_exp, X * 1e-30).report.failed == ["adjoint", "taylor", "differences"]


def test_float32_is_checked_as_it_is_and_keeps_its_digits():
    """A step of 1e-3 would vanish beside 3e4 in float32, and the numeric derivative be 0."""
    x = np.array([3e4, -1.0, 2e-3], np.float32)
    report = testing.check_gradients(tf.square, x, dtype=None)
    assert report.dtype == "as it is"
    assert max(report.differences) < 1e-4


@pytest.mark.parametrize("x", [[1e-30, 1.0, 1e30, 1e-8], [5e-324, 1.0, 0.0, -1e30]])
def test_sizes_may_differ_within_a_tensor(x):
    x = np.array(x)
    for function in (tf.tanh, tf.square, *([tf.math.log, tf.math.reciprocal] if x.min() > 1e-100 else [])):
        assert testing.check_gradients(function, np.abs(x) if function is tf.math.log else x).failed == []


def test_a_function_that_rounds_more_coarsely_than_its_dtype_is_no_mistake():
    def in_float32(x):
        return tf.cast(tf.sin(tf.cast(x, tf.float32)), x.dtype)

    report = testing.check_gradients(in_float32, X)
    assert 1e-9 < max(report.precision) < 1e-2


def test_forward_mode_alone_sees_what_is_not_in_the_values():
    """The values are x², and the gradient's rule is right; what forward mode pushes through is half of it."""

    @tf.custom_gradient
    def square(x):
        return x * tf.stop_gradient(x), lambda upstream: upstream * 2 * x

    assert failure(square, X).report.failed == ["adjoint"]


def test_the_taylor_order_alone_sees_a_kink_whose_sides_cancel():
    """|x| at 0: the gradient's 0 is what central differences give."""
    error = failure(tf.abs, np.array([1.0, 0.0, -2.0]))
    assert error.report.failed == ["taylor"]
    assert (error.name, error.index) == ("inputs[0]", (1,))
    assert "is it a kink?" in str(error)


def test_differences_alone_see_an_error_far_below_the_curvature():
    """An error of 1e-7 under a curvature of 1e4: the remainder's order is 2 at every step that rounding allows."""

    @tf.custom_gradient
    def wrong(x):
        value = tf.numpy_function(lambda x: x + 1e4 * x * x, [x], tf.float64)
        return tf.ensure_shape(value, x.shape), lambda upstream: upstream * (1 + 2e4 * x + 1e-7)

    error = failure(wrong, np.array([1e-4, -2e-4]))
    assert error.report.failed == ["differences"]


@pytest.mark.parametrize("forward", [True, False], ids=["with forward mode", "without"])
def test_one_wrong_coordinate_of_100_000_is_caught_and_named(forward):
    place = 77_777

    def tilted(x):
        @tf.custom_gradient
        def sine(x):
            factors = 1 + 0.01 * tf.one_hot(place, x.shape[0], dtype=x.dtype)
            value = tf.sin(x) if forward else tf.numpy_function(np.sin, [x], tf.float64)
            return value, lambda upstream: upstream * tf.cos(x) * factors

        return sine(x)

    error = failure(tilted, RNG.normal(size=100_000))
    assert (error.name, error.index) == ("inputs[0]", (place,))
    np.testing.assert_allclose(error.analytic / error.numeric, 1.01, rtol=1e-4)


def test_the_wrong_tensor_among_several_is_named():
    @tf.custom_gradient
    def product(x, kernel, bias):
        y = x @ kernel + bias
        return y, lambda up: (up @ tf.transpose(kernel), tf.transpose(x) @ up, tf.reduce_mean(up, 0))

    error = failure(lambda d: product(d["x"], *d["weights"]), {"x": X, "weights": [X.T, np.zeros(4)]})
    assert error.name == "inputs[0]['weights'][1]"
    np.testing.assert_allclose(error.analytic / error.numeric, 0.25)


def test_an_output_that_is_small_beside_the_others_is_checked_as_well():
    @tf.custom_gradient
    def wrong_square(x):
        return x * x, lambda upstream: upstream * 2.02 * x

    assert failure(lambda x: (1e12 * tf.sin(x), 1e-12 * wrong_square(x)), X).name == "inputs[0]"


def test_nests_integers_and_python_values_pass_through():
    def function(batch, axis, scale):
        rows = tf.gather(batch["table"], batch["rows"]) * scale
        return {"sum": tf.reduce_sum(rows, axis), "parts": [rows**2, batch["rows"]]}

    table = tf.constant(X, tf.float32)
    report = testing.check_gradients(function, ({"table": table, "rows": np.array([0, 3, 3])}, 1, 0.5))
    assert report.names == ["inputs[0]['table']", "inputs[2]"]
    assert report.outputs == ["outputs['parts'][0]", "outputs['sum']"]


def test_a_ragged_tensor_is_checked_by_its_values():
    ragged = tf.RaggedTensor.from_row_lengths(X[0], [2, 0, 3])
    assert testing.check_gradients(lambda x: tf.reduce_sum(x**2, -1), [ragged]).names == ["inputs[0]"]


def test_rows_that_are_gathered_twice_add_up():
    embedding = tf.Variable(X)
    report = testing.check_gradients(lambda rows: tf.gather(embedding, rows) ** 2, np.array([1, 1, 3]), order=2)
    assert report.names == ["embedding"]


def test_a_gradient_that_is_none_is_an_error_unless_declared():
    def first(x, y):
        return 2 * x

    error = failure(first, [X, X])
    assert (error.verdict, error.name) == ("disconnected", "inputs[1]")
    assert testing.check_gradients(first, [X, X], disconnected=["inputs[1]"]).names == ["inputs[0]"]
    error = failure(tf.multiply, [X, X], disconnected=["inputs[1]"])
    assert (error.verdict, error.name) == ("disconnected", "inputs[1]")
    with pytest.raises(ValueError, match=r"'inputs\[2\]'"):
        testing.check_gradients(first, [X, X], disconnected=["inputs[2]"])


def test_a_variable_that_is_not_used_is_an_error():
    layer = layers.Dense(5, 3)
    layer.spare = tf.Variable(tf.ones([2]))
    error = failure(layer, X)
    assert (error.verdict, error.name) == ("disconnected", "spare")
    assert testing.check_gradients(layer, X, disconnected={"spare"}).names == ["inputs[0]", "kernel", "bias"]


def test_an_output_that_depends_on_nothing_tested_is_an_error_unless_declared():
    def two(x):
        return tf.sin(x), tf.ones([3], x.dtype)

    error = failure(two, X)
    assert (error.verdict, error.name) == ("constant", "outputs[1]")
    assert testing.check_gradients(two, X, disconnected=["outputs[1]"]).outputs == ["outputs[0]"]
    assert failure(tf.floor, X).verdict == "constant"
    assert failure(tf.argmax, X).verdict == "constant"


@pytest.mark.parametrize("training", [True, None])
def test_a_function_that_draws_is_refused_unless_its_draws_are_repeated(training):
    dropout = functools.partial(layers.Dropout(0.5), training=True) if training is None else layers.Dropout(0.5)
    error = failure(dropout, X, training=training)
    assert (error.verdict, error.name) == ("non_deterministic", "outputs")
    assert "engine.StepContext(seed, step)" in str(error)


def test_a_step_context_is_wound_back_for_every_evaluation():
    context = engine.StepContext(3, 4)
    network = layers.Sequential([layers.Dense(5, 4), layers.Dropout(0.5), layers.activations.tanh, layers.Dropout(0.3)])
    assert testing.check_gradients(network, X, training=context).failed == []
    assert context.draws == 0


def test_a_backward_pass_that_draws_is_refused():
    @tf.custom_gradient
    def noisy(x):
        return tf.sin(x), lambda upstream: upstream * tf.cos(x) * tf.random.uniform(x.shape, 0.5, 1.5, x.dtype)

    error = failure(noisy, X)
    assert (error.verdict, error.name) == ("non_deterministic", "inputs[0]")


@pytest.mark.parametrize(
    ("function", "x", "name", "index"),
    [
        (tf.sqrt, [1.0, -1.0], "outputs", (1,)),
        (tf.sqrt, [4.0, 1.0, 0.0], "gradient of inputs[0]", (2,)),
        (tf.sin, [np.nan], "inputs[0]", (0,)),
        (tf.exp, [1.0, 1e3], "outputs", (1,)),
    ],
)
def test_what_is_not_finite_is_named(function, x, name, index):
    error = failure(function, np.array(x))
    assert (error.verdict, error.name, error.index) == ("non_finite", name, index)


def test_the_callers_module_stays_as_it_is():
    network = layers.Sequential([layers.Dense(5, 4), layers.BatchNorm(4), layers.Dense(4, 2)])
    network.layers[0].trainable = False
    before, frozen = engine.weights_sha256(network), [v.name for v in engine.trainable_variables(network)]
    for dtype in ("float64", None):
        report = testing.check_gradients(network, X.astype(np.float32), training=engine.StepContext(0, 0), dtype=dtype)
        assert report.names == ["inputs[0]", "layers.1.gamma", "layers.1.beta", "layers.2.kernel", "layers.2.bias"]
        assert engine.weights_sha256(network) == before
        assert [v.name for v in engine.trainable_variables(network)] == frozen


def test_a_variable_gets_its_value_back_after_a_failure_too():
    weight = tf.Variable(X)

    @tf.custom_gradient
    def wrong(x):
        return tf.sin(x), lambda upstream: upstream

    before = weight.numpy().tobytes()
    assert failure(lambda: wrong(weight), ()).name == "weight"
    assert weight.numpy().tobytes() == before


class Moving(tf.Module):
    """x·w plus how often it was called: right, if every evaluation begins with the same count."""

    def __init__(self):
        super().__init__()
        self.w, self.calls = tf.Variable(2.0), tf.Variable(0.0, trainable=False)

    def __call__(self, x):
        self.calls.assign_add(1.0)
        return x * self.w**2 + self.calls


def test_state_that_a_function_moves_is_put_back_before_every_evaluation():
    module = Moving()
    assert testing.check_gradients(module, X).names == ["inputs[0]", "w"]
    assert testing.check_gradients(lambda x: module(x), np.float32(X), dtype=None).names == ["inputs[0]", "module.w"]
    assert module.calls.numpy() == 0


def test_wrt_says_what_is_tested():
    layer = layers.Dense(5, 3)
    assert testing.check_gradients(layer, X, wrt="inputs").names == ["inputs[0]"]
    assert testing.check_gradients(layer, X, wrt="variables").names == ["kernel", "bias"]


def test_methods_partials_and_plain_functions_bring_their_variables():
    layer = layers.Dense(5, 3)

    def loss(model, x, labels):
        return engine.losses.sparse_categorical_crossentropy(labels, model(x))

    names = ["kernel", "bias"]
    labels = np.array([0, 2, 1, 1])
    assert testing.check_gradients(layer.__call__, X).names == ["inputs[0]", *names]
    assert testing.check_gradients(functools.partial(loss, layer), (X, labels)).names == ["inputs[0]", *names]
    plain = testing.check_gradients(lambda x: layer(x), X)
    assert plain.names == ["inputs[0]", "layer.kernel", "layer.bias"]


def test_layers_of_others_are_checked_too():
    layer = keras.layers.Dense(3, activation="tanh", dtype="float64")
    layer.build((None, 5))
    assert len(testing.check_gradients(layer, X).names) == 3


def test_an_error_of_second_order_only_is_caught_by_order_2():
    @tf.custom_gradient
    def square(x):
        return x * x, lambda upstream: upstream * 2 * tf.stop_gradient(x)

    assert testing.check_gradients(square, X).failed == []
    error = failure(square, X, order=2)
    assert error.report.order == 2
    np.testing.assert_allclose(error.analytic, 0)


def test_a_declared_kink_admits_every_value_between_its_sides():
    x = np.array([-1.0, 0.0, 2.0, 1e-9])
    report = testing.check_gradients(tf.nn.relu, x, distance_to_kink=tf.abs)
    assert [(kink.name, kink.index) for kink in report.kinks] == [("inputs[0]", (1,))]
    report = testing.check_gradients(tf.nn.relu, x, distance_to_kink=lambda x: tf.reduce_min(tf.abs(x)))
    assert {kink.index for kink in report.kinks} == {None}
    # No kink in reach, and so nothing to accept.
    assert testing.check_gradients(tf.nn.relu, np.array([-1.0, 2.0]), distance_to_kink=tf.abs).kinks == []


def test_a_value_beyond_the_sides_of_a_declared_kink_is_an_error():
    @tf.custom_gradient
    def relu(x):
        return tf.nn.relu(x), lambda upstream: upstream * tf.where(x == 0, -0.5, tf.cast(x > 0, tf.float64))

    error = failure(lambda x: tf.reduce_sum(relu(x)), np.array([1.0, 0.0]), distance_to_kink=tf.abs)
    assert (error.verdict, error.name, error.index, error.analytic) == ("kink", "inputs[0]", (1,), -0.5)


def test_a_declared_kink_hides_no_mistake_beside_it():
    @tf.custom_gradient
    def relu(x):
        return tf.nn.relu(x), lambda upstream: upstream * 1.01 * tf.cast(x > 0, x.dtype)

    assert failure(relu, np.array([0.0, 1.0]), distance_to_kink=tf.abs).index == (1,)


def test_kinks_nearby_are_no_kinks_here():
    """Of 10⁵ values some are within 1e-5 of relu's kink: steps fall until they cross none."""
    assert testing.check_gradients(tf.nn.relu, RNG.normal(size=100_000)).failed == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"wrt": "weights"}, ValueError, "wrt must be one of"),
        ({"order": 3}, ValueError, "order must be 1 or 2"),
        ({"directions": 0}, ValueError, "directions"),
        ({"seed": -1}, ValueError, "seed"),
        ({"rtol": 0.0}, ValueError, "rtol"),
        ({"dtype": "int32"}, ValueError, "dtype must be one of float64"),
        ({"disconnected": "inputs[0]"}, TypeError, "collection of names"),
        ({"wrt": "variables"}, ValueError, "nothing to check"),
        ({"distance_to_kink": lambda x: (x, x)}, ValueError, "distance_to_kink"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        testing.check_gradients(tf.sin, X, **options)


def test_what_is_no_function_and_complex_numbers_are_refused():
    with pytest.raises(TypeError, match="function or a module"):
        testing.check_gradients(X, X)
    with pytest.raises(TypeError, match="complex128"):
        testing.check_gradients(tf.abs, X + 1j)


def test_four_million_parameters_cost_no_jacobian(capsys):
    layer = layers.Dense(2048, 2048)
    started = time.perf_counter()
    report = testing.check_gradients(layer, RNG.normal(size=(4, 2048)))
    with capsys.disabled():
        print(f"\n4 million parameters: {time.perf_counter() - started:.1f} s, {report.evaluations} evaluations")
    assert report.evaluations < 50
