"""Lion: steps of one length, in the direction of the momentum's signs."""

import tensorflow as tf

from optim.decay import Decaying, Mask, decays_by_default
from optim.domain import ABOVE_0, BELOW_1
from optim.schedules import Setting


def lion(gradient, variable, m, *, learning_rate, beta_1, rate_1, beta_2, rate_2):
    """One step of Lion; returns the new (variable, m).

    x ← x − η sign(β₁ m + (1 − β₁) g)
    m ← β₂ m + (1 − β₂) g

    Tensors of one shape and dtype. `rate_1` is 1 − β₁ and `rate_2` is 1 − β₂, formed in float64.
    Source: Chen et al., Symbolic discovery of optimization algorithms (arXiv 2302.06675), algorithm 2.
    """
    variable = variable - learning_rate * tf.sign(beta_1 * m + rate_1 * gradient)
    return variable, beta_2 * m + rate_2 * gradient


class Lion(Decaying):
    """Evolved sign momentum: the rule `lion`, with the slot "m".

    `learning_rate` is above 0, `beta_1` and `beta_2` from 0 to below 1; each may be a schedule. `weight_decay` and
    `mask`: see `optim.decay`. The paper takes a rate 3 to 10 times lower than AdamW's, and a decay higher
    by the same factor.
    """

    domains = {"learning_rate": ABOVE_0, "beta_1": BELOW_1, "beta_2": BELOW_1, **Decaying.domains}
    slot_names = ("m",)
    formula = staticmethod(lion)

    def __init__(
        self,
        learning_rate: Setting = 0.001,
        beta_1: Setting = 0.9,
        beta_2: Setting = 0.99,
        weight_decay: Setting = 0.0,
        mask: Mask = decays_by_default,
    ):
        super().__init__()
        self.configure(learning_rate=learning_rate, beta_1=beta_1, beta_2=beta_2)
        self.configure_decay(weight_decay, mask)

    def coefficients(self):
        """The hyper-parameters, and 1 − β."""
        own = super().coefficients()
        return {**own, "rate_1": 1.0 - own["beta_1"], "rate_2": 1.0 - own["beta_2"]}
