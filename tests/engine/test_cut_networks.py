"""Convolutions, batch normalisation and whole trainings do not see how a batch is cut, nor but in rounding XLA."""

import functools

import cuts
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import data
import engine
import layers
import optim

FEATURES, CLASSES, EPSILON, MOMENTUM = 4, 3, 1e-3, 0.75
IMAGES = data.load("fashion_mnist_mini").arrays
# 58 = 8 · 7 + 2: the last batch of an epoch leaves one of three replicas without an example.
EXAMPLES, BATCH, STEPS = 58, 7, 50


def convolutional():
    """A stride, because on 0 rows oneDNN's convolution forgets it in float32."""
    tf.random.set_seed(0)
    return layers.Sequential(
        [
            layers.Conv2D(1, 4, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(36, CLASSES),
        ]
    )


@functools.cache
def strided(replicas, parts, precision):
    return cuts.trainer(
        convolutional,
        "sparse_categorical_crossentropy",
        cuts.Capture,
        replicas=replicas,
        precision=precision,
        accumulate_steps=parts,
    )


# A slice's gradient of a kernel is rounded to bfloat16 (2⁻⁹) before slices are added up, and so is each term's
# backward pass: slices differ from the whole by a few such roundings, and an empty one by none.
TOLERANCE = {"float32": 1e-5, "bfloat16": 2**-6}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("replicas", "parts"), [(2, 1), (4, 1), (1, 4), (3, 2)])
def test_convolutions_do_not_see_the_cut_nor_an_empty_slice(replicas, parts, precision):
    rng = np.random.default_rng(3)
    for rows in (1, 2, 3, 5, 9):
        batch = {
            "inputs": rng.normal(size=(rows, 8, 8, 1)).astype(np.float32),
            "labels": rng.integers(0, CLASSES, rows),
            "weights": rng.uniform(0.5, 2, rows),
        }
        expected, whole = cuts.gradients(strided(1, 1, precision), batch)
        found, values = cuts.gradients(strided(replicas, parts, precision), batch)
        cuts.assert_near(found, expected, TOLERANCE[precision])
        np.testing.assert_allclose(values["loss"], whole["loss"], rtol=TOLERANCE[precision])


def normalised():
    tf.random.set_seed(0)
    return layers.Sequential(
        [
            layers.Dense(FEATURES, 5),
            layers.BatchNorm(5, epsilon=EPSILON, momentum=MOMENTUM),
            layers.Dense(5, CLASSES),
        ]
    )


@functools.cache
def norm_trainer(replicas):
    return cuts.trainer(
        normalised, "sparse_categorical_crossentropy", cuts.Capture, replicas=replicas, precision="float64"
    )


def whole_batch(batch, variables):
    """Loss, gradients and moving statistics of the batch at once, from TensorFlow's own operations."""
    weights = {path: tf.constant(value) for path, value in variables.items()}
    with tf.GradientTape() as tape:
        tape.watch(weights)
        hidden = batch["inputs"] @ weights["layers.0.kernel"] + weights["layers.0.bias"]
        mean, variance = tf.nn.moments(hidden, axes=[0])
        beta, gamma = weights["layers.1.beta"], weights["layers.1.gamma"]
        hidden = tf.nn.batch_normalization(hidden, mean, variance, beta, gamma, EPSILON)
        logits = hidden @ weights["layers.2.kernel"] + weights["layers.2.bias"]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["labels"], logits)
        loss = tf.reduce_sum(losses * batch["weights"]) / batch["weights"].sum()
    found = {path: gradient.numpy() for path, gradient in tape.gradient(loss, weights).items() if gradient is not None}
    moved = {
        f"layers.1.moving_{name}": MOMENTUM * variables[f"layers.1.moving_{name}"] + (1 - MOMENTUM) * value.numpy()
        for name, value in (("mean", mean), ("variance", variance))
    }
    return float(loss), found, moved


