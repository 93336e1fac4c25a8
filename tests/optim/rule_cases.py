"""The cases that the laws of rules run through, at least one for every rule that `optim` exports."""

import dataclasses
import inspect
from collections.abc import Callable

import numpy as np
import oracles
import oracles_adam
import oracles_adaptive
import pytest
import tensorflow as tf
from hypothesis import strategies as st

import optim

# Exact in binary, so that Keras, which takes numbers through float32, computes with the same ones.
EXACT = {
    "learning_rate": 2**-7,
    "momentum": 0.875,
    "beta_1": 0.875,
    "beta_2": 1 - 2**-10,
    "adam_beta_1": 0.75,
    "adam_beta_2": 1 - 2**-9,
    "adam_lr_ratio": 0.5,
    "rho": 0.875,
    "epsilon": 2**-23,
    "weight_decay": 2**-5,
    "trust_coefficient": 2**-3,
    "beta_2_decay": -0.75,
    "epsilon_1": 2**-60,
    "epsilon_2": 2**-10,
    "clip_threshold": 0.75,
    "learning_rate_power": -0.625,
    "l1_regularization_strength": 2**-4,
    "l2_regularization_strength": 2**-6,
    "l2_shrinkage_regularization_strength": 2**-7,
    "beta": 0.25,
    "slow_step_size": 0.625,
}
RANGES = {
    "learning_rate": st.floats(1e-4, 1.0),
    "momentum": st.floats(0.0, 0.99),
    "beta_1": st.floats(0.0, 0.99),
    # Means of squares m + (1 − β)(g² − m) lose digits where β is small and g² falls: a mean that forgets is no mean.
    "beta_2": st.floats(0.5, 0.9999),
    "adam_beta_1": st.floats(0.0, 0.99),
    "adam_beta_2": st.floats(0.5, 0.9999),
    "adam_lr_ratio": st.floats(0.1, 2.0),
    "rho": st.floats(0.5, 0.99),
    "epsilon": st.floats(1e-8, 1e-2),
    "weight_decay": st.floats(0.0, 0.1),
    "trust_coefficient": st.floats(1e-3, 1.0),
    "beta_2_decay": st.floats(-1.0, -0.5),
    "epsilon_1": st.floats(1e-30, 1e-8),
    "epsilon_2": st.floats(1e-4, 1.0),
    "clip_threshold": st.floats(0.1, 2.0),
    "learning_rate_power": st.floats(-1.0, -0.25),
    "l1_regularization_strength": st.floats(0.0, 1.0),
    "l2_regularization_strength": st.floats(0.0, 1.0),
    "l2_shrinkage_regularization_strength": st.floats(0.0, 0.1),
    "beta": st.floats(0.0, 1.0),
    "slow_step_size": st.floats(0.1, 1.0),
}
SHAPES = {"dense.kernel": (4, 2), "dense.bias": (2,)}


@dataclasses.dataclass(frozen=True)
class Case:
    """A rule, its oracle, the hyper-parameters that are set, and other options.

    rate: one that suits Rosenbrock; 0 where another case of the rule goes there. label: beside the rule's name.
    build: makes the rule, if that takes more than its constructor. rest: what is left of a kernel after an update
    whose gradient is 0.
    """

    rule: type
    oracle: Callable
    names: tuple[str, ...]
    rate: float
    label: str = ""
    options: tuple = ()
    build: Callable | None = None
    rest: float = 1.0

    def make(self, **settings):
        return (self.build or self.rule)(**{n: EXACT[n] for n in self.names} | dict(self.options) | settings)

    def __str__(self):
        return "-".join(filter(None, [self.rule.__name__, self.label]))


def look_ahead(slow_step_size, sync_period, **settings):
    return optim.Lookahead(optim.SGD(**settings), sync_period, slow_step_size)


def part(learning_rate, momentum, **settings):
    rest = optim.AdamW(learning_rate, **settings)
    return optim.Partition({"*.bias": optim.SGD(learning_rate, momentum), "*": optim.chain(lambda g, v: g, rest)})


def of_parts(path, *arguments):
    return (oracles.sgd if path.endswith("bias") else oracles_adam.adam)(path, *arguments)


