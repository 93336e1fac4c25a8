"""One suite of laws for every rule that `optim` exports; a new rule joins by being exported."""

import dataclasses
import functools
import inspect

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import optim
from optim.domain import ABOVE_0, BELOW_1

ORACLES = {optim.SGD: oracles.sgd, optim.Adam: oracles.adam, optim.AdamW: oracles.adamw}

# Exact in binary, so that Keras, which takes numbers through float32, computes with the same ones.
EXACT = {
    "learning_rate": 2**-7,
    "momentum": 0.875,
    "beta_1": 0.875,
    "beta_2": 1 - 2**-10,
    "epsilon": 2**-23,
    "weight_decay": 2**-5,
}
RANGES = {
    "learning_rate": st.floats(1e-4, 1.0),
    "momentum": st.floats(0.0, 0.99),
    "beta_1": st.floats(0.0, 0.99),
    "beta_2": st.floats(0.0, 0.9999),
    "epsilon": st.floats(1e-8, 1e-2),
    "weight_decay": st.floats(0.0, 0.1),
}
SHAPES = {"dense.kernel": (3, 2), "dense.bias": (2,)}
STEPS = 50


@dataclasses.dataclass(frozen=True)
class Case:
    """A rule, the hyper-parameters that are set, its other options, and a rate that suits Rosenbrock."""

    rule: type
    names: tuple[str, ...]
    rate: float
    options: tuple = ()

    def make(self, **settings):
        return self.rule(**{n: EXACT[n] for n in self.names} | dict(self.options) | settings)

    def __str__(self):
        return "-".join([self.rule.__name__, *self.names[1:2], *dict(self.options)])


ADAM = ("learning_rate", "beta_1", "beta_2", "epsilon")
CASES = [
    Case(optim.SGD, ("learning_rate",), 1e-3),
    Case(optim.SGD, ("learning_rate", "momentum"), 5e-4),
    Case(optim.SGD, ("learning_rate", "momentum"), 5e-4, (("nesterov", True),)),
    Case(optim.Adam, ADAM, 2e-2),
    Case(optim.AdamW, (*ADAM, "weight_decay"), 2e-2),
]
every_rule = pytest.mark.parametrize("case", CASES, ids=str)


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


@functools.cache
def trajectory(case):
    """STEPS updates in one compiled loop, each with its own row of hyper-parameters, from a fresh state."""
    table = tf.Variable(tf.zeros([STEPS, len(case.names)], tf.float64))
    schedules = {name: lambda step, i=i: tf.gather(table, step)[i] for i, name in enumerate(case.names)}
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


def test_every_exported_rule_has_an_oracle_and_a_case():
    exported = {
        member
        for member in map(optim.__dict__.get, optim.__all__)
        if inspect.isclass(member) and issubclass(member, optim.Rule) and member is not optim.Rule
    }
    assert exported == set(ORACLES) == {case.rule for case in CASES}


@every_rule
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_follows_the_paper_with_any_schedule_of_every_hyper_parameter(case, data, seed):
    hyper = data.draw(hyper_parameters(case.names))
    gradients = {path: random((STEPS, *shape), seed) for path, shape in SHAPES.items()}
    found = trajectory(case)({p: tf.constant(g) for p, g in gradients.items()}, tf.constant(hyper))
    rows = [dict(zip(case.names, row, strict=True)) for row in hyper]
    for path, start in model().items():
        expected = list(ORACLES[case.rule](path, start.numpy(), gradients[path], rows, **dict(case.options)))
        # 50 steps, each with a handful of roundings of numbers up to about 1e3.
        np.testing.assert_allclose(found[path], expected, rtol=1e-12, atol=1e-11)


@every_rule
def test_xla_equals_graph_for_dense_gradients_and_slices(case):
    ends = []
    for jit_compile in (False, True):
        rule, variables = ready(case)
        step = tf.function(rule.apply, jit_compile=jit_compile)
        for seed in range(5):
            kernel, bias = random((3, 2), seed), random(2, seed)
            step([tf.IndexedSlices(tf.constant(kernel), tf.constant([2, 0, 2])), bias], [*variables.values()])
        ends.append(state(rule, variables))
    for graph, compiled in zip(*ends, strict=True):
        # XLA rounds a product and a sum once, not twice; 5 steps.
        np.testing.assert_allclose(compiled, graph, rtol=1e-14, atol=1e-15)