@pytest.mark.parametrize("replicas", [1, 2, 3, 4])
@settings(max_examples=10)
@given(rows=st.integers(1, 9), seed=st.integers(0, 1000))
def test_batch_norm_normalises_by_the_whole_batch_over_all_replicas(replicas, rows, seed):
    """Uneven and empty slices; statistics are of all rows, whatever these weigh in the loss."""
    rng = np.random.default_rng(seed)
    batch = {
        "inputs": rng.normal(2, 3, size=(rows, FEATURES)),
        "labels": rng.integers(0, CLASSES, rows),
        "weights": np.append(rng.choice([0.0, 1.0, 2.5], rows - 1), 1.0),
    }
    made = norm_trainer(replicas)
    variables = {path: rng.uniform(0.5, 1.5, value.shape) for path, value in cuts.values(made.model).items()}
    cuts.assign(made.model, variables)
    loss, expected, moved = whole_batch(batch, variables)
    gradients, values = cuts.gradients(made, batch)
    np.testing.assert_allclose(values["loss"], loss, rtol=1e-12)
    cuts.assert_near(gradients, expected, 1e-12)
    after = cuts.values(made.model)
    cuts.assert_near({path: after[path] for path in moved}, moved, 1e-12)


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_variance_1_at_mean_1000_survives_float32_on_replicas(replicas):
    inputs = np.random.default_rng(0).normal(1000, 1, size=(200, FEATURES)).astype(np.float32)
    made = cuts.trainer(
        lambda: layers.BatchNorm(FEATURES, momentum=0), "mean_squared_error", optim.SGD, replicas=replicas
    )
    cuts.update(made, {"inputs": inputs, "labels": np.zeros_like(inputs)})
    wide = inputs.astype(np.float64)
    # The mean is rounded to half of 2⁻¹⁴ at 1000, and enters the variance by its square.
    np.testing.assert_allclose(made.model.moving_mean, wide.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(made.model.moving_variance, wide.var(axis=0), rtol=1e-5)


@functools.cache
def curve(layout, batch_norm, *, precision="float64", jit_compile=False, steps=STEPS, dropout=0.5):
    """The losses of a training with dropout and augmentation, and the variables at its end."""

    def convnet():
        tf.random.set_seed(0)
        return layers.nets.convnet((12, 12, 1), 10, filters=(4, 8), units=(16,), dropout=dropout, batch_norm=batch_norm)

    replicas, parts = layout
    made = cuts.trainer(
        convnet,
        "sparse_categorical_crossentropy",
        lambda: optim.Adam(0.01),
        {"accuracy": engine.metrics.SparseCategoricalAccuracy()},
        replicas=replicas,
        accumulate_steps=parts,
        precision=precision,
        jit_compile=jit_compile,
        seed=3,
    )
    source = data.Arrays(IMAGES["inputs"][:EXAMPLES, 2:26:2, 2:26:2], IMAGES["labels"][:EXAMPLES])
    augment = data.augment.compose(data.augment.random_crop(1), data.augment.flip_left_right())
    pipeline = data.Pipeline(source, BATCH, augment=augment, transform=data.to_float)
    history = made.fit(pipeline, max_steps=steps)
    return history.steps, cuts.values(made.model), made.evaluate(pipeline)


def check_curves(found, expected, tolerance):
    steps, variables, evaluation = found
    expected_steps, expected_variables, expected_evaluation = expected
    np.testing.assert_allclose(steps["loss"], expected_steps["loss"], rtol=tolerance)
    np.testing.assert_allclose(steps["accuracy"], expected_steps["accuracy"], rtol=1e-12)
    cuts.assert_near(variables, expected_variables, tolerance)
    np.testing.assert_allclose(evaluation["loss"], expected_evaluation["loss"], rtol=tolerance)
    assert evaluation["accuracy"] == expected_evaluation["accuracy"]


@pytest.mark.parametrize("layout", [(2, 1), (3, 1)])
def test_a_training_with_batch_norm_dropout_and_augmentation_is_one_on_any_number_of_replicas(layout):
    check_curves(curve(layout, True), curve((1, 1), True), 1e-10)


@pytest.mark.parametrize("layout", [(1, 3), (2, 1), (2, 3)])
def test_a_training_with_dropout_and_augmentation_is_one_however_batches_are_cut(layout):
    check_curves(curve(layout, False), curve((1, 1), False), 1e-10)


def test_dropout_and_augmentation_matter_to_these_curves():
    """Were they left out, the laws above would not see them."""
    plain = curve((1, 1), False, dropout=0.0)[0]["loss"]
    assert np.abs(plain - curve((1, 1), False)[0]["loss"]).max() > 0.1


def test_batch_norm_under_accumulation_is_the_exception():
    """Its statistics are per micro-batch: the one place where the cut shows, and the reason why it is not above."""
    cut, whole = (curve(layout, True, steps=2)[0]["loss"] for layout in ((1, 3), (1, 1)))
    assert abs(cut[0] - whole[0]) > 1e-3


@pytest.mark.parametrize("layout", [(1, 1), (2, 1), (1, 2)])
def test_xla_trains_as_without_it(layout):
    """10 steps, an epoch's short last batch among them, against one device and the whole batch without XLA."""
    compiled = curve(layout, False, steps=10, jit_compile=True)
    check_curves(compiled, curve((1, 1), False, steps=10), 1e-10)


def test_xla_does_so_in_float32_but_for_rounding():
    """One step: later ones would amplify the rounding at kinks."""
    compiled = curve((2, 1), False, steps=1, precision="float32", jit_compile=True)[0]["loss"]
    np.testing.assert_allclose(compiled, curve((1, 1), False, steps=1, precision="float32")[0]["loss"], rtol=1e-5)


def test_xla_normalises_over_replicas():
    """A batch of 5 examples, then one of 1: the second replica has padding only."""
    rng = np.random.default_rng(1)
    arrays = {
        "inputs": rng.normal(2, 3, size=(6, FEATURES)),
        "labels": rng.integers(0, CLASSES, 6),
        "weights": rng.uniform(0.5, 2, 6),
    }
    made = cuts.trainer(
        normalised,
        "sparse_categorical_crossentropy",
        cuts.Capture,
        replicas=2,
        precision="float64",
        jit_compile=True,
    )
    variables = cuts.values(made.model)
    history = made.fit(cuts.Batches(arrays, 5), max_steps=2)
    batches = [{name: array[part] for name, array in arrays.items()} for part in (slice(0, 5), slice(5, 6))]
    first, _, moved = whole_batch(batches[0], variables)
    second, expected, moved = whole_batch(batches[1], {**variables, **moved})
    np.testing.assert_allclose(history.steps["loss"], [first, second], rtol=1e-10)
    cuts.assert_near({path: gradient.numpy() for path, gradient in made.optimizer.gradients.items()}, expected, 1e-10)
    after = cuts.values(made.model)
    cuts.assert_near({path: after[path] for path in moved}, moved, 1e-10)
