"""Laws of `layers.recompute`: nothing changes but the memory."""

import resource
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
import layers

MODES = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f, autograph=False),
    "xla": lambda f: tf.function(f, autograph=False, jit_compile=True),
}
every_mode = pytest.mark.parametrize("mode", MODES)


def plain(block):
    return block


def nested(block):
    inner = [layers.recompute(layer) for layer in block.layers]
    return layers.recompute(layers.recompute(layers.Sequential(inner)))


def network(wrap, dtype="float32"):
    """A block of everything that could go wrong, masks, statistics, kinks; and another mask behind it."""
    tf.random.set_seed(1)
    block = layers.Sequential([
        layers.Dense(6, 6, activation="gelu", dtype=dtype), layers.Dropout(0.3), layers.BatchNorm(6, dtype=dtype),
        layers.Dense(6, 6, activation="relu", dtype=dtype), layers.Dropout(0.3),
    ])  # fmt: skip
    return layers.Sequential([layers.Dense(4, 6, dtype=dtype), wrap(block), layers.Dropout(0.2)])


def cosines(y):
    return tf.cast(tf.reshape(tf.cos(tf.range(tf.cast(tf.size(y), tf.float32))), tf.shape(y)), y.dtype)


def differentiate(model, x, training):
    """[y, then the gradients of Σ y·cos with respect to x and the variables], taped as engine.step does."""
    sources = [x, *model.trainable_variables]
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(sources)
        y = model(x, training=training)
        total = tf.reduce_sum(y * cosines(y))
    return [y, *tape.gradient(total, sources)]


def outcome(wrap, mode, x, context, dtype="float32"):
    """Values, gradients and what has become of the variables."""
    model = network(wrap, dtype)
    found = MODES[mode](lambda x: differentiate(model, x, context()))(x)
    return [np.asarray(tf.cast(value, tf.float64)) for value in [*found, *model.variables]]


@pytest.mark.parametrize(
    ("wrap", "mode", "dtype", "compute"),
    [
        (layers.recompute, "eager", "float32", "float32"),
        (nested, "eager", "float32", "bfloat16"),
        (layers.recompute, "graph", "float32", "float32"),
        (nested, "graph", "float64", "float64"),
        (layers.recompute, "xla", "float64", "float64"),
    ],
)
def test_values_gradients_statistics_and_later_draws_are_those_of_the_block(wrap, mode, dtype, compute, step_context):
    x = tf.cast(tf.random.stateless_normal([8, 4], [1, 2]), compute)
    expected = outcome(plain, mode, x, step_context, dtype)
    found = outcome(wrap, mode, x, step_context, dtype)
    for one, other in zip(expected, found, strict=True):
        if mode == "xla":  # it fuses the two runs differently
            np.testing.assert_allclose(other, one, 0, 1e-14 * (1 + np.abs(one).max()))
        else:
            np.testing.assert_array_equal(other, one)


def test_an_engines_step_inside_a_while_loop_computes_the_same():
    x = tf.random.stateless_normal([8, 4], [1, 2])

    def third_step(wrap):
        model = network(wrap)
        first = tf.constant(0, tf.int64)
        start = [tf.zeros([8, 6]), x, *(tf.zeros(v.shape) for v in model.trainable_variables)]

        def body(step, *_):
            return step + 1, *differentiate(model, x, engine.StepContext(7, step))

        loop = tf.function(lambda: tf.while_loop(lambda step, *_: step < 3, body, (first, *start)), autograph=False)
        return [*loop()[1:], *model.variables]

    for one, other in zip(third_step(plain), third_step(layers.recompute), strict=True):
        np.testing.assert_array_equal(other, one)


@every_mode
def test_a_bare_true_draws_one_mask_for_both_runs_and_another_at_every_call(mode):
    layer, x = layers.recompute(layers.Sequential([layers.Dropout(0.5), layers.Dropout(0.5)])), tf.ones([40, 10])
    call = MODES[mode](lambda x: differentiate(layers.Sequential([layer, lambda y: y]), x, True))
    y, gradient = call(x)
    np.testing.assert_allclose(gradient, y * cosines(y), rtol=1e-5)
    # Two masks, not one twice: a quarter is kept, give or take six standard deviations.
    assert abs(np.mean(y == 4) - 0.25) < 0.13
    assert np.any(call(x)[0] != y)


def test_a_bare_true_repeats_under_a_global_seed():
    layer, values = layers.recompute(layers.Dropout(0.5)), []
    for _ in range(2):
        tf.random.set_seed(7)
        values.append(layer(tf.ones([8, 9]), training=True))
    np.testing.assert_array_equal(*values)


def test_a_persistent_tape_may_ask_twice(step_context):
    layer, x = layers.recompute(layers.Dropout(0.5)), tf.ones([8, 9])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = layer(x, training=step_context())
    np.testing.assert_array_equal(tape.gradient(y, x), y)
    np.testing.assert_array_equal(tape.gradient(y, x), y)


