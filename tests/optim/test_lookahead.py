import numpy as np
import pytest
import tensorflow as tf
from rule_cases import assert_bit_equal, gradients_like, model

import optim


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.Adam(0.125),
        lambda: optim.chain(optim.clip_by_global_norm(1.0), optim.SGD(0.125)),
        lambda: optim.Partition({"*.bias": optim.SGD(0.125), "*": optim.Adam(0.125)}),
    ],
    ids=["Adam", "chain", "Partition"],
)
def test_slow_weights_of_a_full_step_each_update_are_the_rule(make):
    ends = []
    for rule in (make(), optim.Lookahead(make(), sync_period=1, slow_step_size=1.0)):
        variables = model()
        rule.init(variables)
        for seed in range(5):
            rule.apply(gradients_like(variables, seed), variables)
        ends.append([v.numpy() for v in variables.values()])
    # s + 1 · (x − s) rounds.
    for found, expected in zip(*ends, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-15)


def test_between_synchronisations_it_is_the_rule_to_the_bit_and_then_half_way_back():
    plain, ahead = model(), model()
    rules = optim.SGD(0.5), optim.Lookahead(optim.SGD(0.5), sync_period=3)
    start = [v.numpy() for v in plain.values()]
    for rule, variables in zip(rules, (plain, ahead), strict=True):
        rule.init(variables)
    for seed in range(3):
        assert_bit_equal([v.numpy() for v in ahead.values()], [v.numpy() for v in plain.values()])
        for rule, variables in zip(rules, (plain, ahead), strict=True):
            rule.apply(gradients_like(variables, seed), variables)
    for variable, fast, slow in zip(ahead.values(), plain.values(), start, strict=True):
        np.testing.assert_allclose(variable, (fast.numpy() + slow) / 2, rtol=1e-14)


@pytest.mark.parametrize("kind", ["lookahead", "schedule-free"])
def test_the_start_is_what_variables_are_at_the_first_update(kind):
    # Weights may be loaded after `init`.
    make = {"lookahead": lambda: optim.Lookahead(optim.SGD(0.5), 1), "schedule-free": optim.ScheduleFreeSGD}[kind]
    ends = []
    for load_first in (True, False):
        variables, rule = {path: tf.Variable(tf.zeros_like(v)) for path, v in model().items()}, make()
        for early in (True, False):
            if early == load_first:
                for path, value in model().items():
                    variables[path].assign(value)
            if early:
                rule.init(variables)
        for seed in range(3):
            rule.apply(gradients_like(variables, seed), variables)
        ends.append([v.numpy() for v in variables.values()])
    assert_bit_equal(*ends)


def test_mistakes_are_named():
    with pytest.raises(TypeError, match=r"^Lookahead: the first argument must be a rule, .*, got 0.1"):
        optim.Lookahead(0.1)
    with pytest.raises(ValueError, match=r"sync_period must be a whole number.*, got 0"):
        optim.Lookahead(optim.SGD(), sync_period=0)
    with pytest.raises(ValueError, match=r"slow_step_size must be a number above 0, up to 1, got 1.5"):
        optim.Lookahead(optim.SGD(), slow_step_size=1.5)


def test_periods_are_of_each_variables_own_updates():
    variables = {name: tf.Variable(8.0) for name in ("a", "b", "late")}
    rule = optim.Lookahead(optim.SGD(1.0), sync_period=2)
    rule.init(variables)
    for _ in range(2):
        for name in ("a", "b"):
            rule.apply([tf.constant(2.0)], [variables[name]])
    # Loaded after `init`, and thawed late.
    variables["late"].assign(100.0)
    for _ in range(2):
        rule.apply([tf.constant(2.0)], [variables["late"]])
    assert {name: float(v) for name, v in variables.items()} == {"a": 6.0, "b": 6.0, "late": 98.0}


@pytest.mark.parametrize("wrap", [lambda rule: rule, lambda rule: optim.Partition({"*": optim.chain(rule)})])
def test_rules_that_keep_weights_of_their_own_are_refused(wrap):
    with pytest.raises(TypeError, match=r"^Lookahead: a schedule-free rule makes its variables from z and x"):
        optim.Lookahead(wrap(optim.ScheduleFreeSGD()))


@pytest.mark.parametrize(
    "wrap", [optim.Lookahead, lambda rule: optim.Partition({"b": optim.SGD(), "*": rule})], ids=["Lookahead", "parts"]
)
def test_a_rule_within_that_had_its_init_is_named(wrap):
    variables, rule = {"a": tf.Variable(1.0), "b": tf.Variable(1.0)}, optim.SGD()
    rule.init(variables)
    with pytest.raises(ValueError, match=r"\.init: a rule within has had its init already; give a new one$"):
        wrap(rule).init(variables)
