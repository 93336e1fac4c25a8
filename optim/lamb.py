"""LAMB: Adam whose steps are scaled by each variable's norm."""

import tensorflow as tf

from optim.adam import AdamW, moments
from optim.decay import Mask, decays_by_default, require_mask
from optim.lars import norm, trust_ratio
from optim.schedules import Setting


def lamb(gradient, variable, m, v, *, learning_rate, weight_decay, correction, rate_1, rate_2, root, epsilon, adapts):
    """One step of LAMB; returns the new (variable, m, v).

    m, v ← moments(g, m, v)
    r = m̂ / (√v̂ + ε) + w x,   m̂ = m / (1 − β₁ᵗ),   v̂ = v / (1 − β₂ᵗ)
    x ← x − η (‖x‖ / ‖r‖) r

    Tensors of one shape and dtype. `rate_1`, `rate_2`, `correction` and `root` are 1 − β₁, 1 − β₂, 1 / (1 − β₁ᵗ) and
    1 / √(1 − β₂ᵗ). A `weight_decay` of None is no decay. Unless `adapts`, and where a norm is 0, the ratio is 1.
    Source: You et al., Large batch optimization for deep learning: training BERT in 76 minutes (arXiv 1904.00962),
    algorithm 2, with φ the identity.
    """
    m, v = moments(gradient, m, v, rate_1=rate_1, rate_2=rate_2)
    # r with the corrections drawn together, and below one factor for all: a pass over memory each.
    step = m / (root / correction * tf.sqrt(v) + epsilon / correction)
    if weight_decay is not None:
        step += weight_decay * variable
    if adapts:
        learning_rate = learning_rate * trust_ratio(norm(variable), norm(step))
    return variable - learning_rate * step, m, v


class Lamb(AdamW):
    """Adam for large batches: the rule `lamb`, with slots "m" and "v".

    Hyper-parameters are those of `Adam`, and `weight_decay`, 0 or above. `mask` tells from a variable's path
    whether it decays, by default all but bias, gamma and beta; `adapt_mask` whether its step is scaled by
    its norm, by default (None) all, as in the paper and in TensorFlow. The decay is part of the step that is scaled, as
    in the paper; TensorFlow decays first.
    """

    slot_names = ("m", "v")
    compiles = False  # XLA takes norms on one core

    def __init__(
        self,
        learning_rate: Setting = 0.001,
        beta_1: Setting = 0.9,
        beta_2: Setting = 0.999,
        epsilon: Setting = 1e-7,
        weight_decay: Setting = 0.0,
        mask: Mask = decays_by_default,
        adapt_mask: Mask = None,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay, mask)
        self.adapt_mask = require_mask("adapt_mask", adapt_mask)

    def coefficients(self):
        """Advance the products βᵗ; the corrections by them, and the hyper-parameters."""
        return {
            "learning_rate": self.value("learning_rate"),
            "weight_decay": self.value("weight_decay"),
            "correction": 1.0 / (1.0 - self.product("beta_1")),
            "rate_1": 1.0 - self.value("beta_1"),
            "rate_2": 1.0 - self.value("beta_2"),
            "root": 1.0 / tf.sqrt(1.0 - self.product("beta_2")),
            "epsilon": self.value("epsilon"),
        }

    def update(self, path: str, gradient: tf.Tensor, variable: tf.Tensor, *slots, weight_decay=None, **coefficients):
        """See `lamb`."""
        coefficients["weight_decay"] = weight_decay if self.decays(path) else None
        adapts = self.adapt_mask is None or self.adapt_mask(path)
        return lamb(gradient, variable, *slots, adapts=adapts, **coefficients)
