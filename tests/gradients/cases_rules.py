"""The gradient cases of update rules, of their formulas as functions of all that they are given: see `registry`."""

import functools

import numpy as np
import tensorflow as tf
from points import normal
from registry import add

import optim


def updates(rule, coefficients, fixed):
    """The formula of a rule: new variable and slots, of gradient, variable, slots and coefficients."""

    def update(gradient, variable, slots, values):
        named = dict(zip(coefficients, tf.unstack(values), strict=True))
        return rule.update("kernel", gradient, variable, *slots, **named, **fixed)

    return update


def positive(*shape, seed=8):
    """Means of squares."""
    return 0.1 + np.square(normal(*shape, seed=seed))


def slots(count):
    """Slots for a kernel [3, 2]; the last, a mean of squares, is positive."""
    return [normal(3, 2, seed=7), positive(3, 2)][:count]


def rule(name, label, build, slots, *, order=1, fixed=(), **coefficients):
    values = np.array(list(coefficients.values()))
    point = (normal(3, 2), normal(3, 2, seed=1), slots, values)
    add(name, label, lambda: (updates(build(), coefficients, dict(fixed)), point), order=order)


adam = {"alpha": 0.01, "rate_1": 0.1, "rate_2": 0.02, "epsilon": 0.01}
decayed = {"decay": 0.05, **adam}
with_decay = functools.partial(functools.partial, weight_decay=0.1)

rule("optim.SGD", "plain", optim.SGD, [], order=2, learning_rate=0.1)
for nesterov in (False, True):
    momentum = functools.partial(optim.SGD, momentum=0.9, nesterov=nesterov)
    rule("optim.SGD", f"momentum-nesterov-{nesterov}", momentum, slots(1), order=2, learning_rate=0.1, momentum=0.9)
rule("optim.SGD", "decays", with_decay(optim.SGD), [], learning_rate=0.1, momentum=0.0, decay=0.05)
lars = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.1, "trust_coefficient": 0.5}
rule("optim.LARS", "adapts-and-decays", with_decay(optim.LARS), slots(1), order=2, **lars)

rule("optim.Adam", "coefficients", optim.Adam, slots(2), order=2, **adam)
# One maximum stays and the others rise: no v̂ is near its v.
highest = positive(3, 2) * np.array([[2.0], [0.5], [0.25]])
rule("optim.Adam", "amsgrad", lambda: optim.Adam(amsgrad=True), [*slots(2), highest], **adam)
rule("optim.AdamW", "decays", optim.AdamW, slots(2), order=2, **decayed)
adamax = {"alpha": 0.01, "rate_1": 0.1, "beta_2": 0.9, "epsilon": 0.01, "decay": 0.05}
rule("optim.Adamax", "decays", with_decay(optim.Adamax), slots(2), **adamax)
nadam = {"alpha_m": 0.01, "alpha_g": 0.02, "rate_1": 0.1, "rate_2": 0.02, "root": 3.0, "epsilon": 0.01, "decay": 0.05}
rule("optim.Nadam", "decays", with_decay(optim.Nadam), slots(2), **nadam)
for trusted in (False, True):
    fixed = {"trusted": tf.constant(trusted)}
    rule("optim.RAdam", f"trusted-{trusted}", with_decay(optim.RAdam), slots(2), fixed=fixed, **decayed)
lamb = {"learning_rate": 0.1, "weight_decay": 0.05, "correction": 2.0, "rate_1": 0.1, "rate_2": 0.02, "root": 3.0}
rule("optim.Lamb", "adapts-and-decays", with_decay(optim.Lamb), slots(2), epsilon=0.01, **lamb)
lion = {"learning_rate": 0.1, "beta_1": 0.9, "rate_1": 0.1, "beta_2": 0.99, "rate_2": 0.01, "decay": 0.05}
rule("optim.Lion", "decays", with_decay(optim.Lion), slots(1), **lion)

rms = {"learning_rate": 0.1, "rate": 0.1, "momentum": 0.9, "epsilon": 0.01}
rule("optim.RMSprop", "plain", optim.RMSprop, [positive(3, 2)], **rms)
# Means are small beside the roots of the means of squares, as they must be.
centred = [1.0 + positive(3, 2), 0.3 * normal(3, 2, seed=7), normal(3, 2, seed=9)]
rule("optim.RMSprop", "centred", lambda: optim.RMSprop(centered=True, momentum=0.9), centred, **rms)
rule("optim.Adagrad", "plain", optim.Adagrad, [positive(3, 2)], learning_rate=0.1, epsilon=0.01)
squares = [positive(3, 2), positive(3, 2, seed=9)]
rule("optim.Adadelta", "plain", optim.Adadelta, squares, learning_rate=0.1, rate=0.1, epsilon=0.01)
factor = {"rho": 0.1, "rate": 0.3, "epsilon_1": 0.01, "epsilon_2": 0.001, "decay": 0.05}
for label, clip_threshold in (("clipped", 0.1), ("free", 10.0)):
    build, means = with_decay(optim.Adafactor), [positive(3), positive(2)]
    rule("optim.Adafactor", label, build, means, clip_threshold=clip_threshold, **factor)
rule("optim.Adafactor", "unfactored", optim.Adafactor, [positive(3, 2)], clip_threshold=0.1, **factor)
ftrl = {"learning_rate": 0.1, "power": 0.5, "l1": 0.2, "l2": 0.1, "l2_shrinkage": 0.05, "beta": 0.3}
rule("optim.Ftrl", "all-terms", optim.Ftrl, [positive(3, 2), normal(3, 2, seed=7)], **ftrl)

muon = {"learning_rate": 0.1, "mu": 0.9, "decay": 0.05}
for label, options in (("nesterov", {}), ("plain", {"nesterov": False, "ns_steps": 2, "rms_rate": None})):
    rule("optim.Muon", label, functools.partial(optim.Muon, **options), slots(1), **muon)
rule("optim.Muon", "adam", optim.Muon, slots(2), **muon, **adam)

free = {"gamma": 0.1, "beta": 0.9, "share": 0.2, "weight_decay": 0.05}
averages = [normal(3, 2, seed=7), normal(3, 2, seed=9)]
for first in (False, True):
    fixed, build = {"first": tf.constant(first)}, with_decay(optim.ScheduleFreeSGD)
    rule("optim.ScheduleFreeSGD", f"first-{first}", build, averages, fixed=fixed, **free)
mean = {"rate_2": 0.1, "epsilon": 0.01}
adamw, fixed = with_decay(optim.ScheduleFreeAdamW), {"first": tf.constant(False)}
rule("optim.ScheduleFreeAdamW", "decays", adamw, [*averages, positive(3, 2)], fixed=fixed, **free, **mean)
