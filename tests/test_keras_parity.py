"""Whole trainings beside Keras: equal weights and equal batches give equal losses, weights and statistics."""

import functools
import math
from functools import partial
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import data
import engine
import layers
import optim

STEPS, SEED = 100, 3
IMAGES = data.load("fashion_mnist_mini").arrays
# Not a multiple of the batch size: the last batch of an epoch is short.
EXAMPLES, BATCH = 200, 16


@pytest.fixture
def keras_in():
    """Sets the dtype of all that Keras makes. Its policy is remembered apart from floatx, and would win."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()

    def set_dtype(dtype):
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)

    yield set_dtype
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


def mlp():
    theirs = [
        keras.layers.Flatten(),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dense(8, activation="relu"),
        keras.layers.Dense(10),
    ]
    return layers.nets.mlp((28, 28, 1), 10, units=(16, 8)), theirs, IMAGES["inputs"][:EXAMPLES]


def convnet():
    theirs = [
        keras.layers.Conv2D(4, 3, use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.MaxPooling2D(),
        keras.layers.Conv2D(8, 3, use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.MaxPooling2D(),
        keras.layers.Flatten(),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dense(10),
    ]
    ours = layers.nets.convnet((12, 12, 1), 10, filters=(4, 8), units=(16,), batch_norm=True)
    return ours, theirs, IMAGES["inputs"][:EXAMPLES, 2:26:2, 2:26:2]


every_net = pytest.mark.parametrize("net", [mlp, convnet])


@functools.cache
def built(net, dtype):
    """Our network, Keras', its compiled (loss, gradients), images: once for all tests, which tracing makes slow."""
    tf.random.set_seed(SEED)
    ours, theirs, images = net()
    theirs, loss = keras.Sequential(theirs), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    theirs.build([None, *images.shape[1:]])

    @tf.function(input_signature=[tf.TensorSpec([None, *images.shape[1:]], dtype), tf.TensorSpec([None], tf.int32)])
    def gradients(inputs, labels):
        with tf.GradientTape() as tape:
            total = loss(labels, theirs(inputs, training=True))
        return total, tape.gradient(total, theirs.trainable_variables)

    return ours, theirs, gradients, images


class Twins:
    """Our network and Keras' with equal weights, and the examples for both."""

    def __init__(self, net, dtype):
        ours, self.theirs, self.keras_gradients, self.images = built(net, dtype)
        self.ours, self.dtype, self.labels = engine.cast(ours, dtype), dtype, IMAGES["labels"][:EXAMPLES]
        # (our variable, Keras'), by the names of the fields.
        self.pairs = [
            (getattr(layer, weight.name), weight)
            for layer, other in zip(self.ours.layers, self.theirs.layers, strict=True)
            for weight in other.weights
        ]
        assert len(self.pairs) == len(engine.variable_paths(self.ours))
        rng = np.random.default_rng(SEED)
        for mine, other in self.pairs:
            if other.name != "kernel":
                # Away from 0 and 1, where a wrong decay, scale or moving statistic would not show.
                mine.assign_add(tf.constant(rng.uniform(0, 0.5, mine.shape), dtype))
            other.assign(mine)

    def inputs(self, size):
        return tf.cast(self.images[:size] / np.float32(255), self.dtype)

    def pipeline(self, weights=None):
        return data.Pipeline(data.Arrays(self.images, self.labels, weights), BATCH, transform=data.to_float)

    def trainer(self, rule):
        metrics = {"accuracy": engine.metrics.SparseCategoricalAccuracy()}
        return engine.Trainer(
            self.ours, "sparse_categorical_crossentropy", rule, metrics, seed=SEED, precision=self.dtype
        )

    def keras_fit(self, batches, optimizer):
        """The loss of each step."""
        variables = self.theirs.trainable_variables
        optimizer.build(variables)

        @tf.function(input_signature=[batches.element_spec], autograph=False)
        def step(batch):
            loss, gradients = self.keras_gradients(tf.cast(batch["inputs"], self.dtype), batch["labels"])
            optimizer.apply_gradients(zip(gradients, variables, strict=True))
            return loss

        return np.array([step(batch) for batch in batches])


