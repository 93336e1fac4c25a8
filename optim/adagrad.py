"""Adagrad: gradients over the root of the sum of all their squares."""

import tensorflow as tf

from optim.domain import ABOVE_0, FROM_0
from optim.rule import Rule, newest
from optim.schedules import Setting


def adagrad(gradient, variable, accumulator, *, learning_rate, epsilon, choose=newest):
    """One step of Adagrad; returns the new (variable, accumulator).

    a ← a + g²
    x ← x − η g / √(a + ε)

    Tensors of one shape and dtype. ε is below the root, as in TensorFlow; the paper's δ is beside it.
    Source: Duchi, Hazan and Singer, Adaptive subgradient methods for online learning and stochastic optimization
    (JMLR 12, 2011), figure 1 with diagonal matrices and no regularisation.
    """
    (accumulator,) = choose([accumulator + tf.square(gradient)], [accumulator])
    return variable - learning_rate * gradient / tf.sqrt(accumulator + epsilon), accumulator


class Adagrad(Rule):
    """Adaptive gradients: the rule `adagrad`, with the slot "accumulator".

    `learning_rate` and `epsilon` are above 0, and each may be a schedule. `initial_accumulator_value`, 0 or above, is
    what the slot starts at. Of slices, only the rows that occur are touched.
    """

    domains = {"learning_rate": ABOVE_0, "epsilon": ABOVE_0}
    slot_names = ("accumulator",)
    formula = staticmethod(adagrad)
    chooses = True

    def __init__(self, learning_rate: Setting = 0.001, initial_accumulator_value: float = 0.1, epsilon: Setting = 1e-7):
        super().__init__()
        self.configure(learning_rate=learning_rate, epsilon=epsilon)
        self.initial_accumulator_value = FROM_0.require("initial_accumulator_value", initial_accumulator_value)

    def initial(self, slot, path, variable):
        """The accumulator's start, everywhere."""
        return tf.constant(self.initial_accumulator_value, variable.dtype, variable.shape)

    def by_rows(self, path):
        """A gradient of 0 adds nothing and moves nothing."""
        return True
