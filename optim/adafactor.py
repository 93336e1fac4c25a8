"""Adafactor: Adam's mean square of a matrix from one number for each row and each column."""

import tensorflow as tf

from optim.decay import Decaying, Mask, decays_by_default
from optim.domain import ABOVE_0, BELOW_0
from optim.schedules import Setting


def adafactor(gradient, variable, *means, rho, rate, epsilon_1, epsilon_2, clip_threshold):
    """One step of Adafactor; returns the new (variable, row, column), or (variable, v).

    Matrices, `means` = (row [..., n], column [..., m]):
        R ← R + r (Σ_columns (G² + ε₁) / m − R)
        C ← C + r (Σ_rows (G² + ε₁) / n − C)
        U = G · √mean(R) / √R / √C,   which is G / √V with V = R Cᵀ / mean(R), a product that may leave float32
    Others, `means` = (v,):  V ← V + r (G² + ε₁ − V),   U = G / √V

    X ← X − max(ε₂, RMS(X)) ρ U / max(1, RMS(U) / d)

    Tensors: gradient and variable are [..., n, m], the last two dimensions being the matrix's. r is `rate`, the paper's
    1 − β̂₂, and d is `clip_threshold`.
    Source: Shazeer and Stern, Adafactor (arXiv 1804.04235), algorithms 4 and 5 (with means, not sums, of rows and
    columns: V is the same).
    """
    square = tf.square(gradient) + epsilon_1
    if len(means) == 2:
        row, column = means
        row = row + rate * (tf.reduce_mean(square, -1) - row)
        column = column + rate * (tf.reduce_mean(square, -2) - column)
        means = (row, column)
        of_rows = tf.sqrt(tf.reduce_mean(row, -1, keepdims=True)) * tf.math.rsqrt(row)
        step = gradient * of_rows[..., tf.newaxis] * tf.math.rsqrt(column)[..., tf.newaxis, :]
    else:
        (v,) = means
        v = v + rate * (square - v)
        means = (v,)
        step = gradient / tf.sqrt(v)
    step /= tf.maximum(tf.ones([], step.dtype), rms(step) / clip_threshold)
    return variable - tf.maximum(epsilon_2, rms(variable)) * rho * step, *means


def rms(tensor):
    """Root mean square, a scalar."""
    return tf.sqrt(tf.reduce_mean(tf.square(tensor)))


class Adafactor(Decaying):
    """Adaptive rates in sublinear memory: the rule `adafactor`.

    Variables of two and more dimensions have the slots "row" and "column", without their last and last but
    one dimension; others have the slot "v". ρ is `learning_rate`, with `relative_step` no more than 1 / √t in update t.
    r is t^`beta_2_decay`, a number below 0. `epsilon_1`, `epsilon_2` and `clip_threshold` are above 0. All but
    `relative_step` may be schedules. `weight_decay` and `mask`: see `optim.decay`.
    """

    domains = {
        "learning_rate": ABOVE_0,
        "beta_2_decay": BELOW_0,
        "epsilon_1": ABOVE_0,
        "epsilon_2": ABOVE_0,
        "clip_threshold": ABOVE_0,
        **Decaying.domains,
    }
    slot_names = ("row", "column", "v")
    numbers = {"updates": 0.0}
    formula = staticmethod(adafactor)
    compiles = False  # XLA takes means on one core

    def __init__(
        self,
        learning_rate: Setting = 0.001,
        beta_2_decay: Setting = -0.8,
        epsilon_1: Setting = 1e-30,
        epsilon_2: Setting = 1e-3,
        clip_threshold: Setting = 1.0,
        relative_step: bool = True,
        weight_decay: Setting = 0.0,
        mask: Mask = decays_by_default,
    ):
        super().__init__()
        self.configure(
            learning_rate=learning_rate,
            beta_2_decay=beta_2_decay,
            epsilon_1=epsilon_1,
            epsilon_2=epsilon_2,
            clip_threshold=clip_threshold,
        )
        self.configure_decay(weight_decay, mask)
        self.relative_step = relative_step

    def initial(self, slot, path, variable):
        """Zeros, in the shape of what is kept."""
        shape = variable.shape.as_list()
        kept = {"row": shape[:-1], "column": [*shape[:-2], *shape[-1:]]} if len(shape) >= 2 else {"v": shape}
        return tf.zeros(kept[slot], variable.dtype) if slot in kept else None

    def coefficients(self):
        """Advance t, and with it r and the bound on ρ."""
        own, t = super().coefficients(), self.keep("updates", self.updates + 1.0)
        rho = own.pop("learning_rate")
        rate = t ** own.pop("beta_2_decay")
        return {**own, "rho": tf.minimum(rho, 1.0 / tf.sqrt(t)) if self.relative_step else rho, "rate": rate}