def keras_adamw(learning_rate, **options):
    """Keras' AdamW with our default mask and its numbers whole: as tensors, and the rate is kept in floatx."""
    options = {name: tf.constant(value, tf.float64) for name, value in options.items()}
    rule = keras.optimizers.AdamW(learning_rate, **options)
    rule.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return rule


# Exact in binary. Keras takes other Python numbers through float32: its 1 − 0.999ᵗ is off by 1.3e-5, and kinks
# make more than 1e-4 of that in the loss.
MOMENTUM = {"learning_rate": 2**-7, "momentum": 0.875}
ADAM = {"learning_rate": 2**-7, "beta_1": 0.875, "beta_2": 1 - 2**-10, "epsilon": 2**-23}
ADAMW = {**ADAM, "weight_decay": 2**-5}
DEFAULTS = {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "weight_decay": 0.004}
RULES = {
    "sgd": (partial(optim.SGD, **MOMENTUM), partial(keras.optimizers.SGD, **MOMENTUM)),
    "adam": (partial(optim.Adam, **ADAM), partial(keras.optimizers.Adam, **ADAM)),
    "adamw": (partial(optim.AdamW, **ADAMW), partial(keras_adamw, **ADAMW)),
    "adamw-all-decay": (partial(optim.AdamW, **ADAMW, mask=None), partial(keras.optimizers.AdamW, **ADAMW)),
    "adamw-defaults": (optim.AdamW, partial(keras_adamw, **DEFAULTS)),
}


@every_net
@pytest.mark.parametrize("rule", RULES)
def test_100_steps_follow_keras_in_every_loss_weight_and_moving_statistic(net, rule, keras_in):
    keras_in("float64")
    twins, (ours, theirs) = Twins(net, "float64"), RULES[rule]
    pipeline = twins.pipeline()
    losses = twins.trainer(ours()).fit(pipeline, max_steps=STEPS).steps["loss"]
    expected = twins.keras_fit(pipeline.training(SEED).take(STEPS), theirs())
    assert losses.shape == (STEPS,)
    assert expected.dtype == np.float64
    assert expected[-20:].mean() < expected[:20].mean()
    # float64 rounds at 1e-16; kinks and the roots of tiny second moments amplify that to some 1e-14.
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    for mine, other in twins.pairs:
        assert np.linalg.norm(mine - other) <= 1e-12 * np.linalg.norm(other), other.path


@every_net
def test_float32_gradients_from_equal_weights_are_those_of_keras(net, keras_in):
    keras_in("float32")
    twins = Twins(net, "float32")
    variables = engine.trainable_variables(twins.ours)
    batch = {"inputs": twins.inputs(BATCH), "labels": twins.labels[:BATCH]}
    objective = engine.Supervised("sparse_categorical_crossentropy")
    sums = engine.slice_sums(twins.ours, objective, batch, variables, engine.StepContext(SEED, 0))
    mine = dict(zip(map(id, variables), engine.mean_gradients(sums), strict=True))
    loss, expected = twins.keras_gradients(batch["inputs"], batch["labels"])
    # A hundred roundings of 6e-8.
    np.testing.assert_allclose(sums.loss / sums.weight, loss, rtol=1e-5)
    trained = [(ours, theirs) for ours, theirs in twins.pairs if theirs.trainable]
    for (ours, theirs), gradient in zip(trained, expected, strict=True):
        assert np.linalg.norm(mine[id(ours)] - gradient) <= 1e-5 * np.linalg.norm(gradient), theirs.path


@every_net
def test_evaluation_is_that_of_keras_short_last_batch_included(net, keras_in):
    keras_in("float64")
    twins = Twins(net, "float64")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    twins.theirs.compile(loss=loss, metrics=["accuracy"], jit_compile=False)
    loss, accuracy = twins.theirs.evaluate(twins.inputs(EXAMPLES), twins.labels, batch_size=BATCH, verbose=0)
    ours = twins.trainer(optim.SGD()).evaluate(twins.pipeline())
    # Sums of 200 float64 terms in two orders.
    assert ours == pytest.approx({"loss": loss, "data_loss": loss, "accuracy": accuracy}, rel=1e-12)


