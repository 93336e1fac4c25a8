import numpy as np
import pytest
import tensorflow as tf
from rule_cases import assert_bit_equal, gradients_like, model, random

import optim


def run(rule, variables, updates=4):
    rule.init(variables)
    for seed in range(updates):
        rule.apply(gradients_like(variables, seed), variables)
    return [v.numpy() for v in variables.values()]


@pytest.mark.parametrize(
    "make",
    [lambda rate: optim.Adam(rate), lambda rate: optim.chain(optim.clip_by_value(0.5), optim.SGD(rate, 0.9))],
    ids=["Adam", "chain"],
)
@pytest.mark.parametrize("split", [1, 2, 3], ids=["one", "two", "nested"])
def test_parts_that_are_alike_are_one_rule(make, split):
    decay = optim.schedules.polynomial(0.5, 4)
    whole = run(make(decay), model())
    parts = {"*": make(decay)} if split == 1 else {"*.bias": make(decay), "*": make(decay)}
    if split == 3:
        parts["*"] = optim.Partition({"dense.*": parts["*"]})
    assert_bit_equal(run(optim.Partition(parts), model()), whole)


def test_a_part_without_variables_in_an_update_still_counts_it():
    # As Adam does for variables that are left out.
    ends = []
    for rule in (optim.Adam(0.5), optim.Partition({"*.bias": optim.Adam(0.5), "*": optim.Adam(0.5)})):
        variables = model()
        rule.init(variables)
        kernel, bias = variables.values()
        rule.apply([tf.constant(random(kernel.shape))], [kernel])
        rule.apply(gradients_like(variables), variables)
        assert rule.step.numpy() == 2
        ends.append([kernel.numpy(), bias.numpy()])
    assert_bit_equal(*ends)


def test_the_first_pattern_that_matches_wins_and_a_rule_may_have_several():
    names = ("a.bias", "a.kernel", "b.bias", "b.gamma")
    variables = {name: tf.Variable(0.0) for name in names}
    slow = optim.SGD(1.0)
    rule = optim.Partition({"a.*": optim.SGD(4.0), "*.bias": slow, "*.gamma": slow})
    rule.init(variables)
    rule.apply([tf.constant(1.0)] * 4, variables)
    assert [float(v) for v in variables.values()] == [-4.0, -4.0, -1.0, -1.0]


def test_the_step_is_shared_and_a_checkpoint_has_it_once():
    first, second = optim.SGD(optim.schedules.piecewise([0], [1.0, 0.25])), optim.SGD(0.5)
    rule = optim.Partition({"*.bias": first, "*": optim.chain(optim.clip_by_norm(1.0), second)})
    rule.init(model())
    assert rule.step is first.step is second.step
    assert [v.ref() for v in rule.variables].count(rule.step.ref()) == 1
    # As an engine does when there is nothing to learn from.
    rule.step.assign_add(1)
    assert rule.value("learning_rate").numpy() == first.value("learning_rate").numpy() == 0.25


def test_what_matches_nothing_is_named():
    with pytest.raises(ValueError, match=r"^Partition.init: dense.bias matches no pattern of \*.kernel; add '\*'$"):
        optim.Partition({"*.kernel": optim.SGD()}).init(model())
    with pytest.raises(ValueError, match=r"^Partition.init: no variable goes by 'head.\*'; there are dense.kernel, "):
        optim.Partition({"head.*": optim.SGD(), "*": optim.SGD()}).init(model())
    optim.Partition({"dense.*": optim.SGD(), "*": optim.SGD()}).init(model())
    with pytest.raises(TypeError, match=r"^Partition: '\*' must have a rule, such as optim.SGD\(\), got 0.1$"):
        optim.Partition({"*": 0.1})
    with pytest.raises(TypeError, match=r"'\*' must have a rule"):
        optim.Partition({"*": optim.SGD})
    with pytest.raises(ValueError, match="there must be a rule"):
        optim.Partition({})


def test_a_mask_and_a_pattern_see_the_same_paths():
    variables = model()
    rule = optim.Partition({"*.bias": optim.SGD(0.5), "*": optim.SGD(0.5, weight_decay=0.5, mask=None)})
    before = [v.numpy() for v in variables.values()]
    rule.init(variables)
    rule.apply([tf.zeros_like(v) for v in variables.values()], variables)
    for (path, variable), value in zip(variables.items(), before, strict=True):
        np.testing.assert_allclose(variable, value * (1.0 if path.endswith("bias") else 0.75), rtol=1e-15)
