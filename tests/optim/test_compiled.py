"""Large updates go through XLA: the same numbers, in a graph, in a branch, on replicas, with slices beside them."""

import numpy as np
import pytest
import rule_cases
import tensorflow as tf

import optim
from optim import compiled

COMPILED = [case for case in rule_cases.CASES if case.build is None and case.rule.compiles]


def updated(case, updates=3):
    """What a rule makes of three variables, one of float64, one with slices for a gradient."""
    random = np.random.default_rng(0)
    made = [random.normal(size=shape) for shape in ((5, 3), (3,), (6, 2))]
    variables = {
        name: tf.Variable(value, dtype=dtype)
        for name, value, dtype in zip(("kernel", "bias", "rows"), made, ("float32", "float64", "float32"), strict=True)
    }
    rule = case.make()
    rule.init(variables)
    slices = tf.IndexedSlices(
        tf.constant(random.normal(size=(3, 2)), tf.float32), tf.constant([4, 0, 4]), tf.constant([6, 2])
    )
    gradients = [tf.constant(np.cos(made[0]), tf.float32), tf.constant(np.sin(made[1]), tf.float64), slices]

    @tf.function(autograph=False)
    def run(wanted):
        def update():
            rule.apply(gradients, variables)
            return 0

        return tf.cond(wanted, update, lambda: 1)

    for number in range(updates):
        run(tf.constant(True))
        run(tf.constant(number < 0))
    assert int(rule.step) == updates
    return [*variables.values(), *rule.variables], run


def uses_xla(run):
    graph = run.get_concrete_function(tf.constant(True)).graph.as_graph_def()
    return any(function.attr["_XlaMustCompile"].b for function in graph.library.function)


@pytest.mark.parametrize("case", COMPILED, ids=str)
def test_a_compiled_update_has_the_numbers_of_a_plain_one(case, monkeypatch):
    plain, run = updated(case)
    assert not uses_xla(run)
    monkeypatch.setattr(compiled, "_ENOUGH", 0)
    found, run = updated(case)
    assert uses_xla(run)
    for one, other in zip(found, plain, strict=True):
        # XLA fuses products and sums; three updates of float32 numbers near 1 are a few units off.
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6 if one.dtype == tf.float32 else 1e-12)


def test_a_million_numbers_are_compiled_and_fewer_are_not():
    for rows, expected in ((512, False), (1024, True)):
        x = tf.Variable(tf.ones([rows, 1024]))
        rule = optim.SGD(0.5)
        rule.init([x])
        run = tf.function(lambda wanted, rule=rule, x=x: rule.apply([x], [x]), autograph=False)
        run(tf.constant(True))
        assert uses_xla(run) is expected
        np.testing.assert_array_equal(x, 0.5)
        rule.apply([x], [x])
        np.testing.assert_array_equal(x, 0.25)


def test_each_replica_updates_its_own_copy(monkeypatch):
    monkeypatch.setattr(compiled, "_ENOUGH", 0)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice())
    with strategy.scope():
        x = tf.Variable([1.0, 2.0], aggregation=tf.VariableAggregation.NONE)
        rule = optim.Adam(0.1)
        rule.init({"x": x})
    gradient = tf.constant([1.0, -1.0])
    run = tf.function(lambda: strategy.run(lambda: rule.apply([gradient], [x])), autograph=False)
    alone, other = tf.Variable([1.0, 2.0]), optim.Adam(0.1)
    other.init({"x": alone})
    for _ in range(3):
        run()
        other.apply([gradient], [alone])
    for copy in strategy.experimental_local_results(x):
        np.testing.assert_allclose(copy, alone, rtol=1e-6)
