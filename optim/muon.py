"""Muon: momentum made orthogonal, for matrices; the rest by AdamW."""

from collections.abc import Callable

import tensorflow as tf

from optim.adam import adam
from optim.decay import Decaying, Mask, decays_by_default
from optim.domain import ABOVE_0, BELOW_1, COUNT
from optim.schedules import Setting


def orthogonalized(matrix, steps):
    """Nearly the orthogonal matrix U Vᵀ next to `matrix` = U S Vᵀ; [n, m], n and m at least 1.

    X ← M / (‖M‖ + 1e-7), and then `steps` times  X ← a X + (b A + c A²) X  with A = X Xᵀ, on the smaller side.

    Each step is an odd polynomial of the singular values. Its coefficients are chosen for speed: after 5 steps
    those that were above 0.01 of the norm lie between 0.6 and 1.3, and more steps bring them no closer to 1.
    Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024), `newtonschulz5`.
    """
    a, b, c = (tf.constant(number, matrix.dtype) for number in (3.4445, -4.7750, 2.0315))
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else tf.transpose(matrix)
    x /= tf.norm(x) + tf.constant(1e-7, x.dtype)
    for _ in range(steps):
        gram = tf.matmul(x, x, transpose_b=True)
        x = a * x + tf.matmul(b * gram + c * tf.matmul(gram, gram), x)
    return x if wide else tf.transpose(x)


def muon(gradient, variable, momentum, *, learning_rate, mu, nesterov, steps, rms_rate):
    """One step of Muon; returns the new (variable, momentum).

    u ← μ u + g
    x ← x − η s orthogonalized(u, or with Nesterov g + μ u),   s = rms_rate · √max(n, m)

    Tensors [n, m] of one dtype. Without an `rms_rate` (None), s is 1.
    Source: Jordan et al. 2024; s: Liu et al., Muon is scalable for LLM training (arXiv 2502.16982), eq. 4, which
    gives steps the root mean square of AdamW's.
    """
    momentum = mu * momentum + gradient
    step = orthogonalized(gradient + mu * momentum if nesterov else momentum, steps)
    if rms_rate is not None:
        step *= tf.constant(rms_rate * max(variable.shape) ** 0.5, step.dtype)
    return variable - learning_rate * step, momentum


def embeds(path: str) -> bool:
    """What Muon leaves to Adam unless told otherwise: embeddings, whose rows are looked up, not multiplied.

    >>> [embeds(path) for path in ("layers.0.embeddings", "layers.1.kernel")]
    [True, False]
    """
    return "embedding" in path.lower()


class Muon(Decaying):
    """Momentum orthogonalised by Newton and Schulz: matrices by `muon`, with the slot "momentum", the rest by `adam`.

    Matrices are variables of two dimensions, but those for whose path `exclude` is true, by default embeddings;
    the last layer's kernel is best left to Adam too. The others have the slots "m" and "v".

    `learning_rate`, and times `adam_lr_ratio` for Adam; `momentum`, from 0 to below 1; `adam_beta_1`, `adam_beta_2`,
    `epsilon`: see `Adam`. Each may be a schedule. `ns_steps`: of the iteration. `rms_rate`, above 0: the root mean
    square of a step, in units of the rate, where the matrix has full rank; with None its singular values are
    near 1. `weight_decay` and `mask`: see `optim.decay`; η is `learning_rate` for all.
    """

    domains = {
        "learning_rate": ABOVE_0,
        "adam_beta_1": BELOW_1,
        "adam_beta_2": BELOW_1,
        "epsilon": ABOVE_0,
        "adam_lr_ratio": ABOVE_0,
        "momentum": BELOW_1,
        **Decaying.domains,
    }
    slot_names = ("momentum", "m", "v")
    compiles = False  # XLA's matrix products are slower on a CPU
    products = ("adam_beta_1", "adam_beta_2")

    def __init__(
        self,
        learning_rate: Setting = 0.001,
        adam_beta_1: Setting = 0.9,
        adam_beta_2: Setting = 0.999,
        epsilon: Setting = 1e-7,
        adam_lr_ratio: Setting = 1.0,
        momentum: Setting = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        rms_rate: float | None = 0.2,
        exclude: Callable[[str], bool] = embeds,
        weight_decay: Setting = 0.004,
        mask: Mask = decays_by_default,
    ):
        super().__init__()
        self.configure(
            learning_rate=learning_rate,
            adam_beta_1=adam_beta_1,
            adam_beta_2=adam_beta_2,
            epsilon=epsilon,
            adam_lr_ratio=adam_lr_ratio,
            momentum=momentum,
        )
        self.configure_decay(weight_decay, mask)
        self.nesterov, self.exclude = nesterov, exclude
        self.ns_steps = int(COUNT.require("ns_steps", ns_steps))
        self.rms_rate = None if rms_rate is None else ABOVE_0.require("rms_rate", rms_rate)

    def initial(self, slot, path, variable):
        """Zeros, for the slots that a variable's formula has."""
        by_muon = len(variable.shape) == 2 and not self.exclude(path)
        return super().initial(slot, path, variable) if by_muon == (slot == "momentum") else None

    def coefficients(self):
        """Advance the products βᵗ; what either formula needs, and the decay."""
        bias_1, bias_2 = 1.0 - self.product("adam_beta_1"), 1.0 - self.product("adam_beta_2")
        rate = self.value("learning_rate")
        return {
            "learning_rate": rate,
            "mu": self.value("momentum"),
            "alpha": rate * self.value("adam_lr_ratio") * tf.sqrt(bias_2) / bias_1,
            "rate_1": 1.0 - self.value("adam_beta_1"),
            "rate_2": 1.0 - self.value("adam_beta_2"),
            "epsilon": self.value("epsilon"),
            **self.decay(),
        }

    def formula(self, gradient: tf.Tensor, variable: tf.Tensor, *slots, learning_rate, mu, **of_adam):
        """See `muon`, with one slot, and `adam`, with two."""
        if len(slots) == 2:
            return adam(gradient, variable, *slots, **of_adam)
        options = {"nesterov": self.nesterov, "steps": self.ns_steps, "rms_rate": self.rms_rate}
        return muon(gradient, variable, *slots, learning_rate=learning_rate, mu=mu, **options)
