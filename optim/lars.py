"""Layer-wise adaptive rate scaling: each variable's rate follows its own norm."""

import tensorflow as tf

from optim.decay import Mask, decays_by_default, require_mask
from optim.domain import ABOVE_0
from optim.schedules import Setting
from optim.sgd import SGD, sgd


def norm(tensor):
    """The Euclidean norm, in one pass over memory."""
    return tf.sqrt(2.0 * tf.nn.l2_loss(tensor))


def trust_ratio(of_variable, of_update):
    """‖x‖ / ‖r‖, and 1 where either is 0: a variable that starts at 0 must be able to leave it. Scalars."""
    usable = (of_variable > 0) & (of_update > 0)
    ratio = of_variable / tf.where(usable, of_update, tf.ones_like(of_update))
    return tf.where(usable, ratio, tf.ones_like(of_variable))


def lars(gradient, variable, velocity=None, *, learning_rate, momentum, weight_decay, trust_coefficient):
    """One step of LARS, a case of `sgd`; returns what `sgd` does.

    λ = c ‖x‖ / (‖g‖ + w ‖x‖),  and then gradient descent with momentum by λ (g + w x).

    Tensors of one shape and dtype. c is `trust_coefficient`; without one (None), and where the fraction is 0 or
    has no value, λ is 1.
    Source: You, Gitman and Ginsburg, Large batch training of convolutional networks (arXiv 1708.03888),
    algorithm 1 and eq. 6.
    """
    step = gradient + weight_decay * variable
    if trust_coefficient is not None:
        size = norm(variable)
        step *= trust_ratio(trust_coefficient * size, norm(gradient) + weight_decay * size)
    return sgd(step, variable, velocity, learning_rate=learning_rate, momentum=momentum)


class LARS(SGD):
    """Gradient descent for large batches: the rule `lars`, with the slot "velocity" if there is momentum.

    `learning_rate` and `trust_coefficient` are above 0, `momentum` from 0 to below 1, `weight_decay` 0 or above;
    each may be a schedule. `mask` tells from a variable's path whether it decays, `adapt_mask` whether its
    rate is adapted; by default all are but those whose path ends in bias, gamma or beta, for which this is `SGD`.
    With None, all are. The decay is inside the gradient, as in the paper.
    """

    domains = {**SGD.domains, "trust_coefficient": ABOVE_0}
    compiles = False  # XLA takes norms on one core

    def __init__(
        self,
        learning_rate: Setting = 0.01,
        momentum: Setting = 0.9,
        trust_coefficient: Setting = 0.001,
        weight_decay: Setting = 0.0,
        mask: Mask = decays_by_default,
        adapt_mask: Mask = decays_by_default,
    ):
        super().__init__(learning_rate, momentum, weight_decay=weight_decay, mask=mask)
        self.configure(trust_coefficient=trust_coefficient)
        self.adapt_mask = require_mask("adapt_mask", adapt_mask)

    def by_rows(self, path: str) -> bool:
        """The norm is of all rows."""
        return False

    def coefficients(self):
        """All hyper-parameters."""
        return {name: self.value(name) for name in self.domains}

    def update(self, path, gradient, variable, *velocity, weight_decay, trust_coefficient, **coefficients):
        """See `lars`."""
        coefficients["weight_decay"] = weight_decay if self.decays(path) else tf.zeros_like(weight_decay)
        adapts = self.adapt_mask is None or self.adapt_mask(path)
        coefficients["trust_coefficient"] = trust_coefficient if adapts else None
        return lars(gradient, variable, *velocity, **coefficients)
