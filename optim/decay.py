"""Decoupled weight decay: one mechanism for every rule that has it."""

from collections.abc import Callable

import tensorflow as tf

from optim.domain import FROM_0
from optim.rule import Rule
from optim.schedules import Setting

Mask = Callable[[str], bool] | None


def decays_by_default(path: str) -> bool:
    """The mask unless another is given: all but bias, gamma and beta decay.

    >>> [decays_by_default(path) for path in ("layers.0.kernel", "layers.0.bias", "norm.gamma")]
    [True, False, False]
    """
    return path.rpartition(".")[2] not in ("bias", "gamma", "beta")


def require_mask(name: str, mask: Mask) -> Mask:
    """Return `mask` if it can be asked for a path; raise TypeError, naming it, if not."""
    if not (mask is None or callable(mask)):
        raise TypeError(f"{name} must be a function from a variable's path to a bool, or None, got {mask!r}")
    return mask


class Decaying(Rule):
    """A rule with decoupled weight decay: x ← x − η w x, and then its formula.

    `weight_decay` (w) is 0 or above, or a schedule. `mask` tells from a variable's path whether it decays; by
    default all do but those whose path ends in bias, gamma or beta. With `mask=None` everything decays.
    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization (arXiv 1711.05101), algorithms 1 and 2,
    with the learning rate η in the place of its schedule multiplier, as in TensorFlow.
    """

    domains = {"weight_decay": FROM_0}

    def configure_decay(self, weight_decay: Setting, mask: Mask) -> None:
        """Check and keep the decay; for constructors of rules."""
        self.configure(weight_decay=weight_decay)
        self.mask = require_mask("mask", mask)

    def decays(self, path: str) -> bool:
        """Whether the variable of that path ever decays."""
        return (callable(self.weight_decay) or self.weight_decay > 0) and (self.mask is None or self.mask(path))

    def decay(self) -> dict[str, tf.Tensor]:
        """The share of a weight that decays in one update, a coefficient."""
        return {"decay": self.value("learning_rate") * self.value("weight_decay")}

    def coefficients(self):
        """The rule's own, and the decay's."""
        own = {name: value for name, value in super().coefficients().items() if name != "weight_decay"}
        return {**own, **self.decay()}

    def update(self, path: str, gradient: tf.Tensor, variable: tf.Tensor, *slots, decay=None, **coefficients):
        """Decay, if there is a share of it, then the formula."""
        if decay is not None and self.decays(path):
            variable = variable - decay * variable
        return super().update(path, gradient, variable, *slots, **coefficients)
