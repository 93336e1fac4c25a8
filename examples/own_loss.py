"""A loss of one's own, and weights: labels of which many are wrong, and classes of which some are rare.

    python examples/own_loss.py

A loss is one number for each example, never their mean. What an example counts is its weight, in the batch or from an
objective of one's own; the engine divides Σwℓ by Σw once, over the whole batch, however that was cut.
"""

from functools import partial

import numpy as np
import tensorflow as tf

import data
import engine
import layers
import optim


def generalized_crossentropy(labels, outputs, *, q=0.7):
    """ℓ = (1 − p_yᵠ) / q: cross-entropy as q → 0, 1 − p_y at q = 1, which wrong labels pull at less.

    labels: integers [batch]; outputs: logits [batch, classes]; [batch]. Source: Zhang and Sabuncu 2018, eq. 6.
    """
    log_p = tf.gather(tf.nn.log_softmax(outputs), labels, batch_dims=1)
    return -tf.math.expm1(q * log_p) / q


class BalancedByNumber(engine.Supervised):
    """An objective whose weights are its own: (1 − β) / (1 − βⁿ) for a class of n examples.

    counts: of the examples of each class. Source: Cui et al. 2019, "Class-balanced loss", eq. 12.
    """

    def __init__(self, loss, counts, beta=0.99):
        super().__init__(loss)
        self.of_class = (1 - beta) / (1 - beta ** np.asarray(counts, np.float64))

    def __call__(self, model, batch, training):
        """The terms of the loss, weighted by class."""
        terms = super().__call__(model, batch, training)
        of_class = tf.constant(self.of_class, terms.losses.dtype)
        return terms._replace(weights=terms.weights * tf.gather(of_class, batch["labels"]))


def main(examples=6000, epochs=5, wrong=0.4):
    """Test accuracies by loss, trained on labels of which a share is drawn anew; then one with weights."""
    clean = data.load("fashion_mnist_mini")[np.arange(examples)]
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 10, examples).astype(np.int32)
    labels = np.where(rng.random(examples) < wrong, drawn, clean["labels"])
    # In a pipeline a weight is one more array beside inputs and labels: here, the wrong labels are known.
    known = (labels == clean["labels"]).astype(np.float32)
    losses = {"crossentropy": "sparse_categorical_crossentropy", "generalized": generalized_crossentropy}
    accuracies = {name: train(loss, clean["inputs"], labels, epochs) for name, loss in losses.items()}
    weighted = train(losses["crossentropy"], clean["inputs"], labels, epochs, weights=known)
    by_class = BalancedByNumber(losses["crossentropy"], np.bincount(labels, minlength=10))
    return {**accuracies, "weighted": weighted, "by class": train(by_class, clean["inputs"], labels, epochs)}


def train(objective, inputs, labels, epochs, weights=None):
    """The test accuracy of a small network."""
    source = data.Arrays(inputs, labels, weights)
    tf.random.set_seed(0)
    dense = partial(layers.Dense, units=64, activation="relu")
    model = layers.chain((28, 28, 1), layers.Flatten, dense, partial(layers.Dense, units=10))
    metrics = {"accuracy": engine.metrics.SparseCategoricalAccuracy()}
    trainer = engine.Trainer(model, objective, optim.Adam(1e-3), metrics)
    trainer.fit(data.Pipeline(source, 50, transform=data.to_float), epochs=epochs)
    test = data.Pipeline(data.load("fashion_mnist_mini", split="test"), 500, transform=data.to_float)
    return trainer.evaluate(test)["accuracy"]


if __name__ == "__main__":
    for name, accuracy in main().items():
        print(f"{name:15} {accuracy:.3f}")