def weighted_mean_loss(logits, labels, weights):
    """Σ wᵢ·(log Σⱼ exp zᵢⱼ − zᵢy) / Σ wᵢ."""
    own = np.take_along_axis(logits, labels[:, np.newaxis], axis=1)[:, 0]
    return np.average(np.logaddexp.reduce(logits, axis=1) - own, weights=weights)


def test_the_loss_is_the_weighted_mean_over_keras_logits(keras_in):
    keras_in("float64")
    twins = Twins(mlp, "float64")
    logits = twins.theirs(twins.inputs(BATCH)).numpy()
    objective = engine.Supervised("sparse_categorical_crossentropy")

    @given(st.lists(st.floats(0, 8), min_size=1, max_size=BATCH).filter(lambda weights: sum(weights) > 1e-3))
    def law(weights):
        rows = len(weights)
        labels = twins.labels[:rows]
        batch = {"inputs": twins.inputs(rows), "labels": labels, "weights": tf.constant(weights, tf.float64)}
        sums = engine.slice_sums(twins.ours, objective, batch, [], engine.StepContext(SEED, 0))
        expected = weighted_mean_loss(logits[:rows], labels, weights)
        np.testing.assert_allclose(sums.loss / sums.weight, expected, rtol=1e-12)

    law()


def test_evaluation_weighs_examples_across_batches(keras_in):
    keras_in("float64")
    twins = Twins(mlp, "float64")
    # Batches differ in weight, some have none: a mean of their means would be far off.
    weights = np.repeat(np.arange(EXAMPLES / 8) % 5 // 2, 8)
    logits = twins.theirs(twins.inputs(EXAMPLES)).numpy()
    ours = twins.trainer(optim.SGD()).evaluate(twins.pipeline(weights))
    assert ours["loss"] == pytest.approx(weighted_mean_loss(logits, twins.labels, weights), rel=1e-12)
    hits = logits.argmax(axis=1) == twins.labels
    assert ours["accuracy"] == pytest.approx(np.average(hits, weights=weights), rel=1e-12)


def stop_ours(values, restored, **options):
    """(the look at which the fit ended, the look whose weights it ends with)."""
    model = tf.Module()
    model.look = tf.Variable(0)
    trainer = SimpleNamespace(model=model, metrics={})
    state = SimpleNamespace(weights=lambda: engine.variable_paths(model))
    run = SimpleNamespace(trainer=trainer, state=state, validation=object(), stopped_by=None)
    run.stop = lambda reason: setattr(run, "stopped_by", reason)
    hook = engine.hooks.EarlyStopping("validation.loss", restore_best=restored, **options)
    hook.bind(run)
    for look, value in enumerate(values, start=1):
        model.look.assign(look)
        hook.on_evaluate_end(run, {"split": "validation", "step": look, "loss": value})
        if run.stopped_by:
            break
    run.stop(run.stopped_by or "epochs")
    hook.on_fit_end(run)
    return look, int(model.look)


def stop_keras(values, restored, **options):
    model = SimpleNamespace(look=0, stop_training=False)
    model.get_weights, model.set_weights = lambda: model.look, lambda look: setattr(model, "look", look)
    callback = keras.callbacks.EarlyStopping("val_loss", restore_best_weights=restored, **options)
    callback.set_model(model)
    callback.on_train_begin()
    for look, value in enumerate(values, start=1):
        model.look = look
        callback.on_epoch_end(look - 1, {"val_loss": value})
        if model.stop_training:
            break
    callback.on_train_end()
    return look, model.look


# Eighths: they tie, and adding min_delta rounds nothing.
eighths = st.integers(-8, 8).map(lambda n: n / 8)
diverged = st.sampled_from([math.nan, math.inf, -math.inf])


@settings(max_examples=60)
@given(
    first=eighths,
    others=st.lists(eighths | diverged, max_size=11),
    restored=st.booleans(),
    patience=st.integers(0, 4),
    min_delta=eighths.map(abs),
    mode=st.sampled_from(["auto", "min", "max"]),
)
def test_early_stopping_ends_where_keras_does_and_with_the_same_weights(first, others, **options):
    assert stop_ours([first, *others], **options) == stop_keras([first, *others], **options)
