import numpy as np
import pytest
import tensorflow as tf
from rule_cases import gradients_like, model, random

import data
import engine
import layers
import optim


def test_x_is_the_mean_of_z_and_the_variable_lies_between_them():
    rule, variables = optim.ScheduleFreeSGD(0.25, beta_1=0.75), model()
    rule.init(variables)
    moved = {path: [] for path in variables}
    for seed in range(6):
        rule.apply(gradients_like(variables, seed), variables)
        for path, variable in variables.items():
            z, x = rule.slots["z"][path].numpy(), rule.slots["x"][path].numpy()
            moved[path].append(z)
            np.testing.assert_allclose(x, np.mean(moved[path], axis=0), rtol=1e-13)
            np.testing.assert_allclose(variable, 0.25 * z + 0.75 * x, rtol=1e-13)


def test_a_warm_up_from_0_moves_nothing_at_first_and_weighs_nothing():
    rate = optim.schedules.warmup(0.5, 2)
    for rule in (optim.ScheduleFreeSGD(rate), optim.ScheduleFreeAdamW(rate)):
        variables = model()
        rule.init(variables)
        before = [v.numpy() for v in variables.values()]
        rule.apply(gradients_like(variables), variables)
        for variable, value in zip(variables.values(), before, strict=True):
            # z + β (x − z) rounds.
            np.testing.assert_allclose(variable, value, rtol=1e-15)
        rule.apply(gradients_like(variables), variables)
        for path in variables:
            np.testing.assert_allclose(rule.slots["x"][path], rule.slots["z"][path], rtol=1e-15)


def test_constant_steps_average_to_a_minimum_that_they_do_not_come_to_rest_in():
    rule, x = optim.ScheduleFreeSGD(0.5, beta_1=0.9), tf.Variable([8.0], dtype=tf.float64)
    rule.init({"x": x})
    noise = np.where(np.arange(4000) % 2, 1.0, -1.0) * 3

    @tf.function
    def descend(noise):
        for kick in noise:
            rule.apply([x + kick], [x])

    descend(tf.constant(noise))
    assert abs(rule.slots["x"]["x"].numpy().item()) < 1e-2
    assert abs(rule.slots["z"]["x"].numpy().item()) > 0.1


def test_the_trainer_evaluates_at_x_and_trains_at_y():
    tf.random.set_seed(0)
    model = layers.Sequential([layers.Dense(2, 3, activation="tanh"), layers.Dense(3, 2)])
    inputs = random((24, 2)).astype("float32")
    pipeline = data.Pipeline(data.Arrays(inputs, (inputs[:, 0] > 0).astype("int32")), 8)
    rule = optim.chain(optim.clip_by_global_norm(1.0), optim.ScheduleFreeAdamW(0.1))
    trainer = engine.Trainer(
        model, "sparse_categorical_crossentropy", rule, average=optim.EvaluationWeights(rule), steps_per_loop=6
    )
    trainer.fit(pipeline, epochs=2)
    variables = engine.variable_paths(model)
    at_y = {path: v.numpy() for path, v in variables.items()}
    with trainer.averaged():
        for path, variable in variables.items():
            np.testing.assert_array_equal(variable, rule.slots["x"][path])
    for path, variable in variables.items():
        np.testing.assert_array_equal(variable, at_y[path])
        assert np.any(at_y[path] != rule.slots["x"][path].numpy())


def test_the_averages_are_the_slots_and_what_has_none_is_named():
    rule, variables = optim.ScheduleFreeSGD(), model()
    with pytest.raises(ValueError, match=r"^EvaluationWeights.init: the rule has no slots 'x'"):
        optim.EvaluationWeights(rule).init(variables)
    with pytest.raises(ValueError, match=r"has no slots 'x'"):
        optim.EvaluationWeights(optim.SGD()).init(variables)
    rule.init(variables)
    rule.apply(gradients_like(variables), variables)
    average = optim.EvaluationWeights(rule)
    average.init({**variables, "norm.moving_mean": tf.Variable([0.0])})
    assert {path: id(v) for path, v in average.averages.items()} == {p: id(v) for p, v in rule.slots["x"].items()}
    # An average of no updates would be begun anew.
    assert average.updates.numpy() == 1


@pytest.mark.parametrize("make", [optim.ScheduleFreeSGD, optim.ScheduleFreeAdamW])
def test_a_variable_thawed_late_starts_where_it_is_and_averages_its_own_steps(make):
    kernel, bias, rule = tf.Variable([1.0, 2.0]), tf.Variable([0.0]), make(0.5)
    rule.init({"kernel": kernel, "bias": bias})
    # Loaded after `init`.
    bias.assign([100.0])
    for _ in range(3):
        rule.apply([tf.ones([2])], [kernel])
        assert rule.slots["x"]["bias"].numpy().tolist() == [100.0]
    moved = []
    for _ in range(2):
        rule.apply([tf.ones([1])], [bias])
        moved.append(rule.slots["z"]["bias"].numpy())
    assert 90.0 < moved[1][0] < moved[0][0] < 100.0
    weights = [1.0, 1.0] if make is optim.ScheduleFreeSGD else [1 - 0.999**4, 1 - 0.999**5]
    np.testing.assert_allclose(rule.slots["x"]["bias"], np.average(moved, axis=0, weights=weights), rtol=1e-6)