@every_rule
def test_follows_keras(case):
    rule, variables = ready(case)
    twins = [keras.Variable(v.numpy(), dtype="float64", name=p.split(".")[1]) for p, v in variables.items()]
    peer = getattr(keras.optimizers, case.rule.__name__)(
        **{name: EXACT[name] for name in case.names}, **dict(case.options)
    )
    peer.exclude_from_weight_decay(var_names=["bias"])
    peer.build(twins)

    @tf.function
    def step(gradients):
        rule.apply(gradients, variables)
        peer.apply(gradients, twins)

    for i in range(100):
        step(gradients_like(variables, seed=i))
        if i % 10 == 9:
            for ours, theirs in zip(variables.values(), twins, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@every_rule
def test_finds_the_minima_of_a_parabola_and_of_rosenbrock_in_both_precisions(case):
    goal = {"weight_decay": 0.0} if "weight_decay" in case.names else {}
    rule = case.make(learning_rate=optim.schedules.cosine(case.rate, 20_000, alpha=0.01), **goal)
    variables = [tf.Variable([-1.2, 1.0, 3.0], dtype=dtype) for dtype in (tf.float32, tf.float64)]
    rule.init(variables)

    def loss(x):
        return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2 + (x[2] + 2.0) ** 2

    @tf.function(jit_compile=True)
    def descend():
        for _ in tf.range(20_000):
            with tf.GradientTape() as tape:
                losses = [loss(x) for x in variables]
            rule.apply(tape.gradient(losses, variables), variables)

    descend()
    for x in variables:
        # Where the valley of Rosenbrock is flat, a rule without momentum is still on its way.
        np.testing.assert_allclose(x, [1.0, 1.0, -2.0], atol=2e-2)


@every_rule
def test_init_makes_all_state_named_after_the_variables(case):
    rule, variables = ready(case)
    made = [v.ref() for v in rule.variables]
    rule.apply(gradients_like(variables), variables)
    assert [v.ref() for v in rule.variables] == made
    assert not {v.ref() for v in variables.values()} & set(made)
    assert rule.trainable_variables == ()
    for name in rule.slot_names:
        for path, variable in variables.items():
            slot = rule.slots[name][path]
            assert (slot.shape, slot.dtype) == (variable.shape, variable.dtype)
            assert slot.name == f"{name}/{path}:0"


@every_rule
def test_a_moving_schedule_does_not_retrace_and_value_follows_it(case):
    rule, variables = ready(case, learning_rate=optim.schedules.polynomial(1.0, 4, end_value=0.0))
    step = tf.function(lambda gradients: rule.apply(gradients, variables))
    for expected in (1.0, 0.75, 0.5, 0.25):
        assert rule.value("learning_rate").numpy() == expected
        step(gradients_like(variables))
    assert step.experimental_get_tracing_count() == 1
    assert rule.step.numpy() == 4


@every_rule
def test_float64_meets_no_float32_on_its_way(case):
    rule, variables = ready(case)
    graph = tf.function(rule.apply).get_concrete_function(gradients_like(variables), [*variables.values()]).graph
    dtypes = {tensor.dtype for op in graph.get_operations() for tensor in op.outputs}
    assert dtypes <= {tf.float64, tf.int64, tf.int32, tf.resource}


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
    decay = EXACT["learning_rate"] * EXACT["weight_decay"] if "weight_decay" in case.names else 0.0
    np.testing.assert_array_equal(variables["dense.bias"], before["dense.bias"])
    # One product and one difference, each rounded.
    np.testing.assert_allclose(variables["dense.kernel"], before["dense.kernel"] * (1 - decay), rtol=4e-16)


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


@functools.cache
def table_pair(case):
    """Two equal tables of 4 rows, one to take slices and one to take dense gradients, traced once."""
    pair = []
    for _ in range(2):
        rule, table = case.make(), tf.Variable(random((4, 3)), dtype=tf.float32)
        rule.init({"table": table})
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
def test_variables_left_out_keep_their_value_and_slots(case):
    rule, variables = ready(case)
    kernel, bias = variables.values()
    frozen = [bias, *(rule.slots[name]["dense.bias"] for name in rule.slot_names)]
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
    assert_bit_equal(state(rule, variables), state(plain, others))


@every_rule
def test_updates_mirrored_variables_inside_a_replica(case):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        rule, variables = ready(case)
    plain, others = ready(case)
    slices = tf.IndexedSlices(tf.constant(random((3, 2))), tf.constant([2, 0, 2]))
    gradients = [slices, tf.constant(random(2))]
    strategy.run(lambda: rule.apply(gradients, variables))
    plain.apply(gradients, others)
    assert_bit_equal(state(rule, variables), state(plain, others))


@every_rule
def test_init_again_changes_nothing_and_refuses_other_variables(case):
    rule, variables = ready(case)
    before = rule.variables
    rule.init(variables)
    assert [id(v) for v in rule.variables] == [id(v) for v in before]
    with pytest.raises(ValueError, match="called before with other variables"):
        rule.init(model())


@every_rule
def test_hyper_parameters_outside_their_domain_are_refused(case):
    for name, domain in case.rule.domains.items():
        for wrong in (float("nan"), float("inf"), -0.5):
            with pytest.raises(ValueError, match=rf"^{name} must be {domain.text}, got {wrong}$"):
                case.make(**{name: wrong})
        with pytest.raises(TypeError, match=rf"^{name} must be {domain.text}, got 'fast'$"):
            case.make(**{name: "fast"})
        for bound in {ABOVE_0: [0.0], BELOW_1: [1.0]}.get(domain, []):
            with pytest.raises(ValueError, match=rf"^{name} must be {domain.text}, got {bound}$"):
                case.make(**{name: bound})


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
