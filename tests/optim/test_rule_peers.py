"""Rules do what Keras does, and what PyTorch, Optax and schedulefree did: see `benchmarks/optimizer_goldens.py`."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from rule_cases import CASES, EXACT, gradients_like, ready

import optim

RATE, DECAY, MOMENTUM, BETA_2, TINY = 2**-5, 2**-4, 0.875, 1 - 2**-7, 1e-30
GOLDENS = json.loads(Path(__file__).with_name("goldens.json").read_text())

UNLIKE_KERAS = {
    "Lamb": "decays before it scales the step",
    "Adafactor-given-step": "bounds the rate by 1 / √t even when told not to",
    "Muon": "multiplies float64 by a float32 root if there is an rms_rate",
    "ScheduleFreeAdamW": "reads z after it has moved when it recovers x, and leaves a correction out of the weights",
}
IN_KERAS = [case for case in CASES if hasattr(keras.optimizers, case.rule.__name__) and str(case) not in UNLIKE_KERAS]


def test_every_rule_that_keras_has_is_compared_or_known_to_differ():
    known = {str(case) for case in CASES if hasattr(keras.optimizers, case.rule.__name__)}
    assert known == {str(case) for case in IN_KERAS} | set(UNLIKE_KERAS)


@pytest.mark.parametrize("case", IN_KERAS, ids=str)
def test_follows_keras(case):
    rule, variables = ready(case)
    twins = [keras.Variable(v.numpy(), dtype="float64", name=p.split(".")[1]) for p, v in variables.items()]
    options = {"learning_rate": 2**-7} | {name: EXACT[name] for name in case.names} | dict(case.options)
    peer = getattr(keras.optimizers, case.rule.__name__)(**options)
    peer.exclude_from_weight_decay(var_names=["bias"])
    peer.build(twins)

    @tf.function
    def step(gradients):
        rule.apply(gradients, variables)
        peer.apply(gradients, twins)

    # Keras takes the 0.96 of Nadam through float32.
    tolerance = {"rtol": 1e-7, "atol": 1e-8} if case.rule is optim.Nadam else {"rtol": 1e-12, "atol": 1e-14}
    for i in range(50):
        step(gradients_like(variables, seed=i))
        if i % 10 == 9:
            for ours, theirs in zip(variables.values(), twins, strict=True):
                np.testing.assert_allclose(ours, theirs.value.numpy(), **tolerance)


@pytest.mark.parametrize("kind", sorted({case.rule for case in IN_KERAS}, key=str), ids=lambda kind: kind.__name__)
def test_defaults_are_those_of_keras(kind):
    ours, config = kind(), getattr(keras.optimizers, kind.__name__)().get_config()
    plain = {name for name in vars(ours) if name in config and isinstance(config[name], (bool, int))}
    for name in {*ours.domains, *plain} - {"name"}:
        # Keras says None for no decay, and keeps the learning rate in a float32 variable.
        np.testing.assert_allclose(getattr(ours, name), config[name] or 0, rtol=1e-7)


moments = {"learning_rate": RATE, "beta_1": MOMENTUM, "beta_2": BETA_2, "epsilon": TINY}
rms = {"learning_rate": RATE, "rho": MOMENTUM, "epsilon": TINY}
everywhere = {"weight_decay": DECAY, "mask": None}
free = {"learning_rate": RATE, "beta_1": MOMENTUM, **everywhere}
RULES = {
    "torch SGD": lambda: optim.SGD(RATE, MOMENTUM),
    "torch SGD nesterov": lambda: optim.SGD(RATE, MOMENTUM, nesterov=True),
    "torch RMSprop": lambda: optim.RMSprop(**rms, momentum=MOMENTUM),
    "torch RMSprop centered": lambda: optim.RMSprop(**rms, centered=True),
    "torch Adagrad": lambda: optim.Adagrad(RATE, 0.25, TINY),
    "torch Adadelta": lambda: optim.Adadelta(RATE, MOMENTUM, 2**-20),
    "torch Adam": lambda: optim.Adam(**moments),
    "torch Adam amsgrad": lambda: optim.Adam(**moments, amsgrad=True),
    "torch AdamW": lambda: optim.AdamW(**moments, **everywhere),
    "torch Adamax": lambda: optim.Adamax(**moments),
    "torch NAdam": lambda: optim.Nadam(**moments, **everywhere),
    "torch RAdam": lambda: optim.RAdam(**moments),
    "torch Adafactor": lambda: optim.Adafactor(RATE, epsilon_2=2**-10),
    "schedulefree SGD": lambda: optim.ScheduleFreeSGD(**free),
    # Without β₂ there is no correction, which the library leaves out of the weights.
    "schedulefree AdamW": lambda: optim.ScheduleFreeAdamW(**free, beta_2=0.0, epsilon=TINY),
    "optax SGD nesterov": lambda: optim.SGD(RATE, MOMENTUM, nesterov=True),
    "optax LARS": lambda: optim.LARS(RATE, MOMENTUM, trust_coefficient=0.125),
    "optax RMSprop": lambda: optim.RMSprop(**rms),
    "optax Adagrad": lambda: optim.Adagrad(RATE, 0.25, TINY),
    "optax Adadelta": lambda: optim.Adadelta(RATE, MOMENTUM, 2**-20),
    "optax AdamW": lambda: optim.AdamW(**moments, weight_decay=DECAY),
    "optax Adamax": lambda: optim.Adamax(**moments),
    "optax RAdam": lambda: optim.RAdam(**moments),
    "optax Lamb": lambda: optim.Lamb(**moments, weight_decay=DECAY),
    "optax Lion": lambda: optim.Lion(RATE, MOMENTUM, BETA_2, weight_decay=DECAY),
    "optax Adafactor": lambda: optim.Adafactor(RATE, relative_step=False),
    "optax Muon": lambda: optim.Muon(
        RATE, adam_beta_1=0.75, epsilon=1e-8, momentum=MOMENTUM, nesterov=False, rms_rate=0.25, weight_decay=0.0
    ),
    "optax schedule-free SGD": lambda: optim.ScheduleFreeSGD(RATE, MOMENTUM),
    "optax Lookahead": lambda: optim.Lookahead(optim.SGD(RATE, MOMENTUM), 3, 0.625),
}


def test_every_golden_has_its_rule():
    assert set(GOLDENS["goldens"]) == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_follows_the_golden(name):
    rule = RULES[name]()
    variables = {path: tf.Variable(value, dtype=tf.float64) for path, value in GOLDENS["start"].items()}
    rule.init(variables)
    seen = []
    for gradients in GOLDENS["gradients"]:
        rule.apply([tf.constant(gradients[path], tf.float64) for path in variables], variables)
        seen.append({path: v.numpy() for path, v in variables.items()})
    # A product and a power that the libraries take in float32; another place for the epsilon of a norm.
    rtol = {"torch NAdam": 1e-6, "optax Adafactor": 1e-6, "optax Muon": 1e-6}.get(name, 1e-12)
    for path, expected in GOLDENS["goldens"][name].items():
        np.testing.assert_allclose([seen[t - 1][path] for t in GOLDENS["shown"]], expected, rtol=rtol, atol=1e-14)
