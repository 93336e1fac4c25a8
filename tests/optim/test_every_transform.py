"""The laws of every exported gradient transform; what each computes is tested by itself."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import optim

decay = optim.schedules.exponential
# Each with a schedule for what it takes, if it takes anything; limits that cut.
TRANSFORMS = {
    "add_decayed_weights": lambda: optim.add_decayed_weights(decay(0.5, 2, 0.5)),
    "add_noise": lambda: optim.add_noise(decay(0.5, 2, 0.5), seed=3),
    "agc": lambda: optim.agc(decay(0.5, 2, 0.5), mask=lambda path: path != "head"),
    "centralize": optim.centralize,
    "clip_by_global_norm": lambda: optim.clip_by_global_norm(decay(0.5, 2, 0.5)),
    "clip_by_norm": lambda: optim.clip_by_norm(decay(0.5, 2, 0.5)),
    "clip_by_value": lambda: optim.clip_by_value(decay(0.5, 2, 0.5)),
}
RULES = {"momentum": lambda: optim.SGD(0.1, momentum=0.5), "adamw": lambda: optim.AdamW(0.1)}
SHAPES = {"conv.kernel": (2, 2, 2, 3), "table": (4, 3), "conv.bias": (3,), "scale": (), "head": (3, 2)}
every_transform = pytest.mark.parametrize("make", TRANSFORMS.values(), ids=TRANSFORMS)


def random(shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def model(dtype=tf.float32):
    return {path: tf.Variable(random(shape), dtype=dtype) for path, shape in SHAPES.items()}


def gradients(seed=1, dtype=tf.float32, sparse=False):
    """Of each variable; `sparse`: the table's as slices, two of them of one row."""
    found = [tf.constant(random(shape, seed), dtype) for shape in SHAPES.values()]
    rows = tf.constant([2, 0, 2])
    slices = tf.IndexedSlices(tf.gather(found[1], [0, 1, 3]), rows, tf.constant([4, 3]))
    found[1] = slices if sparse else tf.math.unsorted_segment_sum(slices.values, rows, 4)
    return found


@functools.cache
def prepared(name, dtype=tf.float32, jit_compile=False, sparse=False):
    """A transform that knows the model's paths, compiled: of a seed and a step."""
    transform, variables = TRANSFORMS[name](), model(dtype)
    if hasattr(transform, "init"):
        transform.init(variables)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def run(given, step):
        return [tf.convert_to_tensor(g) for g in transform(given, list(variables.values()), step=step)]

    return lambda seed, step: run(gradients(seed, dtype, sparse), tf.constant(step, tf.int64)), run


def test_every_exported_transform_is_here():
    lower = {name for name in optim.__all__ if name.islower()} - {"chain", "schedules"}
    assert lower == set(TRANSFORMS)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_xla_computes_what_a_graph_does_and_neither_traces_again_when_the_step_moves(name):
    (graph, traced), (xla, compiled) = prepared(name), prepared(name, jit_compile=True)
    seen = []
    for step in (0, 1, 5):
        seen.append(graph(7, step))
        for a, b in zip(seen[-1], xla(7, step), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert traced.experimental_get_tracing_count() == compiled.experimental_get_tracing_count() == 1
    # What is scheduled moves.
    moves = any((a.numpy() != b.numpy()).any() for a, b in zip(seen[0], seen[1], strict=True))
    assert moves == (name != "centralize")


@pytest.mark.parametrize("name", TRANSFORMS)
def test_slices_become_what_their_dense_sum_becomes(name):
    dense, sparse = prepared(name)[0](7, 1), prepared(name, sparse=True)[0](7, 1)
    for a, b in zip(dense, sparse, strict=True):
        # Squares are summed in another order.
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float64], ids=lambda dtype: dtype.name)
def test_dtypes_stay_and_narrow_ones_lose_only_their_digits(name, dtype):
    found, wide = prepared(name, dtype)[0](7, 1), prepared(name)[0](7, 1)
    tolerance = 0.04 if dtype == tf.bfloat16 else 1e-5
    for a, b in zip(found, wide, strict=True):
        np.testing.assert_allclose(np.float64(a), np.float64(b), atol=tolerance)
    assert {g.dtype for g in found} == {dtype}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@every_transform
