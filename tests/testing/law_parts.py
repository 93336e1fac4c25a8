"""A layer and inputs that the tests of laws share."""

import numpy as np
import tensorflow as tf

import engine
import layers

STEP = engine.StepContext(3, 5)


def images(examples=5, seed=0):
    return np.random.default_rng(seed).normal(size=[examples, 5, 5, 2]).astype(np.float32)


def features(examples=5, width=3, seed=0):
    return np.random.default_rng(seed).normal(size=[examples, width]).astype(np.float32)


def network():
    return layers.Sequential(
        [
            layers.Conv2D(2, 3, 2),
            layers.BatchNorm(3),
            layers.activations.relu,
            layers.MaxPool2D(2),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(12, 4, activation="tanh"),
        ]
    )


class Scaled(layers.Layer):
    """x·gain, for the violations to add to."""

    def __init__(self, features=3):
        super().__init__()
        self.gain = self.variable("gain", [features], "ones")

    def __call__(self, x, training=False):
        return self.harm(x * tf.cast(self.gain, x.dtype), training)

    def harm(self, y, training):
        return y


class Follows(Scaled):
    """A moving mean that goes on moving when frozen."""

    def __init__(self, features=3):
        super().__init__(features)
        self.mean = self.variable("mean", [features], "zeros", trainable=False)

    def harm(self, y, training):
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(y, 0))
        return y
