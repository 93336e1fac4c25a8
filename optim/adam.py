"""Adam, with AMSGrad's variant of it, and Adam with decoupled weight decay."""

from collections.abc import Callable

import tensorflow as tf

from optim.decay import Decaying, Mask, decays_by_default
from optim.domain import ABOVE_0, BELOW_1
from optim.rule import Rule, newest
from optim.schedules import Setting


def moments(gradient, m, v, *, rate_1, rate_2, choose=newest):
    """Running means of the gradient and of its square; returns the new (m, v).

    m ← m + (1 − β₁)(g − m)
    v ← v + (1 − β₂)(g² − v)

    Tensors of one shape and dtype. `rate_1` is 1 − β₁ and `rate_2` is 1 − β₂: formed in float64, because in
    float32 1 − 0.999 is off by 5e-5. `choose`: see `optim.rule.newest`.
    """
    return choose((m + rate_1 * (gradient - m), v + rate_2 * (tf.square(gradient) - v)), (m, v))


def adam(gradient, variable, m, v, v_hat=None, *, alpha, rate_1, rate_2, epsilon, choose=newest):
    """One step of Adam; returns the new (variable, m, v), or with AMSGrad (variable, m, v, v_hat).

    m, v ← moments(g, m, v)
    x ← x − α m / (√v + ε̂),   α = η √(1 − β₂ᵗ) / (1 − β₁ᵗ)

    With `v_hat` the root is of v̂ ← max(v̂, v), which never falls.
    Tensors of one shape and dtype. `epsilon` is the paper's ε̂, beside the uncorrected √v, as in TensorFlow.
    `choose`: see `optim.rule.newest`.
    Source: Kingma and Ba, Adam (arXiv 1412.6980), algorithm 1 in the order given at the end of section 2.
    AMSGrad: Reddi, Kale and Kumar, On the convergence of Adam and beyond (arXiv 1904.09237), algorithm 2, with
    Adam's α, as in TensorFlow; the paper has α = η.
    """
    m, v = moments(gradient, m, v, rate_1=rate_1, rate_2=rate_2, choose=choose)
    if v_hat is None:
        return variable - alpha * m / (tf.sqrt(v) + epsilon), m, v
    (v_hat,) = choose([tf.maximum(v_hat, v)], [v_hat])
    return variable - alpha * m / (tf.sqrt(v_hat) + epsilon), m, v, v_hat


class Adam(Rule):
    """Adaptive moment estimation: the rule `adam`, with slots "m" and "v", and "v_hat" if `amsgrad`.

    `learning_rate` and `epsilon` are above 0, `beta_1` and `beta_2` from 0 to below 1; each may be a
    schedule. βᵗ is the running product of β over the updates made, not a power of the step: it stays exact
    when β is scheduled or the step advances without an update.
    """

    domains = {"learning_rate": ABOVE_0, "beta_1": BELOW_1, "beta_2": BELOW_1, "epsilon": ABOVE_0}
    products: tuple[str, ...] = ("beta_1", "beta_2")
    formula: Callable = staticmethod(adam)
    chooses = True

    def __init__(
        self,
        learning_rate: Setting = 0.001,
        beta_1: Setting = 0.9,
        beta_2: Setting = 0.999,
        epsilon: Setting = 1e-7,
        amsgrad: bool = False,
    ):
        super().__init__()
        self.configure(learning_rate=learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
        self.amsgrad = amsgrad

    @property
    def slot_names(self):
        """The moments, and AMSGrad's maximum of the second."""
        return ("m", "v", "v_hat") if self.amsgrad else ("m", "v")

    def coefficients(self):
        """Advance the products βᵗ and correct the learning rate by them."""
        bias_1, bias_2 = 1.0 - self.product("beta_1"), 1.0 - self.product("beta_2")
        return {
            "alpha": self.value("learning_rate") * tf.sqrt(bias_2) / bias_1,
            "rate_1": 1.0 - self.value("beta_1"),
            "rate_2": 1.0 - self.value("beta_2"),
            "epsilon": self.value("epsilon"),
        }


class AdamW(Decaying, Adam):
    """Adam with decoupled weight decay, on unless `weight_decay` is 0: see `Adam` and `optim.decay`."""

    domains = {**Adam.domains, **Decaying.domains}
    chooses = True

    def __init__(
        self,
        learning_rate: Setting = 0.001,
        beta_1: Setting = 0.9,
        beta_2: Setting = 0.999,
        epsilon: Setting = 1e-7,
        weight_decay: Setting = 0.004,
        mask: Mask = decays_by_default,
        amsgrad: bool = False,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad)
        self.configure_decay(weight_decay, mask)