@settings(max_examples=6)
@given(kinds=st.lists(st.sampled_from(["dense", "drop", "norm", "relu"]), min_size=1, max_size=5), data=st.data())
def test_any_stretch_of_a_stack_may_be_recomputed(kinds, data, step_context):
    make = {
        "dense": lambda: layers.Dense(3, 3, dtype="float64"),
        "drop": lambda: layers.Dropout(0.4),
        "norm": lambda: layers.BatchNorm(3, dtype="float64"),
        "relu": lambda: tf.nn.relu,
    }
    start = data.draw(st.integers(0, len(kinds) - 1))
    stop = data.draw(st.integers(start + 1, len(kinds)))

    def found(wrap):
        tf.random.set_seed(2)
        parts = [make[kind]() for kind in kinds]
        model = layers.Sequential([*parts[:start], wrap(layers.Sequential(parts[start:stop])), *parts[stop:]])
        x = tf.random.stateless_normal([5, 3], [1, 2], dtype="float64")
        return [*differentiate(model, x, step_context()), *model.variables]

    for one, other in zip(found(plain), found(layers.recompute), strict=True):
        np.testing.assert_array_equal(other, one)


@every_mode
def test_a_function_gets_gradients_for_the_variables_that_it_reads(mode):
    used, stopped = tf.Variable(2.0), tf.Variable(3.0)
    layer, x = layers.recompute(lambda x: used * x + tf.stop_gradient(stopped)), tf.ones([2, 3])

    def gradients(x):
        with tf.GradientTape() as tape:
            y = layer(x)
        return tape.gradient(y, [used, stopped])

    found, none = MODES[mode](gradients)(x)
    assert float(found) == 6
    assert none is None


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_integers_may_come_in_and_go_out_and_rows_of_a_table_stay_sparse(mode):
    table = tf.Variable(tf.ones([5, 3]))
    layer = layers.recompute(lambda rows: {"values": 2 * tf.gather(table, rows), "rows": rows + 1})

    def gradients(rows):
        with tf.GradientTape() as tape:
            y = layer(rows)
        return tape.gradient(y["values"], table), y["rows"]

    gradient, rows = MODES[mode](gradients)(tf.constant([1, 1, 4]))
    assert isinstance(gradient, tf.IndexedSlices)
    np.testing.assert_array_equal(tf.convert_to_tensor(gradient)[:, 0], [0, 4, 0, 0, 2])
    np.testing.assert_array_equal(rows, [2, 2, 5])


@every_mode
def test_second_derivatives_are_those_of_the_block(mode):
    x = tf.random.stateless_normal([4, 3], [1, 2], dtype="float64")

    def second(block, x):
        sources = [x, *block.variables]
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                cubes = tf.reduce_sum(block(x) ** 3)
            sines = tf.add_n([tf.reduce_sum(tf.sin(gradient)) for gradient in inner.gradient(cubes, sources)])
        return outer.gradient(sines, sources)

    block = layers.Dense(3, 4, activation="tanh", dtype="float64")
    expected = second(block, x)
    for one, other in zip(expected, MODES[mode](lambda x: second(layers.recompute(block), x))(x), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12)


def test_the_block_may_hold_a_loop_but_a_loop_no_block_with_variables_that_a_tape_outside_asks_for():
    dense, x = layers.Dense(3, 3, activation="tanh"), tf.random.stateless_normal([2, 3], [1, 2])

    def unrolled(x, step):
        return tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, step(y)), (0, x), maximum_iterations=3)[1]

    def gradients(function):
        with tf.GradientTape() as tape:
            y = function(x)
        return tape.gradient(y, dense.variables)

    expected = gradients(lambda x: dense(dense(dense(x))))
    inside = tf.function(lambda: gradients(layers.recompute(lambda x: unrolled(x, dense))), autograph=False)
    for one, other in zip(expected, inside(), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5)
    outside = tf.function(lambda: gradients(lambda x: unrolled(x, layers.recompute(dense))), autograph=False)
    with pytest.raises(ValueError, match=r"Recompute\(Dense.* put the tape inside it too, or recompute a block that"):
        outside()


def test_forward_mode_is_right_in_a_graph_and_refused_eagerly():
    dense, x = layers.Dense(3, 2, activation="tanh", dtype="float64"), tf.ones([4, 3], tf.float64)

    def derivative(block):
        with tf.autodiff.ForwardAccumulator(dense.kernel, tf.ones_like(dense.kernel)) as accumulator:
            y = block(x)
        return accumulator.jvp(y)

    layer = layers.recompute(dense)
    graph = tf.function(lambda: derivative(layer), autograph=False)
    np.testing.assert_allclose(graph(), derivative(dense), rtol=1e-14)
    with pytest.raises(NotImplementedError, match=r"do it inside a tf\.function"):
        derivative(layer)


