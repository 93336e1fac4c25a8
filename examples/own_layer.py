"""A layer of one's own: maxout (Goodfellow et al. 2013), which learns its activation.

    python examples/own_layer.py

A layer makes its variables in `__init__`, from sizes that come first, and computes in `__call__`. Everything else
follows from that: `layers.chain` sizes it, summaries and checkpoints know its variables by their attribute paths, and,
registered, it is in files of models.
"""

from functools import partial

import tensorflow as tf

import data
import engine
import layers
import optim


@layers.register
class Maxout(layers.Layer):
    """maxₖ (x·kernelₖ + biasₖ) over k < `pieces`: `[batch, in_features]` → `[batch, units]` (the paper's section 4)."""

    def __init__(self, in_features, units, *, pieces=2, dtype=tf.float32):
        super().__init__(dtype)
        self.in_features, self.units, self.pieces = in_features, units, pieces
        self.kernel = self.variable("kernel", [in_features, units * pieces], "he_normal")
        self.bias = self.variable("bias", [units * pieces], "zeros")

    def last_dimension(self, size):
        """`units`, of an input of `in_features`: `Sequential` and `chain` check neighbours by it."""
        self.expect(size, self.in_features)
        return self.units

    def __call__(self, x):
        """maxₖ (x·kernelₖ + biasₖ), in the dtype of x."""
        x = self.take(x, rank=2)
        y = x @ tf.cast(self.kernel, x.dtype) + tf.cast(self.bias, x.dtype)
        return tf.reduce_max(tf.reshape(y, [-1, self.units, self.pieces]), axis=-1)


def main(examples=6000, epochs=3, units=64):
    """Trains a network with it; the trainer, and its accuracy on test pictures."""
    model = layers.chain(
        (28, 28, 1),
        layers.Flatten,
        partial(Maxout, units=units),
        partial(layers.Dense, units=10),
    )
    print(model)
    source = data.Subset(data.load("fashion_mnist_mini"), range(examples))
    trainer = engine.Trainer(
        model,
        "sparse_categorical_crossentropy",
        optim.Adam(2e-3),
        {"accuracy": engine.metrics.SparseCategoricalAccuracy()},
    )
    trainer.fit(data.Pipeline(source, 50, transform=data.to_float), epochs=epochs)
    test = data.Pipeline(data.load("fashion_mnist_mini", split="test"), 500, transform=data.to_float)
    return trainer, trainer.evaluate(test)["accuracy"]


if __name__ == "__main__":
    print(f"accuracy {main()[1]:.3f}")
