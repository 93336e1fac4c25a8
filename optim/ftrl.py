"""FTRL-Proximal: follow the leader of all gradients so far, regularised towards few weights."""

import tensorflow as tf

from optim.domain import ABOVE_0, FROM_0, TO_0
from optim.rule import Rule
from optim.schedules import Setting


def ftrl(gradient, variable, accumulator, linear, *, learning_rate, power, l1, l2, l2_shrinkage, beta):
    """One step of FTRL-Proximal; returns the new (variable, accumulator, linear).

    σ = ((n + g²)ᵖ − nᵖ) / η,   n ← n + g²
    z ← z + g + 2 s x − σ x
    x ← −(z − clip(z, −λ₁, λ₁)) / ((β + nᵖ) / η + 2 λ₂)

    Tensors of one shape and dtype. n is `accumulator`, z is `linear`; p is `power`, λ₁ and λ₂ are `l1` and `l2`, s is
    `l2_shrinkage`. Where the denominator is 0, so is x. With η = 0, as a warm-up begins, all three stay.
    Source: McMahan et al., Ad click prediction: a view from the trenches (KDD 2013), algorithm 1, where p is 1/2, λ₂ is
    twice TensorFlow's and s is 0.
    """
    before, moves = (variable, accumulator, linear), tf.not_equal(learning_rate, 0.0)
    learning_rate = tf.where(moves, learning_rate, tf.ones_like(learning_rate))
    root = tf.pow(accumulator + tf.square(gradient), power)
    sigma = (root - tf.pow(accumulator, power)) / learning_rate
    accumulator = accumulator + tf.square(gradient)
    linear = linear - ((sigma - 2.0 * l2_shrinkage) * variable - gradient)
    curvature = (beta + root) / learning_rate + 2.0 * l2
    beyond = linear - tf.clip_by_value(linear, -l1, l1)
    after = (-tf.math.divide_no_nan(beyond, curvature), accumulator, linear)
    return tuple(tf.where(moves, new, old) for new, old in zip(after, before, strict=True))


class Ftrl(Rule):
    """Follow the regularised leader: the rule `ftrl`, with slots "accumulator" and "linear".

    `learning_rate` is above 0, `learning_rate_power` (−p) 0 or below, the others 0 or above; each may be a schedule but
    `initial_accumulator_value`, which the slot starts at. As in TensorFlow, a variable is from the first update on
    what the gradients make of it: with a gradient of 0 it becomes 0, wherever it started.
    """

    domains = {
        "learning_rate": ABOVE_0,
        "learning_rate_power": TO_0,
        "l1_regularization_strength": FROM_0,
        "l2_regularization_strength": FROM_0,
        "l2_shrinkage_regularization_strength": FROM_0,
        "beta": FROM_0,
    }
    slot_names = ("accumulator", "linear")
    formula = staticmethod(ftrl)
    compiles = False  # XLA takes powers on one core

    def __init__(
        self,
        learning_rate: Setting = 0.001,
        learning_rate_power: Setting = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: Setting = 0.0,
        l2_regularization_strength: Setting = 0.0,
        l2_shrinkage_regularization_strength: Setting = 0.0,
        beta: Setting = 0.0,
    ):
        super().__init__()
        self.configure(
            learning_rate=learning_rate,
            learning_rate_power=learning_rate_power,
            l1_regularization_strength=l1_regularization_strength,
            l2_regularization_strength=l2_regularization_strength,
            l2_shrinkage_regularization_strength=l2_shrinkage_regularization_strength,
            beta=beta,
        )
        self.initial_accumulator_value = FROM_0.require("initial_accumulator_value", initial_accumulator_value)

    def initial(self, slot, path, variable):
        """The accumulator's start everywhere, and no gradient yet."""
        start = self.initial_accumulator_value if slot == "accumulator" else 0.0
        return tf.constant(start, variable.dtype, variable.shape)

    def coefficients(self):
        """The hyper-parameters, under the formula's names."""
        return {
            "learning_rate": self.value("learning_rate"),
            "power": -self.value("learning_rate_power"),
            "l1": self.value("l1_regularization_strength"),
            "l2": self.value("l2_regularization_strength"),
            "l2_shrinkage": self.value("l2_shrinkage_regularization_strength"),
            "beta": self.value("beta"),
        }
