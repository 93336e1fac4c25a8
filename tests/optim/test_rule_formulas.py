"""Every rule is its paper's, whatever its hyper-parameters do, and finds minima."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_cases import CASES, FTRL, RANGES, SHAPES, every_rule, exported, model, random, ready, state

import optim

STEPS = 50


def test_every_exported_rule_has_a_case():
    assert exported() == {case.rule for case in CASES}


def scheduled(case):
    """The hyper-parameters that are free: an option may hold one of them."""
    return [name for name in case.names if name not in dict(case.options)]


@functools.cache
def trajectory(case):
    """STEPS updates in one compiled loop, each with its own row of hyper-parameters, from a fresh state."""
    names = scheduled(case)
    table = tf.Variable(tf.zeros([STEPS, len(names)], tf.float64))
    schedules = {name: lambda step, i=i: tf.gather(table, step)[i] for i, name in enumerate(names)}
    rule, variables = ready(case, **schedules)
    fresh = [(v, tf.constant(v.numpy())) for v in (*variables.values(), *rule.variables)]

    @tf.function(autograph=False)
    def run(gradients, hyper):
        table.assign(hyper)
        for variable, value in fresh:
            variable.assign(value)

        def body(i, seen):
            rule.apply([gradients[path][i] for path in variables], variables)
            return i + 1, {path: seen[path].write(i, variables[path]) for path in variables}

        seen = {path: tf.TensorArray(tf.float64, STEPS) for path in variables}
        _, seen = tf.while_loop(lambda i, _: i < STEPS, body, (0, seen))
        return {path: seen[path].stack() for path in variables}

    return run


@st.composite
def hyper_parameters(draw, names):
    """One row for each step; each hyper-parameter moves on a line between two drawn numbers."""
    ends = [(draw(RANGES[name]), draw(RANGES[name])) for name in names]
    return np.stack([np.linspace(*pair, STEPS) for pair in ends], axis=1)


@every_rule
@settings(max_examples=10)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_follows_the_paper_with_any_schedule_of_every_hyper_parameter(case, data, seed):
    names, options = scheduled(case), dict(case.options)
    hyper = data.draw(hyper_parameters(names))
    gradients = {path: random((STEPS, *shape), seed) for path, shape in SHAPES.items()}
    found = trajectory(case)({p: tf.constant(g) for p, g in gradients.items()}, tf.constant(hyper))
    fixed = {name: options.pop(name) for name in case.names if name in options}
    rows = [dict(zip(names, row, strict=True)) | fixed for row in hyper]
    for path, start in model().items():
        expected = list(case.oracle(path, start.numpy(), gradients[path], rows, **options))
        # 50 steps, each with a handful of roundings of numbers up to about 1e3.
        np.testing.assert_allclose(found[path], expected, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("case", [case for case in CASES if case.rate], ids=str)
def test_finds_the_minima_of_a_parabola_and_of_rosenbrock_in_both_precisions(case):
    goal = {name: 0.0 for name in case.names if name in ("weight_decay", *FTRL[1:4], "beta")}
    # FTRL's variables follow from all gradients and the present rate: a rate that falls takes all back.
    rate = case.rate if case.rule is optim.Ftrl else optim.schedules.cosine(case.rate, 20_000, alpha=0.01)
    rule = case.make(learning_rate=rate, **goal)
    variables = [tf.Variable([[-1.2], [1.0], [3.0]], dtype=dtype) for dtype in (tf.float32, tf.float64)]
    rule.init(dict(zip(("float32.bias", "float64.kernel"), variables, strict=True)))

    def loss(x):
        x, y, z = tf.unstack(x[:, 0])
        return 100.0 * (y - x**2) ** 2 + (1.0 - x) ** 2 + (z + 2.0) ** 2

    @tf.function(jit_compile=True)
    def descend():
        for _ in tf.range(20_000):
            with tf.GradientTape() as tape:
                losses = [loss(x) for x in variables]
            rule.apply(tape.gradient(losses, variables), variables)

    descend()
    for x in variables:
        # Where the valley of Rosenbrock is flat, a rule without momentum is still on its way.
        np.testing.assert_allclose(x, [[1.0], [1.0], [-2.0]], atol=2e-2)


@functools.cache
def updated(jit_compile):
    """For every case, all values after a few updates by slices and a dense gradient; compiled in one function."""
    made = {case: ready(case) for case in CASES}

    @tf.function(jit_compile=jit_compile)
    def step(kernel, bias):
        for rule, variables in made.values():
            rule.apply([tf.IndexedSlices(kernel, tf.constant([2, 0, 2])), bias], variables)

    for seed in range(4):
        step(tf.constant(random((3, 2), seed)), tf.constant(random(2, seed)))
    return {case: state(*both) for case, both in made.items()}


@every_rule
def test_xla_equals_graph_for_dense_gradients_and_slices(case):
    for graph, compiled in zip(updated(False)[case], updated(True)[case], strict=True):
        # XLA rounds a product and a sum once, not twice; 4 steps.
        np.testing.assert_allclose(compiled, graph, rtol=1e-14, atol=1e-15)
