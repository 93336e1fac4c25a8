"""One suite of laws for every rule that `optim` exports; a new rule joins by being exported."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_cases import assert_bit_equal, every_rule, gradients_like, model, random, ready, state

import optim
from optim.domain import ABOVE_0, BELOW_0, BELOW_1, FROM_0, TO_0
from optim.lookahead import SHARE


@every_rule
def test_init_makes_all_state_named_after_the_variables(case):
    rule, variables = ready(case)
    made = [v.ref() for v in rule.variables]
    rule.apply(gradients_like(variables), variables)
    assert [v.ref() for v in rule.variables] == made
    assert not {v.ref() for v in variables.values()} & set(made)
    assert rule.trainable_variables == ()
    for name, slots in rule.slots.items():
        assert set(slots) <= set(variables)
        for path, slot in slots.items():
            assert slot.dtype == variables[path].dtype
            assert slot.name == f"{name}/{path}:0"


@every_rule
def test_a_moving_schedule_does_not_retrace_and_float64_meets_no_float32_on_its_way(case):
    rule, variables = ready(case, learning_rate=optim.schedules.polynomial(1.0, 4, end_value=0.0))
    step = tf.function(lambda gradients: rule.apply(gradients, variables))
    for expected in (1.0, 0.75, 0.5, 0.25):
        assert rule.value("learning_rate").numpy() == expected
        step(gradients_like(variables))
    assert step.experimental_get_tracing_count() == 1
    assert rule.step.numpy() == 4
    graph = step.get_concrete_function(gradients_like(variables)).graph
    dtypes = {tensor.dtype for op in operations(graph) for tensor in op.outputs}
    assert dtypes <= {tf.float64, tf.int64, tf.int32, tf.bool, tf.resource}


def operations(graph):
    """Those of a graph and of its branches."""
    yield from graph.get_operations()
    for op in graph.get_operations():
        for branch in ("then_branch", "else_branch"):
            if op.type in ("If", "StatelessIf"):
                yield from operations(op.graph._get_function(op.get_attr(branch).name).graph)


@every_rule
@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float32], ids=lambda dtype: dtype.name)
def test_lower_precision_keeps_the_dtypes_and_takes_gradients_of_any(case, dtype):
    rule, variables = ready(case, dtype)
    rule.apply([tf.cast(g, tf.bfloat16) for g in gradients_like(variables)], variables)
    slots = [slot for named in rule.slots.values() for slot in named.values()]
    assert {v.dtype for v in (*variables.values(), *slots)} == {dtype}


@every_rule
def test_a_zero_gradient_moves_only_what_decays(case):
    rule, variables = ready(case)
    before = {path: v.numpy() for path, v in variables.items()}
    rule.apply([tf.zeros_like(v) for v in variables.values()], variables)
    # FTRL knows no start: a variable is what the gradients make of it.
    np.testing.assert_array_equal(variables["dense.bias"], before["dense.bias"] * (case.rest != 0))
    # A few products and differences, each rounded.
    np.testing.assert_allclose(variables["dense.kernel"], before["dense.kernel"] * case.rest, rtol=1e-15)


@functools.cache
def table_pair(case):
    """Two equal tables of 4 rows, one to take slices and one to take dense gradients, traced once."""
    pair = []
    for _ in range(2):
        rule, table = case.make(), tf.Variable(random((4, 3)), dtype=tf.float32)
        rule.init({"table.kernel": table, "table.bias": tf.Variable([0.0])})
        pair.append((rule, table))
    (sparse_rule, sparse), (dense_rule, dense) = pair

    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([None], tf.int64)])
    def by_slices(values, rows):
        sparse_rule.apply([tf.IndexedSlices(values, rows)], [sparse])

    @tf.function(input_signature=[tf.TensorSpec([4, 3])])
    def by_dense(gradient):
        dense_rule.apply([gradient], [dense])

    return by_slices, by_dense, lambda: (state(sparse_rule, {"": sparse}), state(dense_rule, {"": dense}))


@every_rule
@settings(max_examples=10)
@given(rows=st.lists(st.integers(0, 3), max_size=12))
def test_slices_with_duplicate_rows_update_as_their_dense_sum_does(case, rows):
    by_slices, by_dense, states = table_pair(case)
    values = random((len(rows), 3), len(rows)).astype("float32")
    dense = np.zeros((4, 3), "float32")
    np.add.at(dense, rows, values)
    by_slices(values, np.array(rows, "int64"))
    by_dense(dense)
    assert_bit_equal(*states())


@every_rule
def test_init_again_changes_nothing_and_refuses_other_variables(case):
    rule, variables = ready(case)
    before = rule.variables
    rule.init(variables)
    assert [id(v) for v in rule.variables] == [id(v) for v in before]
    with pytest.raises(ValueError, match="called before with other variables"):
        rule.init(model())


BEYOND = {
    ABOVE_0: [0.0, -0.5],
    FROM_0: [-0.5],
    BELOW_1: [1.0, -0.5],
    BELOW_0: [0.0, 0.5],
    TO_0: [0.5],
    SHARE: [0.0, 1.5],
}


@every_rule
def test_hyper_parameters_outside_their_domain_are_refused(case):
    domains = case.make().domains
    assert set(case.names) <= set(domains)
    for name in case.names:
        text = domains[name].text
        for wrong in (float("nan"), float("inf"), *BEYOND[domains[name]]):
            with pytest.raises(ValueError, match=rf"^{name} must be {text}, got {wrong}$"):
                case.make(**{name: wrong})
        with pytest.raises(TypeError, match=rf"^{name} must be {text}, got 'fast'$"):
            case.make(**{name: "fast"})


@every_rule
def test_mistakes_are_named_before_anything_changes(case):
    rule, variables = ready(case)
    good = gradients_like(variables)
    wide = tf.IndexedSlices(tf.zeros([1, 3]), [0])
    before = state(rule, variables)
    for match, gradients, some in [
        (r"the gradient of dense\.bias is None", [good[0], None], variables),
        (r"got 1 gradients for 2 variables", good[:1], variables),
        (r"dense\.bias must have shape \(2,\), got \(\)", [good[0], tf.constant(1.0)], variables),
        (r"dense\.kernel must have shape \(2,\), got \(3,\)", [wide, good[1]], variables),
        (r"variable 'stray:0' of shape \(2,\) is unknown", good[1:], [tf.Variable([1.0, 2.0], name="stray")]),
    ]:
        with pytest.raises(ValueError, match=rf"^{case.rule.__name__}\.apply: .*{match}"):
            rule.apply(gradients, some)
    with pytest.raises(ValueError, match="no hyper-parameter 'lr', only learning_rate, "):
        rule.value("lr")
    assert_bit_equal(state(rule, variables), before)


@every_rule
def test_init_refuses_what_it_cannot_update(case):
    x = tf.Variable([1.0])
    with pytest.raises(ValueError, match="a is b again"):
        case.make().init({"a": x, "b": x})
    with pytest.raises(ValueError, match="count must be of floats, got int32"):
        case.make().init({"count": tf.Variable([1])})
    with pytest.raises(ValueError, match="call init first"):
        case.make().value("learning_rate")


def test_a_plain_sequence_is_named_by_position():
    rule = optim.Adam()
    rule.init([tf.Variable(1.0), tf.Variable([2.0])])
    assert list(rule.slots["m"]) == ["0", "1"]
