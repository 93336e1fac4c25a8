"""What a rule remembers: through checkpoints, skipped steps, branches, frozen variables and replicas."""

import numpy as np
import pytest
import tensorflow as tf
from rule_cases import assert_bit_equal, every_rule, gradients_like, random, ready, state

import optim
from optim.rule import newest


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
def test_where_an_update_does_not_count_the_slots_that_it_returns_stay(case):
    rule, variables = ready(case)
    rule.apply(gradients_like(variables, 1), variables)
    before = {id(variable): variable.numpy() for variable in rule.variables}
    for gradients in (gradients_like(variables, 2), [v * np.nan for v in variables.values()]):
        chosen = rule.apply(gradients, variables, where=tf.constant(False))
        assert_bit_equal([variable.numpy() for variable in chosen], [before[id(variable)] for variable in chosen])


@every_rule
def test_an_update_that_counts_is_the_one_that_is_not_asked(case):
    rule, variables = ready(case)
    straight, others = ready(case)
    for seed in range(2):
        rule.apply(gradients_like(variables, seed), variables, where=tf.constant(True))
        assert straight.apply(gradients_like(others, seed), others) is None
    assert_bit_equal(state(rule, variables), state(straight, others))


CHOOSING = {
    "SGD": lambda: optim.SGD(0.1, 0.9),
    "Adagrad": optim.Adagrad,
    "RMSprop": lambda: optim.RMSprop(0.1, momentum=0.9, centered=True),
    "Adam": lambda: optim.Adam(amsgrad=True),
    "AdamW": optim.AdamW,
    "Nadam": optim.Nadam,
    "RAdam": optim.RAdam,
    "chain": lambda: optim.chain(optim.clip_by_global_norm(1.0), optim.Adam()),
    "Partition": lambda: optim.Partition({"*.bias": optim.SGD(0.1, 0.9), "*": optim.Adam()}),
    "Lookahead": lambda: optim.Lookahead(optim.Adam()),
}


class Deaf(optim.Adagrad):
    """Says that it chooses, and returns something else."""

    chooses = True

    def formula(self, gradient, variable, accumulator, *, learning_rate, epsilon, choose=newest):
        (kept,) = choose([accumulator + 1.0], [accumulator])
        return variable - kept, accumulator + 2.0


class Elsewhere(optim.SGD):
    """Its `apply` is of another form."""

    def apply(self, gradients, variables):
        super().apply(gradients, variables)


@pytest.mark.parametrize(
    "make",
    [
        Deaf,
        lambda: optim.chain(optim.clip_by_value(9.0), Elsewhere(0.1, 0.9)),
        lambda: optim.Partition({"*": Elsewhere(0.1, 0.9)}),
        lambda: optim.Lookahead(Elsewhere(0.1, 0.9)),
    ],
)
def test_only_slots_that_were_chosen_are_returned(make):
    rule, variable = make(), tf.Variable([1.0])
    rule.init({"x": variable})
    assert rule.apply([tf.constant([1.0])], {"x": variable}, where=tf.constant(False)) == []
    assert rule.apply([tf.constant([1.0])], {"x": variable}) is None


def test_rows_of_a_gradient_are_chosen_where_the_rule_goes_by_all_of_them():
    rows = tf.IndexedSlices(tf.ones([1, 2]), tf.constant([1]), tf.constant([3, 2]))
    for rule, count in ((optim.Adam(), 2), (optim.Adagrad(), 0)):
        variable = tf.Variable(tf.ones([3, 2]))
        rule.init([variable])
        assert len(rule.apply([rows], [variable], where=tf.constant(True))) == count


def test_a_rule_made_of_one_that_chooses_needs_not_choose():
    class Halved(optim.Adam):
        def update(self, path, gradient, variable, *slots, alpha, rate_1, rate_2, epsilon):
            return variable - 0.5 * gradient, *slots

    rule, variable = Halved(), tf.Variable([1.0])
    rule.init([variable])
    assert rule.apply([tf.constant([1.0])], [variable], where=tf.constant(True)) == []
    assert variable.numpy() == 0.5


@pytest.mark.parametrize("make", CHOOSING.values(), ids=CHOOSING)
def test_these_rules_choose_all_their_slots(make):
    rule = make()
    variables = {"kernel": tf.Variable([[1.0, 2.0]]), "a.bias": tf.Variable([3.0])}
    rule.init(variables)
    gradients = [tf.ones_like(variable) for variable in variables.values()]
    chosen = rule.apply(gradients, variables, where=tf.constant(True))
    slots = rule.rule.slots if isinstance(rule, optim.Lookahead) else rule.slots
    assert {id(v) for v in chosen} == {id(v) for named in slots.values() for v in named.values()}


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
