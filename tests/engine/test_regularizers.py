"""Penalties: Keras' formulas, the variables that they mean, and one count per update however a batch is cut."""

import functools
import math

import cuts
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
import layers
from engine import regularizers

factors = st.floats(0, 2)
PAIRS = {
    "L1": lambda a, b, mode: (regularizers.L1(a), keras.regularizers.L1(a)),
    "L2": lambda a, b, mode: (regularizers.L2(a), keras.regularizers.L2(a)),
    "L1L2": lambda a, b, mode: (regularizers.L1L2(a, b), keras.regularizers.L1L2(a, b)),
    "Orthogonal": lambda a, b, mode: (
        regularizers.Orthogonal(a, mode),
        keras.regularizers.OrthogonalRegularizer(a, mode),
    ),
}


def dense(inputs=3, units=4, seed=0, dtype="float64"):
    layer = layers.Dense(inputs, units, dtype=dtype)
    for number, variable in enumerate(layer.variables):
        variable.assign(tf.random.stateless_normal(variable.shape, [seed, number], dtype=dtype))
    return layer


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=10)
@given(
    a=factors, b=factors, mode=st.sampled_from(["rows", "columns"]), seed=st.integers(0, 99),
    sizes=st.tuples(st.integers(2, 5), st.integers(2, 5)),
)  # fmt: skip
def test_the_formula_is_that_of_keras(name, a, b, mode, seed, sizes):
    ours, theirs = PAIRS[name](a, b, mode)
    layer = dense(*sizes, seed=seed)
    # Keras has its factors in float32, and no float64 next to them.
    np.testing.assert_allclose(ours(layer), theirs(tf.cast(layer.kernel, tf.float32)), rtol=2e-5, atol=1e-6)


def test_defaults_are_those_of_keras_and_of_kernels():
    for name, pair in PAIRS.items():
        ours, theirs = getattr(regularizers, name)(), type(pair(1, 1, "rows")[1])()
        assert vars(ours) == pytest.approx({**theirs.get_config(), "pattern": "*kernel"})


def test_a_penalty_is_the_sum_over_the_variables_that_match_and_are_trained():
    model = layers.Sequential([dense(3, 4, 1), layers.BatchNorm(4, dtype="float64"), dense(4, 2, 2)])
    squares = {path: np.square(variable.numpy()).sum() for path, variable in engine.variable_paths(model).items()}

    def penalty(pattern):
        return regularizers.L2(0.5, pattern)(model).numpy()

    def expected(*paths):
        return pytest.approx(0.5 * sum(squares[path] for path in paths), rel=1e-12)

    assert penalty("*kernel") == expected("layers.0.kernel", "layers.2.kernel")
    assert penalty("layers.2.*") == expected("layers.2.kernel", "layers.2.bias")
    assert penalty("*[ab]*") == expected(*[path for path in squares if "moving" not in path])
    model.layers[0].trainable = False
    assert penalty("*kernel") == expected("layers.2.kernel")
    assert penalty("layers.0.*") == 0


def test_a_shared_variable_counts_once():
    shared = dense(3, 3)
    assert regularizers.L2(1.0)(layers.Sequential([shared, shared])) == regularizers.L2(1.0)(shared)


def test_orthogonal_sees_images_as_matrices_and_a_single_row_as_no_pair():
    conv = layers.Conv2D(2, 3, (2, 1), dtype="float64")
    columns = conv.kernel.numpy().reshape(4, 3)
    columns /= np.linalg.norm(columns, axis=0)
    cosines = np.abs(columns.T @ columns)[~np.eye(3, dtype=bool)]
    penalty = regularizers.Orthogonal(0.3, "columns")
    np.testing.assert_allclose(penalty(conv), 0.3 * cosines.mean(), 1e-12)
    conv.kernel.assign(layers.initializers.orthogonal()(conv.kernel.shape, "float64"))
    np.testing.assert_allclose(penalty(conv), 0, atol=1e-12)
    assert regularizers.Orthogonal(0.3)(dense(1, 4)) == 0


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_small_dtypes_are_summed_in_float32(dtype):
    layer = layers.Dense(100, 100, kernel_initializer="ones", dtype=dtype)
    penalty = regularizers.L2(1.0)(layer)
    assert penalty.dtype == tf.float32
    assert penalty == 10_000


PENALTIES = {"l2": regularizers.L2(0.3), "orthogonal": regularizers.Orthogonal(0.2, "columns", "*kernel")}
FEATURES, CLASSES = 3, 2


