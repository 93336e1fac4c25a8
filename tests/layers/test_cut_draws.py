"""Layers that draw, and state that moves once a step, do not see how a batch is cut."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import data
import engine
import layers
import optim

dense = functools.partial(layers.Dense, activation="tanh", dtype="float64")


def network():
    tf.random.set_seed(3)
    return layers.Sequential([
        layers.SpectralNorm(dense(3, 5)), layers.GaussianNoise(0.3), layers.AlphaDropout(0.1),
        layers.WeightNorm(dense(5, 4)), layers.StochasticDepth(0.3), layers.GaussianDropout(0.2), dense(4, 3),
    ])  # fmt: skip


def trained(replicas, parts, **options):
    """Every variable after five updates of 7 examples, in float64."""
    strategy = None
    if replicas > 1:
        reduce = tf.distribute.ReductionToOneDevice()
        strategy = tf.distribute.MirroredStrategy([f"CPU:{n}" for n in range(replicas)], cross_device_ops=reduce)
    with strategy.scope() if strategy else tf.name_scope("alone"):
        model, rule = network(), optim.SGD(0.5)
    rng = np.random.default_rng(0)
    source = data.Arrays(rng.normal(size=(35, 3)), rng.integers(0, 3, 35).astype(np.int32))
    trainer = engine.Trainer(
        model, "sparse_categorical_crossentropy", rule, strategy=strategy, precision="float64", seed=1,
        accumulate_steps=parts, **options,
    )  # fmt: skip
    trainer.fit(data.Pipeline(source, 7, shuffle=False), max_steps=5)
    return {path: variable.numpy() for path, variable in engine.variable_paths(model).items()}


@functools.cache
def whole():
    return trained(1, 1)


@pytest.mark.parametrize(
    ("replicas", "parts", "options"), [(1, 3, {}), (2, 2, {}), (1, 2, {"jit_compile": True})], ids=str
)
def test_training_does_not_depend_on_how_the_batch_is_cut(replicas, parts, options):
    for path, value in trained(replicas, parts, **options).items():
        np.testing.assert_allclose(value, whole()[path], 1e-11, 1e-11, err_msg=path)
