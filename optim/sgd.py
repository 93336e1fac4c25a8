"""Stochastic gradient descent, with momentum and Nesterov's variant of it."""

import tensorflow as tf

from optim.decay import Decaying, Mask, decays_by_default
from optim.domain import ABOVE_0, BELOW_1
from optim.rule import newest
from optim.schedules import Setting


def sgd(gradient, variable, velocity=None, *, learning_rate, momentum=0.0, nesterov=False, choose=newest):
    """One step of gradient descent; returns the new (variable,) or (variable, velocity).

    Without a velocity:  x ← x − η g.
    With it:             u ← μ u − η g,  and x ← x + u, or with Nesterov x ← x + μ u − η g.

    Tensors of one shape and dtype. η is `learning_rate`, μ is `momentum`; `choose`: see `optim.rule.newest`.
    Source: Sutskever et al., On the importance of initialization and momentum in deep learning (ICML 2013),
    eqs. 1 to 4, Nesterov's with x standing where the next gradient is taken (Bengio et al., arXiv 1212.0901,
    section 3.5).
    """
    descent = -learning_rate * gradient
    if velocity is None:
        return (variable + descent,)
    (velocity,) = choose([momentum * velocity + descent], [velocity])
    return variable + (momentum * velocity + descent if nesterov else velocity), velocity


class SGD(Decaying):
    """Gradient descent with momentum: the rule `sgd`.

    `learning_rate` is above 0, `momentum` from 0 to below 1; either may be a schedule. A `momentum` of 0 has
    no slot, another has the slot "velocity". `nesterov` without momentum changes nothing. `weight_decay` and
    `mask`: see `optim.decay`.
    """

    domains = {"learning_rate": ABOVE_0, "momentum": BELOW_1, **Decaying.domains}
    chooses = True

    def __init__(
        self,
        learning_rate: Setting = 0.01,
        momentum: Setting = 0.0,
        nesterov: bool = False,
        weight_decay: Setting = 0.0,
        mask: Mask = decays_by_default,
    ):
        super().__init__()
        self.configure(learning_rate=learning_rate, momentum=momentum)
        self.configure_decay(weight_decay, mask)
        self.nesterov = nesterov

    @property
    def slot_names(self):
        """The velocity, if there is momentum."""
        return ("velocity",) if callable(self.momentum) or self.momentum > 0 else ()

    def by_rows(self, path: str) -> bool:
        """Without velocity and decay a row moves by its own gradient alone."""
        return not self.slot_names and not self.decays(path)

    def formula(self, gradient: tf.Tensor, variable: tf.Tensor, *velocity, choose=newest, **coefficients):
        """See `sgd`."""
        return sgd(gradient, variable, *velocity, nesterov=self.nesterov, choose=choose, **coefficients)