ADAM = ("learning_rate", "beta_1", "beta_2", "epsilon")
ADAMW = (*ADAM, "weight_decay")
RMS = ("learning_rate", "rho", "epsilon")
FACTOR = ("learning_rate", "beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "weight_decay")
FTRL = ("learning_rate", *(f"{name}_regularization_strength" for name in ("l1", "l2", "l2_shrinkage")))
FTRL = (*FTRL, "learning_rate_power", "beta")
MUON = ("learning_rate", "momentum", "adam_beta_1", "adam_beta_2", "adam_lr_ratio", "epsilon", "weight_decay")
RATE = EXACT["learning_rate"]
DECAYED = 1 - RATE * EXACT["weight_decay"]

CASES = [
    Case(optim.SGD, oracles.sgd, ("learning_rate",), 1e-3),
    Case(optim.SGD, oracles.sgd, ("learning_rate", "momentum", "weight_decay"), 5e-4, "momentum", rest=DECAYED),
    Case(optim.SGD, oracles.sgd, ("learning_rate", "momentum"), 5e-4, "nesterov", (("nesterov", True),)),
    Case(
        optim.LARS, oracles.lars, ("learning_rate", "momentum", "trust_coefficient", "weight_decay"), 1e-3,
        rest=1 - RATE * EXACT["trust_coefficient"],
    ),
    Case(optim.RMSprop, oracles_adaptive.rmsprop, (*RMS, "weight_decay"), 1e-2, rest=DECAYED),
    Case(
        optim.RMSprop, oracles_adaptive.rmsprop, (*RMS, "momentum"), 1e-3, "centered-momentum", (("centered", True),)
    ),
    Case(
        optim.Adagrad, oracles_adaptive.adagrad, ("learning_rate", "epsilon"), 1.0,
        options=(("initial_accumulator_value", 0.25),),
    ),
    Case(optim.Adadelta, oracles_adaptive.adadelta, RMS, 10.0),
    Case(optim.Adam, oracles_adam.adam, ADAM, 0),
    Case(optim.Adam, oracles_adam.adam, ADAM, 2e-2, "amsgrad", (("amsgrad", True),)),
    Case(optim.AdamW, oracles_adam.adam, ADAMW, 2e-2, rest=DECAYED),
    Case(optim.Adamax, oracles_adam.adamax, ADAMW, 2e-2, rest=DECAYED),
    Case(optim.Nadam, oracles_adam.nadam, ADAMW, 2e-2, rest=DECAYED),
    Case(optim.RAdam, oracles_adam.radam, ADAMW, 1e-3, rest=DECAYED),
    Case(optim.RAdam, oracles_adam.radam, ADAM, 0, "paper", (("sma_threshold", 4.0),)),
    Case(optim.Lamb, oracles_adam.lamb, ADAM, 0, "without-decay"),
    Case(optim.Lamb, oracles_adam.lamb, ADAMW, 1e-2, rest=1 - RATE),
    Case(optim.Lion, oracles_adam.lion, ("learning_rate", "beta_1", "beta_2", "weight_decay"), 5e-3, rest=DECAYED),
    Case(optim.Adafactor, oracles_adaptive.adafactor, FACTOR, 1e-1, rest=DECAYED),
    Case(
        optim.Adafactor, oracles_adaptive.adafactor, FACTOR, 0, "given-step", (("relative_step", False),),
        rest=DECAYED,
    ),
    Case(
        optim.Ftrl, oracles_adaptive.ftrl, FTRL, 1.0, options=(("initial_accumulator_value", 0.25),), rest=0.0
    ),
    Case(optim.Muon, oracles_adam.muon, MUON, 2e-2, options=(("rms_rate", 0.25),), rest=DECAYED),
    Case(
        optim.Muon, oracles_adam.muon, MUON, 0, "plain",
        (("rms_rate", None), ("nesterov", False), ("ns_steps", 3)), rest=DECAYED,
    ),
    Case(
        optim.ScheduleFreeSGD, oracles.schedule_free_sgd, ("learning_rate", "beta_1", "weight_decay"), 5e-3,
        rest=DECAYED,
    ),
    Case(
        optim.ScheduleFreeAdamW, oracles.schedule_free_adamw, ADAMW, 2e-2,
        rest=1 - RATE * (1 - EXACT["beta_2"]) ** 0.5 * EXACT["weight_decay"],
    ),
    Case(
        optim.Lookahead, oracles.lookahead_of_sgd, ("learning_rate", "momentum", "slow_step_size"), 5e-4,
        options=(("sync_period", 3),), build=look_ahead,
    ),
    Case(optim.Partition, of_parts, (*ADAMW, "momentum"), 1e-3, build=part, rest=DECAYED),
]  # fmt: skip
every_rule = pytest.mark.parametrize("case", CASES, ids=str)


def exported():
    """Every rule that `optim` exports."""
    members = (getattr(optim, name) for name in optim.__all__)
    return {m for m in members if inspect.isclass(m) and issubclass(m, optim.Rule) and m is not optim.Rule}


def random(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def model(dtype=tf.float64):
    return {path: tf.Variable(random(shape), dtype=dtype) for path, shape in SHAPES.items()}


def gradients_like(variables, seed=1):
    return [tf.constant(random(v.shape, seed), v.dtype) for v in variables.values()]


def ready(case, dtype=tf.float64, **settings):
    """A rule with its state, and the variables it was given."""
    variables, rule = model(dtype), case.make(**settings)
    rule.init(variables)
    return rule, variables


def state(rule, variables):
    return [v.numpy() for v in (*variables.values(), *rule.variables)]


def assert_bit_equal(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
