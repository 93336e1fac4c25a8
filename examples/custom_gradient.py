"""Custom gradients: one that is the derivative, and must pass the check; one that is meant to be another.

python examples/custom_gradient.py
"""

from functools import partial

import tensorflow as tf

import data
import engine
import layers
import optim
from engine import testing


@tf.custom_gradient
def log1pexp(x):
    """log(1 + eˣ), whose plain gradient is ∞/∞ for large x."""
    e = tf.exp(x)
    return tf.math.log1p(e), lambda upstream: upstream * (1 - 1 / (1 + e))


@tf.custom_gradient
def binarize(x):
    """sign(x), and backwards the straight-through estimator: as if it were x clipped to [−1, 1].

    Source: Hubara et al. 2016, "Binarized neural networks", section 1.3.
    """
    return tf.where(x < 0, -tf.ones_like(x), tf.ones_like(x)), lambda up: tf.where(tf.abs(x) <= 1, up, 0.0)


class BinaryDense(layers.Dense):
    """A dense layer whose kernel is −1 or 1 forward, scaled by 1/√in_features; the floats behind it are trained."""

    def __call__(self, x):
        """activation(x·sign(kernel)/√in_features + bias)."""
        x = self.take(x, rank=2)
        scale = tf.cast(self.in_features, x.dtype) ** -0.5
        y = scale * (x @ binarize(tf.cast(self.kernel, x.dtype))) + tf.cast(self.bias, x.dtype)
        return self.activation(y)


def checks():
    """What the checker says: the report of the one, and the verdict on the other, which is no derivative."""
    report = testing.check_gradients(log1pexp, tf.constant([-3.0, 0.0, 2.0, 20.0]))
    try:
        testing.check_gradients(binarize, tf.constant([-0.5, 0.25, 3.0]))
    except testing.GradientError as error:
        return report, error
    raise AssertionError("a straight-through estimator is not the derivative of a step")


def main(examples=6000, epochs=3, units=128):
    """Trains a network of binary weights; the model and its accuracy on test pictures."""
    tf.random.set_seed(0)
    hidden, head = partial(BinaryDense, units=units, activation="relu"), partial(BinaryDense, units=10)
    model = layers.chain((28, 28, 1), layers.Flatten, hidden, head)
    source = data.Subset(data.load("fashion_mnist_mini"), range(examples))
    metrics = {"accuracy": engine.metrics.SparseCategoricalAccuracy()}
    trainer = engine.Trainer(model, "sparse_categorical_crossentropy", optim.Adam(1e-3), metrics)
    trainer.fit(data.Pipeline(source, 50, transform=data.to_float), epochs=epochs)
    test = data.Pipeline(data.load("fashion_mnist_mini", split="test"), 500, transform=data.to_float)
    return model, trainer.evaluate(test)["accuracy"]


if __name__ == "__main__":
    for said in checks():
        print(said, end="\n\n")
    print(f"accuracy {main()[1]:.3f}")
