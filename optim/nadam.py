"""Nadam: Adam with Nesterov's momentum."""

import tensorflow as tf

from optim.adam import AdamW, moments
from optim.decay import Mask, decays_by_default
from optim.rule import newest
from optim.schedules import Setting


def nadam(gradient, variable, m, v, *, alpha_m, alpha_g, rate_1, rate_2, root, epsilon, choose=newest):
    """One step of Nadam; returns the new (variable, m, v).

    m, v ← moments(g, m, v)
    x ← x − (α_m m + α_g g) / (√v̂ + ε),   v̂ = v / (1 − β₂ᵗ)
    α_m = η μₜ₊₁ / (1 − Π_{i ≤ t+1} μᵢ),   α_g = η (1 − μₜ) / (1 − Π_{i ≤ t} μᵢ),   μₜ = β₁ (1 − 0.96ᵗ / 2)

    Tensors of one shape and dtype. `rate_1`, `rate_2` and `root` are 1 − β₁, 1 − β₂ and 1 / √(1 − β₂ᵗ).
    `choose`: see `optim.rule.newest`.
    Source: Dozat, Incorporating Nesterov momentum into Adam (ICLR workshop 2016), algorithm 2 with the schedule of μ of
    its experiments. As in TensorFlow and PyTorch, m decays by β₁, where the paper has μₜ, and v̂ has no factor β₂.
    """
    m, v = moments(gradient, m, v, rate_1=rate_1, rate_2=rate_2, choose=choose)
    return variable - (alpha_m * m + alpha_g * gradient) / (root * tf.sqrt(v) + epsilon), m, v


class Nadam(AdamW):
    """Adam that looks ahead: the rule `nadam`, with slots "m" and "v".

    Hyper-parameters are those of `Adam`; `weight_decay` and `mask`: see `optim.decay`.
    """

    slot_names = ("m", "v")
    products = ("beta_2",)
    numbers = {"updates": 0.0, "mu_power": 1.0}
    formula = staticmethod(nadam)
    chooses = True

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
        """Advance t and the products of μ and β₂, and weigh momentum and gradient by them."""
        rate, beta_1, t = self.value("learning_rate"), self.value("beta_1"), self.keep("updates", self.updates + 1.0)
        decay = tf.constant(0.96, tf.float64)
        mu, next_mu = beta_1 * (1.0 - 0.5 * decay**t), beta_1 * (1.0 - 0.5 * decay ** (t + 1.0))
        product = self.keep("mu_power", self.mu_power * mu)
        return {
            "alpha_m": rate * next_mu / (1.0 - product * next_mu),
            "alpha_g": rate * (1.0 - mu) / (1.0 - product),
            "rate_1": 1.0 - beta_1,
            "rate_2": 1.0 - self.value("beta_2"),
            "root": 1.0 / tf.sqrt(1.0 - self.product("beta_2")),
            "epsilon": self.value("epsilon"),
            **self.decay(),
        }