def test_it_is_a_layer_like_others(tmp_path):
    layer = layers.recompute(layers.Sequential([layers.Dense(3, 4), tf.nn.relu]))
    assert repr(layer) == "Recompute(Sequential([Dense(3, 4), relu]))"
    with pytest.raises(ValueError, match=r"layer 1 Dense\(5, 2\) cannot take \[..., 4\] from layer 0 Recompute\(Dense"):
        layers.Sequential([layers.recompute(layers.Dense(3, 4)), layers.Dense(5, 2)])
    paths = dict(layer._flatten(predicate=lambda v: isinstance(v, tf.Variable), with_path=True))
    assert list(paths) == [("block", "layers", 0, "bias"), ("block", "layers", 0, "kernel")]
    layer.trainable = False
    assert not layer.block.layers[0].trainable
    layer.serve = tf.function(layer, input_signature=[tf.TensorSpec([None, 3])])
    tf.saved_model.save(layer, str(tmp_path))
    loaded, x = tf.saved_model.load(str(tmp_path)), tf.ones([2, 3])
    np.testing.assert_allclose(loaded.serve(x), layer(x), rtol=1e-6)


def test_a_frozen_block_still_passes_the_gradient_on_and_keeps_its_statistics(step_context):
    layer, x = layers.recompute(layers.BatchNorm(3)), tf.random.stateless_normal([5, 3], [1, 2], 4.0)
    layer.trainable = False
    expected = layers.BatchNorm(3)
    expected.trainable = False
    for one, other in zip(differentiate(expected, x, True)[:2], differentiate(layer, x, True)[:2], strict=True):
        np.testing.assert_array_equal(other, one)
    np.testing.assert_array_equal(layer.block.moving_mean, np.zeros(3))


@pytest.mark.parametrize(("block", "shown"), [(3, "3"), (layers.Dense, "Dense")])
def test_what_is_neither_layer_nor_function_is_refused(block, shown):
    with pytest.raises(TypeError, match=f"recompute takes a layer or a function of a tensor, found {shown}"):
        layers.recompute(block)


def test_xla_does_not_merge_the_two_runs():
    model = [layers.Sequential([layers.Dense(8, 8, activation="relu") for _ in range(3)]) for _ in range(2)]

    def products(wrap):
        # The square: a gradient known at compile time would be there at once.
        network = layers.Sequential([*(wrap(block) for block in model), tf.square])
        compiled = tf.function(lambda x: differentiate(network, x, True), autograph=False, jit_compile=True)
        return compiled.experimental_get_compiler_ir(tf.ones([4, 8]))(stage="optimized_hlo").count(" dot(")

    assert products(layers.recompute) == products(plain) + 6


def peak(recomputed):
    """By how many KiB a step of 8 blocks lifts the peak of this process's resident memory."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    rows, narrow, wide = 2048, 32, 1024
    wrap = layers.recompute if recomputed else plain

    def block():
        first, last = layers.Dense(narrow, wide, activation="relu"), layers.Dense(wide, narrow, activation="relu")
        return wrap(layers.Sequential([first, last]))

    model = layers.Sequential([block() for _ in range(16)])
    step = tf.function(lambda x: differentiate(model, x, True)[1:], autograph=False)
    step = step.get_concrete_function(tf.TensorSpec([None, narrow]))
    step(tf.ones([8, narrow]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step(tf.ones([rows, narrow]))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def test_recomputation_takes_less_than_60_percent_of_the_memory():
    # Two forked children of a small server: what this process has used does not count as their peak.
    with ProcessPoolExecutor(2, mp_context=get_context("forkserver")) as pool:
        recomputed, kept = pool.map(peak, (True, False))
    # Each of 16 blocks would keep [2048, 1024] float32, 8 MiB; recomputed, one block's at a time are there.
    assert kept > 120 * 1024
    assert recomputed < 0.6 * kept


class ReplicaContext:
    """The step context of one of 2 real replicas."""

    replicas, draws = 2, 0

    def __init__(self, valid_rows):
        self.valid_rows = valid_rows

    def uniform(self, shape):
        self.draws += 1
        return tf.random.stateless_uniform(shape, [5, self.draws])

    def all_reduce(self, tensor):
        return tf.distribute.get_replica_context().all_reduce("SUM", tensor)


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_replicas_compute_the_same_with_recomputation(mode):
    # Rings of several strategies in one process collide.
    reduce = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=reduce)
    whole = tf.random.stateless_normal([2, 4, 4], [1, 2], dtype="float64")

    def values(wrap):
        with strategy.scope():
            model = network(wrap, "float64")

        def step():
            index = tf.distribute.get_replica_context().replica_id_in_sync_group
            return differentiate(model, whole[index], ReplicaContext(4 - index))

        found = [*MODES[mode](lambda: strategy.run(step))(), *model.variables]
        return [value for each in found for value in strategy.experimental_local_results(each)]

    for one, other in zip(values(plain), values(nested), strict=True):
        np.testing.assert_array_equal(other, one)