def test_a_chain_does_what_the_rule_does_with_transformed_gradients(make, rule):
    chained, variables = optim.chain(make(), rule()), model()
    plain, others, transform = rule(), model(), make()
    chained.init(variables)
    plain.init(others)
    if hasattr(transform, "init"):
        transform.init(others)
    for step in range(2):
        chained.apply(gradients(step, sparse=True), variables)
        plain.apply(transform(gradients(step, sparse=True), list(others.values()), step=step), others)
    for variable, other in zip(variables.values(), others.values(), strict=True):
        np.testing.assert_allclose(variable, other, rtol=1e-6, atol=1e-7)


@every_transform
def test_a_restored_chain_goes_on_to_the_same_bits(make, tmp_path):
    def ready():
        rule, variables = optim.chain(make(), optim.SGD(0.1, momentum=0.5)), model()
        rule.init(variables)
        return rule, variables

    rule, variables = ready()
    rule.apply(gradients(1), variables)
    path = tf.train.Checkpoint(rule=rule, model=variables).write(tmp_path / "state")
    resumed, copies = ready()
    tf.train.Checkpoint(rule=resumed, model=copies).read(path).assert_consumed()
    for each, weights in ((rule, variables), (resumed, copies)):
        each.apply(gradients(2), weights)
    for a, b in zip((*variables.values(), *rule.variables), (*copies.values(), *resumed.variables), strict=True):
        np.testing.assert_array_equal(a, b)


@every_transform
def test_what_is_frozen_changes_nothing_for_the_others(make):
    ends = []
    for trained in (list(SHAPES), list(SHAPES)[2:]):
        rule, variables = optim.chain(make(), optim.SGD(0.1)), model()
        rule.init(variables)
        some = dict(zip(SHAPES, gradients(1), strict=True))
        if isinstance(rule.transforms[0], optim.clip_by_global_norm):
            some |= {path: tf.zeros(SHAPES[path]) for path in list(SHAPES)[:2]}
        rule.apply([some[path] for path in trained], [variables[path] for path in trained])
        ends.append([variables[path].numpy() for path in list(SHAPES)[2:]])
    for a, b in zip(*ends, strict=True):
        np.testing.assert_array_equal(a, b)


@every_transform
def test_every_replica_gets_the_same(make):
    strategy = tf.distribute.MirroredStrategy(
        [device.name for device in tf.config.list_logical_devices("CPU")[:2]],
        # TensorFlow's default collides with a strategy of another size in the same process.
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )
    with strategy.scope():
        mirrored, variables = optim.chain(make(), optim.SGD(0.1)), model()
        mirrored.init(variables)
    plain, others = optim.chain(make(), optim.SGD(0.1)), model()
    plain.init(others)
    strategy.run(tf.function(lambda: mirrored.apply(gradients(), variables), autograph=False))
    plain.apply(gradients(), others)
    for variable, other in zip(variables.values(), others.values(), strict=True):
        for end in strategy.experimental_local_results(variable):
            np.testing.assert_allclose(end, other, rtol=1e-6, atol=1e-7)


@every_transform
def test_zeros_of_no_size_and_scalars_are_no_obstacle(make):
    rule, variables = (
        optim.chain(make(), optim.SGD(0.1)),
        {"head": tf.Variable(tf.zeros([0, 2])), "s": tf.Variable(1.0)},
    )
    rule.init(variables)
    rule.apply([tf.zeros([0, 2]), tf.constant(0.0)], variables)
    assert np.isfinite(float(variables["s"]))
