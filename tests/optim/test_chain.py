"""A chain is a rule, whatever stands in front of it."""

import numpy as np
import pytest
import tensorflow as tf

import optim

SHAPES = {"kernel": (3, 2), "bias": (2,)}
CLIPS = (optim.clip_by_global_norm, optim.clip_by_norm, optim.clip_by_value)
every_clip = pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.__name__)
both_modes = pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])


def random(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def gradients(seed=1):
    return [tf.constant(random(shape, seed), tf.float32) for shape in SHAPES.values()]


def model():
    return {path: tf.Variable(random(shape), dtype=tf.float32) for path, shape in SHAPES.items()}


RULES = [lambda: optim.SGD(0.5), lambda: optim.SGD(0.5, momentum=0.875), lambda: optim.AdamW(0.125)]


@every_clip
@pytest.mark.parametrize("make", RULES, ids=["sgd", "momentum", "adamw"])
def test_a_limit_out_of_reach_leaves_the_rule_bit_for_bit(clip, make):
    ends = []
    for wrap in (lambda rule: rule, lambda rule: optim.chain(clip(1e30), rule)):
        rule, variables = wrap(make()), model()
        rule.init(variables)
        step = tf.function(lambda g, rule=rule, variables=variables: rule.apply(g, variables))
        for seed in range(3):
            values = tf.constant(random((3, 2), seed), tf.bfloat16)
            step([tf.IndexedSlices(values, tf.constant([2, 0, 2])), tf.constant(random(2, seed), tf.float64)])
        ends.append([v.numpy() for v in (*variables.values(), *rule.variables)])
    for plain, chained in zip(*ends, strict=True):
        np.testing.assert_array_equal(plain, chained)


def test_transforms_act_in_the_order_in_which_they_are_written():
    ends = []
    for clips in (
        (optim.clip_by_value(1.0), optim.clip_by_global_norm(1.0)),
        (optim.clip_by_global_norm(1.0), optim.clip_by_value(1.0)),
    ):
        rule, x = optim.chain(*clips, optim.SGD(1.0)), tf.Variable([0.0, 0.0], dtype=tf.float64)
        rule.init([x])
        rule.apply([tf.constant([3.0, 4.0], tf.float64)], [x])
        ends.append(x.numpy())
    np.testing.assert_allclose(ends[0], [-(0.5**0.5)] * 2, rtol=1e-15)
    np.testing.assert_allclose(ends[1], [-0.6, -0.8], rtol=1e-15)


def test_a_scheduled_limit_follows_the_step_of_the_rule_skipped_ones_included():
    limit = optim.schedules.piecewise([0, 2], [1.0, 2.0, 4.0])
    rule, x = optim.chain(optim.clip_by_norm(limit), optim.SGD(1.0)), tf.Variable([0.0])
    rule.init([x])
    step = tf.function(lambda: rule.apply([tf.constant([100.0])], [x]))
    seen = []
    for skip in (False, False, True, False):
        before = x.numpy()
        rule.step.assign_add(1) if skip else step()
        seen.append(float((before - x.numpy())[0]))
    assert seen == [1.0, 2.0, 0.0, 4.0]
    assert step.experimental_get_tracing_count() == 1


def test_a_chain_has_what_its_rule_has():
    inner, variables = optim.AdamW(optim.schedules.polynomial(1.0, 4, end_value=0.0)), model()
    rule = optim.chain(optim.clip_by_norm(1.0), inner)
    assert rule.step is None
    rule.init(variables)
    rule.init(variables)
    assert rule.step is inner.step
    assert list(rule.slots) == ["m", "v"]
    assert rule.slots["m"]["kernel"] is inner.slots["m"]["kernel"]
    assert {v.ref() for v in rule.variables} == {v.ref() for v in inner.variables}
    rule.apply(gradients(), variables)
    assert (float(rule.value("learning_rate")), int(rule.step)) == (0.75, 1)
    with pytest.raises(ValueError, match="AdamW has no hyper-parameter 'lr'"):
        rule.value("lr")


def test_a_chain_in_front_of_a_chain_is_one_chain():
    first, second, inner = optim.clip_by_value(1.0), optim.clip_by_norm(2.0), optim.SGD()
    rule = optim.chain(first, optim.chain(second, inner))
    assert (*rule.transforms, rule.rule) == (first, second, inner)
    assert repr(rule.transforms[1]) == "clip_by_norm(limit=2.0)"


class Counting(tf.Module):
    """A transform with state: adds how often it was called."""

    def init(self, variables):
        self.calls = tf.Variable(tf.zeros([]), trainable=False)
        self.paths = ",".join(variables)

    def __call__(self, gradients, variables):
        assert all(g.dtype == v.dtype for g, v in zip(gradients, variables, strict=True))
        self.calls.assign_add(1.0)
        return [g + self.calls for g in gradients]


def test_a_restored_chain_continues_to_the_same_bits_state_of_transforms_included(tmp_path):
    def ready():
        rule = optim.chain(Counting(), optim.clip_by_global_norm(3.0), optim.Adam(0.1))
        variables = model()
        rule.init(variables)
        return rule, variables, tf.function(lambda g: rule.apply(g, variables))

    rule, variables, step = ready()
    assert rule.transforms[0].paths == "kernel,bias"
    assert rule.transforms[0].calls.ref() in {v.ref() for v in rule.variables}
    step(gradients(1))
    path = tf.train.Checkpoint(rule=rule, model=variables).write(tmp_path / "state")
    resumed, copies, resumed_step = ready()
    tf.train.Checkpoint(rule=resumed, model=copies).read(path).assert_consumed()
    assert float(resumed.transforms[0].calls) == 1.0
    step(gradients(2))
    resumed_step(gradients(2))
    for a, b in zip((*variables.values(), *rule.variables), (*copies.values(), *resumed.variables), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_transform_that_takes_the_step_gets_that_of_the_rule():
    def fading(gradients, variables, step):
        return [g / tf.cast(step + 1, g.dtype) for g in gradients]

    rule, x = optim.chain(fading, optim.SGD(1.0)), tf.Variable(0.0)
    rule.init([x])
    for _ in range(3):
        rule.apply([tf.constant(6.0)], [x])
    assert x.numpy() == -(6.0 + 3.0 + 2.0)


@both_modes
@every_clip
def test_works_in_a_branch_that_may_not_be_taken(clip, jit_compile):
    rule, variables = optim.chain(clip(0.25), optim.SGD(1.0)), model()
    rule.init(variables)
    given_gradients, before = gradients(), [v.numpy() for v in variables.values()]

    @tf.function(jit_compile=jit_compile)
    def step(learn):
        tf.cond(learn, lambda: rule.apply(given_gradients, variables), lambda: None)

    step(tf.constant(False))
    for variable, start in zip(variables.values(), before, strict=True):
        np.testing.assert_array_equal(variable, start)
    step(tf.constant(True))
    for variable, start, g in zip(variables.values(), before, clip(0.25)(given_gradients, []), strict=True):
        np.testing.assert_allclose(variable, start - g, rtol=1e-6, atol=1e-7)


@every_clip
def test_updates_mirrored_variables_inside_a_replica(clip):
    strategy = tf.distribute.MirroredStrategy(
        [device.name for device in tf.config.list_logical_devices("CPU")],
        # TensorFlow's default collides with a strategy of another size in the same process.
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )
    with strategy.scope():
        mirrored, variables = optim.chain(clip(0.25), optim.AdamW(0.1)), model()
        mirrored.init(variables)
    plain, others = optim.chain(clip(0.25), optim.AdamW(0.1)), model()
    plain.init(others)
    slices = [tf.IndexedSlices(tf.constant(random((3, 2)), tf.float32), tf.constant([2, 0, 2])), gradients()[1]]
    strategy.run(tf.function(lambda: mirrored.apply(slices, variables)))
    plain.apply(slices, others)
    for variable, other in zip(variables.values(), others.values(), strict=True):
        for end in strategy.experimental_local_results(variable):
            np.testing.assert_allclose(end, other, rtol=1e-6)


def test_mistakes_are_the_rules_own_and_come_before_a_transform_runs():
    counting, variables = Counting(), model()
    rule = optim.chain(counting, optim.clip_by_norm(1.0), optim.SGD())
    with pytest.raises(ValueError, match=r"^SGD\.apply: variable .* is unknown; give init every variable first"):
        rule.apply(gradients(), variables)
    rule.init(variables)
    good, before = gradients(), [v.numpy() for v in variables.values()]
    for match, wrong, some in [
        (r"the gradient of bias is None", [good[0], None], variables),
        (r"got 1 gradients for 2 variables", good[:1], variables),
        (r"bias must have shape \(2,\), got \(\)", [good[0], tf.constant(1.0)], variables),
        (r"variable 'stray:0' of shape \(2,\) is unknown", good[1:], [tf.Variable([1.0, 2.0], name="stray")]),
    ]:
        with pytest.raises(ValueError, match=rf"^SGD\.apply: .*{match}"):
            rule.apply(wrong, some)
    with pytest.raises(ValueError, match=r"^SGD\.init: called before with other variables"):
        rule.init(model())
    assert float(counting.calls) == 0
    for variable, start in zip(variables.values(), before, strict=True):
        np.testing.assert_array_equal(variable, start)


@pytest.mark.parametrize(("returned", "found"), [(None, "None"), ([1.0], "1")])
def test_a_transform_that_returns_no_list_of_gradients_is_named(returned, found):
    def forgetful(gradients, variables):
        return returned

    rule, variables = optim.chain(forgetful, optim.SGD()), model()
    rule.init(variables)
    with pytest.raises(ValueError, match=rf"forgetful.* must return a list of 2 gradients, got {found}$"):
        rule.apply(gradients(), variables)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ((), r"the last argument must be a rule, such as optim\.SGD\(\), got no argument"),
        ((optim.clip_by_norm(1.0),), r"the last argument must be a rule, .*, got clip_by_norm\(limit=1\.0\)"),
        ((optim.SGD(), optim.clip_by_norm(1.0)), r"the last argument must be a rule, .*, got clip_by_norm"),
        ((optim.SGD(), optim.Adam()), r"argument 0, SGD, is a rule; only the last may be"),
        ((optim.chain(optim.SGD()), optim.Adam()), r"argument 0, Chain, is a rule; only the last may be"),
        ((optim.clip_by_norm(1.0), optim.SGD), r"argument 1 is the class SGD; write SGD\(…\)"),
        ((optim.clip_by_norm, optim.SGD()), r"argument 0 is the class clip_by_norm; write clip_by_norm\(…\)"),
        ((1.0, optim.SGD()), r"argument 0 must be a gradient transform, got 1\.0"),
    ],
)
def test_a_chain_of_the_wrong_parts_is_refused_by_name(parts, reason):
    with pytest.raises(TypeError, match=f"^chain: {reason}"):
        optim.chain(*parts)