@functools.cache
def regression(replicas, parts, penalised):
    objective = engine.Supervised("sparse_categorical_crossentropy", penalties=PENALTIES if penalised else None)
    return cuts.trainer(
        lambda: layers.Dense(FEATURES, CLASSES), objective, cuts.Capture,
        replicas=replicas, precision="float64", accumulate_steps=parts,
    )  # fmt: skip


@pytest.mark.parametrize(("replicas", "parts"), [(1, 1), (1, 3), (2, 1), (3, 2)])
def test_penalties_count_once_an_update_however_the_batch_is_cut(replicas, parts):
    """What they add to gradient and loss, in closed form; 1 to 7 examples, some replicas and parts without any."""
    rng = np.random.default_rng(0)
    for rows in (1, 4, 7):
        kernel, bias = rng.normal(size=(FEATURES, CLASSES)), rng.normal(size=CLASSES)
        batch = {"inputs": rng.normal(size=(rows, FEATURES)), "labels": rng.integers(0, CLASSES, rows)}
        found, values = [], []
        for penalised in (True, False):
            made = regression(replicas, parts, penalised)
            cuts.assign(made.model, {"kernel": kernel, "bias": bias})
            gradients, step = cuts.gradients(made, batch)
            found.append(gradients)
            values.append(step)
        a, b = kernel.T
        lengths, cosine = np.linalg.norm(kernel, axis=0), a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        # Two columns: one pair, |cos| itself, and ∇ₐ cos = b/(‖a‖‖b‖) − cos·a/‖a‖².
        to_cosine = np.stack([b, a], 1) / lengths.prod() - cosine * kernel / lengths**2
        expected = 0.6 * kernel + 0.2 * np.sign(cosine) * to_cosine
        np.testing.assert_allclose(found[0]["kernel"] - found[1]["kernel"], expected, 0, 1e-12)
        np.testing.assert_allclose(found[0]["bias"], found[1]["bias"], 0, 1e-12)
        penalty = 0.3 * np.square(kernel).sum() + 0.2 * abs(cosine)
        np.testing.assert_allclose(values[0]["loss"] - values[0]["data_loss"], penalty, 1e-12)
        np.testing.assert_allclose(values[0]["data_loss"], values[1]["loss"], 1e-12)


def test_evaluation_adds_them_too():
    made = regression(1, 1, True)
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(FEATURES, CLASSES))
    cuts.assign(made.model, {"kernel": kernel})
    batch = {"inputs": rng.normal(size=(5, FEATURES)), "labels": rng.integers(0, CLASSES, 5)}
    found = made.evaluate(cuts.Batches(batch, 2))
    cosine = np.dot(*kernel.T) / np.linalg.norm(kernel, axis=0).prod()
    expected = 0.3 * np.square(kernel).sum() + 0.2 * abs(cosine)
    np.testing.assert_allclose(found["loss"] - found["data_loss"], expected, 1e-12)


def test_terms_name_them_and_are_without_one_as_before():
    batch = {"inputs": tf.ones([2, 3], tf.float64), "labels": [0, 1]}
    terms = engine.Supervised("sparse_categorical_crossentropy", penalties=PENALTIES)(dense(3, 2), batch, True)
    assert list(terms.penalty) == ["l2", "orthogonal"]
    assert engine.Supervised("sparse_categorical_crossentropy")(dense(3, 2), batch, True).penalty == 0.0


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda: regularizers.L1(-1), ValueError, "L1: l1 must be at least 0, found -1"),
        (lambda: regularizers.L2(math.inf), ValueError, "L2: l2 must be at least 0, found inf"),
        (lambda: regularizers.L1L2(0.1, "a"), ValueError, "L1L2: l2 must be at least 0, found 'a'"),
        (lambda: regularizers.L2(0.1, 3), ValueError, "L2: pattern must be a string, found 3"),
        (lambda: regularizers.Orthogonal(mode="both"), ValueError, "mode must be 'rows' or 'columns', found 'both'"),
        (
            lambda: regularizers.L2(0.1, "*kernels")(dense()), ValueError,
            r"L2: pattern '\*kernels' matches no variable of kernel, bias$",
        ),
        (
            lambda: regularizers.L2(0.1, "a")(layers.Sequential([layers.BatchNorm(2) for _ in range(3)])), ValueError,
            "layers.1.moving_variance, …$",
        ),
        (
            lambda: regularizers.Orthogonal(pattern="*")(dense()), ValueError,
            r"Orthogonal: bias \(4,\) has no rows and columns",
        ),
        (
            lambda: engine.Supervised("mean_squared_error", penalties={"l2": 0.1}), TypeError,
            r"penalties\['l2'\] must be a function of a model, found 0.1",
        ),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(build, kind, message):
    with pytest.raises(kind, match=message):
        build()
