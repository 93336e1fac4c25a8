"""Adadelta: steps in the units of the variable, from the steps before."""

import tensorflow as tf

from optim.domain import ABOVE_0, BELOW_1
from optim.rule import Rule
from optim.schedules import Setting


def adadelta(gradient, variable, of_gradient, of_update, *, learning_rate, rate, epsilon):
    """One step of Adadelta; returns the new (variable, of_gradient, of_update).

    a ← a + (1 − ρ)(g² − a)
    s = g √(b + ε) / √(a + ε)
    b ← b + (1 − ρ)(s² − b)
    x ← x − η s

    Tensors of one shape and dtype. a and b, `of_gradient` and `of_update`, are mean squares; `rate` is 1 − ρ, formed in
    float64. The paper has no η: it is 1 there.
    Source: Zeiler, ADADELTA (arXiv 1212.5701), algorithm 1.
    """
    of_gradient = of_gradient + rate * (tf.square(gradient) - of_gradient)
    step = gradient * tf.sqrt(of_update + epsilon) / tf.sqrt(of_gradient + epsilon)
    of_update = of_update + rate * (tf.square(step) - of_update)
    return variable - learning_rate * step, of_gradient, of_update


class Adadelta(Rule):
    """An adaptive rate that forgets: the rule `adadelta`, with slots "of_gradient" and "of_update".

    `learning_rate` and `epsilon` are above 0, `rho` from 0 to below 1; each may be a schedule. The default rate is
    TensorFlow's; the paper's is 1.
    """

    domains = {"learning_rate": ABOVE_0, "rho": BELOW_1, "epsilon": ABOVE_0}
    slot_names = ("of_gradient", "of_update")
    formula = staticmethod(adadelta)

    def __init__(self, learning_rate: Setting = 0.001, rho: Setting = 0.95, epsilon: Setting = 1e-7):
        super().__init__()
        self.configure(learning_rate=learning_rate, rho=rho, epsilon=epsilon)

    def coefficients(self):
        """The hyper-parameters, with 1 − ρ in the place of ρ."""
        own = super().coefficients()
        rate = 1.0 - own.pop("rho")
        return {**own, "rate": rate}
