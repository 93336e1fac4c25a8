"""Adam, and Adam with decoupled weight decay."""

from collections.abc import Callable

import tensorflow as tf

from optim.domain import ABOVE_0, BELOW_1, FROM_0
from optim.rule import Rule
from optim.schedules import Setting


def adam(gradient, variable, m, v, *, alpha, rate_1, rate_2, epsilon):
    """One step of Adam; returns the new (variable, m, v).

    m ← m + (1 − β₁)(g − m)
    v ← v + (1 − β₂)(g² − v)
    x ← x − α m / (√v + ε̂),   α = η √(1 − β₂ᵗ) / (1 − β₁ᵗ)

    Tensors of one shape and dtype. `rate_1` is 1 − β₁ and `rate_2` is 1 − β₂: formed in float64, because in
    float32 1 − 0.999 is off by 5e-5. `epsilon` is the paper's ε̂, beside the uncorrected √v, as in TensorFlow.
    Source: Kingma and Ba, Adam (arXiv 1412.6980), algorithm 1 in the order given at the end of section 2.
    """
    m = m + rate_1 * (gradient - m)
    v = v + rate_2 * (tf.square(gradient) - v)
    return variable - alpha * m / (tf.sqrt(v) + epsilon), m, v


class Adam(Rule):
    """Adaptive moment estimation: the rule `adam`, with slots "m" and "v".

    `learning_rate` and `epsilon` are above 0, `beta_1` and `beta_2` from 0 to below 1; each may be a
    schedule. βᵗ is the running product of β over the updates made, not a power of the step: it stays exact
    when β is scheduled or the step advances without an update.
    """

    domains = {"learning_rate": ABOVE_0, "beta_1": BELOW_1, "beta_2": BELOW_1, "epsilon": ABOVE_0}
    slot_names = ("m", "v")
    products = ("beta_1", "beta_2")

    def __init__(
        self,
        learning_rate: Setting = 0.001,
        beta_1: Setting = 0.9,
        beta_2: Setting = 0.999,
        epsilon: Setting = 1e-7,
    ):
        super().__init__()
        self.configure(learning_rate=learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)

    def coefficients(self):
        """Advance the products βᵗ and correct the learning rate by them."""
        bias_1, bias_2 = 1.0 - self.product("beta_1"), 1.0 - self.product("beta_2")
        return {
            "alpha": self.value("learning_rate") * tf.sqrt(bias_2) / bias_1,
            "rate_1": 1.0 - self.value("beta_1"),
            "rate_2": 1.0 - self.value("beta_2"),
            "epsilon": self.value("epsilon"),
        }

    def update(self, path: str, gradient: tf.Tensor, variable: tf.Tensor, m, v, **coefficients):
        """See `adam`."""
        return adam(gradient, variable, m, v, **coefficients)


def decays_by_default(path: str) -> bool:
    """AdamW's mask unless another is given: all but bias, gamma and beta decay.

    >>> [decays_by_default(path) for path in ("layers.0.kernel", "layers.0.bias", "norm.gamma")]
    [True, False, False]
    """
    return path.rpartition(".")[2] not in ("bias", "gamma", "beta")


class AdamW(Adam):
    """Adam with decoupled weight decay: x ← x − η w x, then the rule `adam`.

    `weight_decay` (w) is 0 or above; it and Adam's hyper-parameters may be schedules. `mask` tells from a
    variable's path whether it decays; by default all do but those whose path ends in bias, gamma or beta.
    With `mask=None` everything decays.
    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization (arXiv 1711.05101), algorithm 2, with
    the learning rate η in the place of its schedule multiplier, as in TensorFlow.
    """

    domains = {**Adam.domains, "weight_decay": FROM_0}

    def __init__(
        self,
        learning_rate: Setting = 0.001,
        beta_1: Setting = 0.9,
        beta_2: Setting = 0.999,
        epsilon: Setting = 1e-7,
        weight_decay: Setting = 0.004,
        mask: Callable[[str], bool] | None = decays_by_default,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon)
        self.configure(weight_decay=weight_decay)
        self.mask = mask

    def coefficients(self):
        """Adam's, and the share of a weight that decays."""
        decay = self.value("learning_rate") * self.value("weight_decay")
        return {**super().coefficients(), "decay": decay}

    def update(self, path: str, gradient: tf.Tensor, variable: tf.Tensor, m, v, *, decay, **coefficients):
        """Decay, then see `adam`."""
        if self.mask is None or self.mask(path):
            variable = variable - decay * variable
        return super().update(path, gradient, variable, m, v, **coefficients)
