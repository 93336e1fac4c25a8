"""RAdam: Adam that first makes sure that its adaptive rate can be trusted."""

import tensorflow as tf

from optim.adam import AdamW, moments
from optim.decay import Mask, decays_by_default
from optim.domain import Domain
from optim.rule import newest
from optim.schedules import Setting

FROM_4 = Domain("a finite number, 4 or above", lambda x: x >= 4)


def radam(gradient, variable, m, v, *, alpha, rate_1, rate_2, epsilon, trusted, choose=newest):
    """One step of RAdam; returns the new (variable, m, v).

    m, v ← moments(g, m, v)
    x ← x − α m / (√v + ε̂),   α = η r √(1 − β₂ᵗ) / (1 − β₁ᵗ)     where the variance of v is tractable (`trusted`),
    x ← x − α m,              α = η / (1 − β₁ᵗ)                   before that.

    Tensors of one shape and dtype; `trusted` is a bool. `epsilon` stands where Adam's does; the paper has none.
    `choose`: see `optim.rule.newest`.
    Source: Liu et al., On the variance of the adaptive learning rate and beyond (arXiv 1908.03265), algorithm 2.
    """
    m, v = moments(gradient, m, v, rate_1=rate_1, rate_2=rate_2, choose=choose)
    return variable - alpha * m / tf.where(trusted, tf.sqrt(v) + epsilon, tf.ones_like(v)), m, v


class RAdam(AdamW):
    """Rectified Adam: the rule `radam`, with slots "m" and "v".

    After t updates the mean square is worth a plain mean over ρₜ = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ) gradients, where
    ρ∞ = 2 / (1 − β₂) − 1. Where ρₜ is above `sma_threshold`, a number from 4, v is trusted, and
    r² = (ρₜ − 4)(ρₜ − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρₜ).
    The paper's threshold is 4; 5 is its authors' in their code, and that of other libraries.
    Other hyper-parameters are those of `Adam`; `weight_decay` and `mask`: see `optim.decay`.
    """

    slot_names = ("m", "v")
    numbers = {"updates": 0.0}
    formula = staticmethod(radam)
    chooses = True

    def __init__(
        self,
        learning_rate: Setting = 0.001,
        beta_1: Setting = 0.9,
        beta_2: Setting = 0.999,
        epsilon: Setting = 1e-7,
        sma_threshold: float = 5.0,
        weight_decay: Setting = 0.0,
        mask: Mask = decays_by_default,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay, mask)
        self.sma_threshold = FROM_4.require("sma_threshold", sma_threshold)

    def coefficients(self):
        """Advance t and the products βᵗ; rectify the corrected learning rate, if it is to adapt."""
        adam, t = super().coefficients(), self.keep("updates", self.updates + 1.0)
        longest = 2.0 / adam["rate_2"] - 1.0
        # β₂ᵗ has been advanced.
        length = longest - 2.0 * t * self.beta_2_power / (1.0 - self.beta_2_power)
        trusted = length > self.sma_threshold
        # Where ρₜ is above 4, so is ρ∞; elsewhere numbers that have a root stand in.
        ratio = (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length)
        rectified = adam["alpha"] * tf.sqrt(tf.where(trusted, ratio, tf.ones_like(ratio)))
        plain = self.value("learning_rate") / (1.0 - self.beta_1_power)
        return {**adam, "alpha": tf.where(trusted, rectified, plain), "trusted": trusted}
