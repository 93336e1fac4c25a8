"""What a rule remembers: through checkpoints, skipped steps, branches, frozen variables and replicas."""

import numpy as np
import tensorflow as tf
from rule_cases import assert_bit_equal, every_rule, gradients_like, random, ready, state

import optim


@every_rule
def test_a_skipped_step_moves_the_schedule_and_nothing_else(case):
    schedule = optim.schedules.piecewise([0], [0.5, 0.25])
    skipped, variables = ready(case, learning_rate=schedule)
    straight, others = ready(case, learning_rate=0.25)
    skipped.step.assign_add(1)
    for seed in range(3):
        skipped.apply(gradients_like(variables, seed), variables)
        straight.apply(gradients_like(others, seed), others)
    straight.step.assign_add(1)
    assert_bit_equal(state(skipped, variables), state(straight, others))


@every_rule
def test_a_restored_run_continues_to_the_same_bits(case, tmp_path):
    rule, variables = ready(case)
    rule.apply(gradients_like(variables, 1), variables)
    path = tf.train.Checkpoint(rule=rule, model=variables).write(tmp_path / "state")
    resumed, copies = ready(case)
    tf.train.Checkpoint(rule=resumed, model=copies).read(path).assert_consumed()
    assert_bit_equal(state(resumed, copies), state(rule, variables))
    rule.apply(gradients_like(variables, 2), variables)
    resumed.apply(gradients_like(copies, 2), copies)
    assert_bit_equal(state(resumed, copies), state(rule, variables))


@every_rule
def test_variables_left_out_keep_their_value_and_slots(case):
    rule, variables = ready(case)
    kernel, bias = variables.values()
    frozen = [bias, *(slots["dense.bias"] for slots in rule.slots.values() if "dense.bias" in slots)]
    before = [v.numpy() for v in frozen]
    rule.apply(gradients_like(variables)[:1], [kernel])
    assert_bit_equal([v.numpy() for v in frozen], before)
    assert np.all(kernel.numpy() != random(kernel.shape))


@every_rule
def test_works_in_a_branch_that_may_not_be_taken(case):
    rule, variables = ready(case)
    gradients = gradients_like(variables)

    @tf.function
    def step(learn):
        if learn:
            rule.apply(gradients, variables)

    before = state(rule, variables)
    step(tf.constant(False))
    assert_bit_equal(state(rule, variables), before)
    step(tf.constant(True))
    plain, others = ready(case)
    plain.apply(gradients, others)
    for found, expected in zip(state(rule, variables), state(plain, others), strict=True):
        # In a graph x / √y may become x · (1 / √y), and three sums one.
        np.testing.assert_allclose(found, expected, rtol=1e-14)


@every_rule
def test_two_replicas_do_what_one_does(case):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        rule, variables = ready(case)
    plain, others = ready(case)
    slices = tf.IndexedSlices(tf.constant(random((3, 2))), tf.constant([2, 0, 2]))
    gradients = [slices, tf.constant(random(2))]
    strategy.run(lambda: rule.apply(gradients, variables))
    plain.apply(gradients, others)
    for replica in range(2):
        copies = [strategy.experimental_local_results(v)[replica] for v in (*variables.values(), *rule.variables)]
        assert_bit_equal([v.numpy() for v in copies], state(plain, others))
