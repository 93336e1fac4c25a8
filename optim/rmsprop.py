"""RMSprop: gradients over their root mean square; centred, and with momentum."""

import tensorflow as tf

from optim.decay import Decaying, Mask, decays_by_default
from optim.domain import ABOVE_0, BELOW_1
from optim.rule import newest
from optim.schedules import Setting


def rmsprop(gradient, variable, v, mean=None, velocity=None, *, learning_rate, rate, momentum, epsilon, choose=newest):
    """One step of RMSprop; returns the new variable, v, and those of mean and velocity that are given.

    v ← v + (1 − ρ)(g² − v)
    x ← x − s,   s = η g / √(v + ε)

    Centred, with a `mean`:  m ← m + (1 − ρ)(g − m),  and v − m² in the place of v.
    With a `velocity`:       u ← μ u + s,  and u in the place of s.

    Tensors of one shape and dtype. `rate` is 1 − ρ, formed in float64. ε is below the root, as in TensorFlow. `choose`:
    see `optim.rule.newest`.
    Source: Tieleman and Hinton, Coursera lecture 6.5 (2012). Centred, with momentum: Graves, Generating sequences with
    recurrent neural networks (arXiv 1308.0850), eqs. 38 to 41.
    """
    (v,) = choose([v + rate * (tf.square(gradient) - v)], [v])
    new, variance = [v], v
    if mean is not None:
        (mean,) = choose([mean + rate * (gradient - mean)], [mean])
        new.append(mean)
        # Rounding may leave less than nothing, and more of it than ε.
        variance = tf.maximum(v - tf.square(mean), tf.zeros_like(v))
    step = learning_rate * gradient / tf.sqrt(variance + epsilon)
    if velocity is not None:
        (step,) = choose([momentum * velocity + step], [velocity])
        new.append(step)
    return variable - step, *new


class RMSprop(Decaying):
    """Root mean square propagation: the rule `rmsprop`, with slots "v", "mean" if `centered`, "velocity" if momentum.

    `learning_rate` and `epsilon` are above 0, `rho` and `momentum` from 0 to below 1; each may be a schedule.
    `weight_decay` and `mask`: see `optim.decay`.
    """

    chooses = True
    domains = {
        "learning_rate": ABOVE_0, "rho": BELOW_1, "momentum": BELOW_1, "epsilon": ABOVE_0, **Decaying.domains,
    }  # fmt: skip

    def __init__(
        self,
        learning_rate: Setting = 0.001,
        rho: Setting = 0.9,
        momentum: Setting = 0.0,
        epsilon: Setting = 1e-7,
        centered: bool = False,
        weight_decay: Setting = 0.0,
        mask: Mask = decays_by_default,
    ):
        super().__init__()
        self.configure(learning_rate=learning_rate, rho=rho, momentum=momentum, epsilon=epsilon)
        self.configure_decay(weight_decay, mask)
        self.centered = centered

    @property
    def slot_names(self):
        """The mean square, and what the options need."""
        velocity = callable(self.momentum) or self.momentum > 0
        return ("v", *["mean"] * self.centered, *["velocity"] * velocity)

    def coefficients(self):
        """The hyper-parameters, with 1 − ρ in the place of ρ."""
        own = super().coefficients()
        rate = 1.0 - own.pop("rho")
        return {**own, "rate": rate}

    def formula(self, gradient: tf.Tensor, variable: tf.Tensor, *slots, choose=newest, **coefficients):
        """See `rmsprop`."""
        named = dict(zip(self.slot_names, slots, strict=True))
        return rmsprop(gradient, variable, **named, choose=choose, **coefficients)
