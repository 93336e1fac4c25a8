"""An update rule of one's own: AdaBelief (Zhuang et al. 2020), steps by how far a gradient is from what was expected.

    python examples/own_update_rule.py

A rule is a pure function of tensors, its formula, and a class that says what it is made of: hyper-parameters and the
numbers they may be, and slots. Schedules, sparse gradients, float64, clipping in front of it (`optim.chain`), parts of
a model (`optim.Partition`) and checkpoints of the slots come with `optim.Rule`.
"""

import tensorflow as tf

import data
import engine
import layers
import optim
from optim.domain import ABOVE_0, BELOW_1


def adabelief(gradient, variable, m, s, *, learning_rate, epsilon, rate_1, rate_2, correction_1, correction_2, **_):
    """One step of AdaBelief; returns the new (variable, m, s).

    m ← m + (1 − β₁) (g − m)
    s ← s + (1 − β₂) ((g − m)² − s) + ε
    x ← x − η (m / (1 − β₁ᵗ)) / (√(s / (1 − β₂ᵗ)) + ε)

    Tensors of one shape and dtype. `rate_1` is 1 − β₁ and `correction_1` is 1 − β₁ᵗ, both formed in float64.
    Source: Zhuang et al., AdaBelief optimizer (arXiv 2010.07468), algorithm 2.
    """
    m += rate_1 * (gradient - m)
    s += rate_2 * (tf.square(gradient - m) - s) + epsilon
    return variable - learning_rate * (m / correction_1) / (tf.sqrt(s / correction_2) + epsilon), m, s


class AdaBelief(optim.Rule):
    """The rule `adabelief`, with the slots "m" and "s"; every hyper-parameter may be a schedule."""

    domains = {"learning_rate": ABOVE_0, "beta_1": BELOW_1, "beta_2": BELOW_1, "epsilon": ABOVE_0}
    slot_names = ("m", "s")
    products = ("beta_1", "beta_2")
    formula = staticmethod(adabelief)

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-14):
        super().__init__()
        self.configure(learning_rate=learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)

    def coefficients(self):
        """The hyper-parameters, 1 − β, and 1 − βᵗ of the products of β over the updates."""
        rates = {f"rate_{n}": 1 - self.value(f"beta_{n}") for n in (1, 2)}
        corrections = {f"correction_{n}": 1 - self.product(f"beta_{n}") for n in (1, 2)}
        return {**super().coefficients(), **rates, **corrections}


def main(examples=6000, epochs=3):
    """Trains with it, behind clipping and under a schedule; the accuracy on test pictures."""
    source = data.Subset(data.load("fashion_mnist_mini"), range(examples))
    pipeline = data.Pipeline(source, 50, transform=data.to_float)
    rate = optim.schedules.cosine(1e-3, epochs * pipeline.steps_per_epoch)
    rule = optim.chain(optim.clip_by_global_norm(1.0), AdaBelief(rate))
    model = layers.nets.mlp((28, 28, 1), 10, units=(64,))
    metrics = {"accuracy": engine.metrics.SparseCategoricalAccuracy()}
    trainer = engine.Trainer(model, "sparse_categorical_crossentropy", rule, metrics)
    trainer.fit(pipeline, epochs=epochs)
    test = data.Pipeline(data.load("fashion_mnist_mini", split="test"), 500, transform=data.to_float)
    return trainer.evaluate(test)["accuracy"]


if __name__ == "__main__":
    print(f"accuracy {main():.3f}")
