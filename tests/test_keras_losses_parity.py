"""Trainings and evaluations with other losses and metrics than the usual, beside Keras."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

import data
import engine
import layers
import optim
from engine import losses, metrics

EXAMPLES, BATCH, STEPS = 22, 8, 8


def one_hot(rng):
    return np.eye(3)[rng.integers(0, 3, EXAMPLES)]


def binary(rng):
    return rng.integers(0, 2, (EXAMPLES, 3)).astype(float)


def numbers(rng):
    return rng.normal(size=(EXAMPLES, 3))


# Labels; our loss and metric; Keras'.
PAIRS = {
    "smoothed": (
        one_hot,
        partial(losses.categorical_crossentropy, label_smoothing=0.25),
        partial(keras.losses.CategoricalCrossentropy, from_logits=True, label_smoothing=0.25),
        metrics.F1Score(3),
        lambda: keras.metrics.F1Score(average="macro"),
    ),
    "focal": (
        binary,
        "binary_focal_crossentropy",
        partial(keras.losses.BinaryFocalCrossentropy, from_logits=True),
        metrics.AUC(num_thresholds=31),
        lambda: keras.metrics.AUC(31, from_logits=True),
    ),
    "hinge": (
        binary,
        "hinge",
        keras.losses.Hinge,
        metrics.BinaryAccuracy(),
        lambda: keras.metrics.BinaryAccuracy(threshold=0),
    ),
    "huber": (
        numbers,
        partial(losses.huber, delta=0.5),
        partial(keras.losses.Huber, 0.5),
        metrics.R2Score(3),
        keras.metrics.R2Score,
    ),
    "cosine": (
        numbers,
        losses.cosine_similarity,
        keras.losses.CosineSimilarity,
        metrics.RootMeanSquaredError(),
        keras.metrics.RootMeanSquaredError,
    ),
}


@pytest.fixture
def keras_in_float64():
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.usefixtures("keras_in_float64")
def test_steps_and_evaluations_follow_keras(name):
    make_labels, loss, keras_loss, metric, keras_metric = PAIRS[name]
    # Made here, where its dtype is float64.
    keras_loss, rng = keras_loss(), np.random.default_rng(0)
    inputs, labels = rng.normal(size=(EXAMPLES, 4)), make_labels(rng)
    ours = layers.Dense(4, 3, dtype="float64")
    theirs = keras.Sequential([keras.layers.Dense(3)])
    theirs.build([None, 4])
    theirs.set_weights([ours.kernel.numpy(), ours.bias.numpy()])

    trainer = engine.Trainer(ours, loss, optim.SGD(2**-5), {"metric": metric}, precision="float64")
    pipeline = data.Pipeline(data.Arrays(inputs, labels), BATCH)
    found = trainer.fit(pipeline, max_steps=STEPS).steps["loss"]
    optimizer, expected = keras.optimizers.SGD(2**-5), []
    for batch in pipeline.training(0).take(STEPS):
        with tf.GradientTape() as tape:
            value = keras_loss(batch["labels"], theirs(batch["inputs"]))
        optimizer.apply(tape.gradient(value, theirs.trainable_variables), theirs.trainable_variables)
        expected.append(float(value))
    # float64, a few steps, no kinks that amplify.
    np.testing.assert_allclose(found, expected, rtol=1e-12)

    theirs.compile(loss=keras_loss, metrics=[keras_metric()])
    loss, value = theirs.evaluate(inputs, labels, batch_size=BATCH, verbose=0)
    # Keras adds 1e-7 to the denominators of its F-scores.
    assert trainer.evaluate(pipeline) == pytest.approx({"loss": loss, "data_loss": loss, "metric": value}, rel=1e-6)
