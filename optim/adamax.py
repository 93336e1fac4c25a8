"""Adamax: Adam with the largest gradient in the place of the mean square."""

import tensorflow as tf

from optim.adam import AdamW
from optim.decay import Mask, decays_by_default
from optim.schedules import Setting


def adamax(gradient, variable, m, u, *, alpha, rate_1, beta_2, epsilon):
    """One step of Adamax; returns the new (variable, m, u).

    m ← m + (1 − β₁)(g − m)
    u ← max(β₂ u, |g|)
    x ← x − α m / (u + ε),   α = η / (1 − β₁ᵗ)

    Tensors of one shape and dtype. `rate_1` is 1 − β₁, formed in float64. ε is TensorFlow's; the paper has none.
    Source: Kingma and Ba, Adam (arXiv 1412.6980), algorithm 2.
    """
    m = m + rate_1 * (gradient - m)
    u = tf.maximum(beta_2 * u, tf.abs(gradient))
    return variable - alpha * m / (u + epsilon), m, u


class Adamax(AdamW):
    """Adam by the infinity norm: the rule `adamax`, with slots "m" and "u".

    Hyper-parameters are those of `Adam`; `weight_decay` and `mask`: see `optim.decay`.
    """

    slot_names = ("m", "u")
    products = ("beta_1",)
    formula = staticmethod(adamax)

    def __init__(
        self,
        learning_rate: Setting = 0.001,
        beta_1: Setting = 0.9,
        beta_2: Setting = 0.999,
        epsilon: Setting = 1e-7,
        weight_decay: Setting = 0.0,
        mask: Mask = decays_by_default,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay, mask)

    def coefficients(self):
        """Advance the product β₁ᵗ and correct the learning rate by it."""
        return {
            "alpha": self.value("learning_rate") / (1.0 - self.product("beta_1")),
            "rate_1": 1.0 - self.value("beta_1"),
            "beta_2": self.value("beta_2"),
            "epsilon": self.value("epsilon"),
            **self.decay(),
        }
