"""Small models and data that the tests of the engine share."""

import numpy as np
import tensorflow as tf

import data
import engine
import layers
import optim


def classified(examples=50, features=6, classes=3, seed=0, dtype=np.float32):
    """A source whose label is the largest of the first features."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(examples, features)).astype(dtype)
    return data.Arrays(inputs, inputs[:, :classes].argmax(axis=1).astype(np.int32))


def mlp(features=6, classes=3, seed=0, dropout=0.0):
    """Two dense layers."""
    tf.random.set_seed(seed)
    return layers.Sequential(
        [layers.Dense(features, 8, activation="relu"), layers.Dropout(dropout), layers.Dense(8, classes)]
    )


def trainer(model=None, *, optimizer=None, seed=0, **options):
    """A trainer of `mlp` that counts accuracy."""
    return engine.Trainer(
        model or mlp(),
        "sparse_categorical_crossentropy",
        optimizer or optim.Adam(0.01),
        {"accuracy": engine.metrics.SparseCategoricalAccuracy()},
        seed=seed,
        **options,
    )
