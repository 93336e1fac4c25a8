import copy

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import layers

FLOAT64 = {"rtol": 1e-11, "atol": 1e-11}  # some hundred roundings of float64


def random_norm(channels, dtype="float64", **options):
    norm = layers.BatchNorm(channels, dtype=dtype, **options)
    for index, variable in enumerate(norm.variables):
        variable.assign(tf.random.stateless_uniform(variable.shape, [index, 5], 0.5, 2, dtype))
    return norm


def differentiate(norm, x, cotangent, training):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = norm(x, training=training)
        total = tf.reduce_sum(y * cotangent)
    return [y, *tape.gradient(total, [x, norm.gamma, norm.beta])]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_several_steps_move_the_statistics_like_keras(dtype):
    ours = layers.BatchNorm(3, momentum=0.75, dtype=dtype)
    theirs = keras.layers.BatchNormalization(momentum=0.75, dtype=dtype)
    for step in range(5):
        x = tf.random.stateless_normal([7, 4, 4, 3], [step, 1], mean=step, dtype=dtype)
        np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), rtol=0, atol=1e-5)
    digits = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, digits)
    np.testing.assert_allclose(ours.moving_variance, theirs.moving_variance, digits)
    np.testing.assert_allclose(ours(x), theirs(x), rtol=0, atol=1e-5)


@settings(max_examples=6)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=3),
    inner=st.lists(st.integers(1, 3), max_size=2),
)
def test_replicas_and_padding_do_not_change_the_norm_of_the_whole_batch(sizes, inner, step_context, in_lockstep):
    """Slices of `valid` rows and some padding each, against Keras on the valid rows together."""
    sizes = [*sizes, (0, 1)]  # and a replica with nothing but padding
    shape = [sum(valid for valid, _ in sizes), *inner, 3]
    whole, cotangent = (tf.random.stateless_normal(shape, [1, k], 2.0, dtype="float64") for k in (1, 2))
    norm = random_norm(3)
    theirs = keras.layers.BatchNormalization(dtype="float64")
    theirs.build(shape)
    for weight in theirs.weights:
        weight.assign(getattr(norm, weight.name))

    norms = [copy.deepcopy(norm) for _ in sizes]
    starts = np.cumsum([0] + [valid for valid, _ in sizes])
    padded = [tf.fill([padding, *inner, 3], tf.constant(np.nan, tf.float64)) for _, padding in sizes]

    def replica(index, reduction):
        start, stop = starts[index : index + 2]
        x = tf.concat([whole[start:stop], padded[index]], 0)
        return norms[index](x, training=step_context(valid_rows=stop - start, **reduction))[: stop - start]

    gammas = [copy_of.gamma for copy_of in norms]
    with tf.GradientTape() as tape:
        tape.watch(whole)
        y = tf.concat(in_lockstep(len(sizes), replica), 0)
        total = tf.reduce_sum(y * cotangent)
    gradient, *by_replica = tape.gradient(total, [whole, *gammas])

    with tf.GradientTape() as tape:
        tape.watch(whole)
        expected = theirs(whole, training=True)
        total = tf.reduce_sum(expected * cotangent)
    expected_gradient, expected_gamma = tape.gradient(total, [whole, theirs.gamma.value])
    np.testing.assert_allclose(y, expected, **FLOAT64)
    np.testing.assert_allclose(gradient, expected_gradient, **FLOAT64)
    np.testing.assert_allclose(tf.add_n(by_replica), expected_gamma, **FLOAT64)
    for each in norms:
        np.testing.assert_allclose(each.moving_mean, theirs.moving_mean, **FLOAT64)
        np.testing.assert_allclose(each.moving_variance, theirs.moving_variance, **FLOAT64)


@settings(max_examples=6)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    dtype=st.sampled_from(["float32", "bfloat16"]),
)
def test_the_fused_op_and_the_two_passes_agree(shape, dtype, step_context):
    norm = random_norm(3, "float32")
    shape = [2 + shape[0], *shape[1:], 3]
    x = tf.cast(tf.random.stateless_normal(shape, [3, 4], 1.0), dtype)
    cotangent = tf.cast(tf.random.stateless_normal(shape, [5, 6]), dtype)
    masked = copy.deepcopy(norm)
    fused = differentiate(norm, x, cotangent, True)
    passes = differentiate(masked, x, cotangent, step_context(valid_rows=shape[0]))
    # The ops multiply in different orders: float32's rounding times the 30 of 1/√epsilon; for
    # bfloat16 both round the same float32 values once.
    tolerance = 1e-3 if dtype == "float32" else 2**-6
    for one, other in zip(fused, passes, strict=True):
        one, other = tf.cast(one, tf.float64), tf.cast(other, tf.float64)
        np.testing.assert_allclose(one, other, tolerance, tolerance * (1 + np.abs(other).max()))
    np.testing.assert_allclose(norm.moving_mean, masked.moving_mean, 1e-5)
    np.testing.assert_allclose(norm.moving_variance, masked.moving_variance, 1e-5)


@pytest.mark.parametrize("valid_rows", [None, 4000])
def test_a_variance_of_1_at_mean_1000_stays_right_in_float32(valid_rows, step_context):
    """E[x²] − E[x]² would give 1.19."""
    x = tf.random.stateless_normal([4000, 2], [1, 2]) + 1000
    exact = x.numpy().astype(np.float64).var(0)
    norm = layers.BatchNorm(2, momentum=0.0)
    y = norm(x, training=step_context(valid_rows=valid_rows))
    np.testing.assert_allclose(norm.moving_variance, exact, rtol=1e-5)
    np.testing.assert_allclose(y.numpy().std(0), 1, rtol=1e-3)


def test_a_batch_without_a_valid_row_moves_nothing_and_gives_no_nan(step_context):
    norm = random_norm(3)
    before = [v.numpy() for v in norm.variables]
    x = tf.fill([2, 5, 3], tf.constant(np.nan, tf.float64))
    y, *gradients = differentiate(norm, x, tf.ones_like(x), step_context(valid_rows=0))
    assert all(np.isfinite(value).all() for value in (y, *gradients))
    for value, variable in zip(before, norm.variables, strict=True):
        np.testing.assert_array_equal(value, variable)


def test_a_frozen_norm_uses_and_keeps_its_moving_statistics():
    norm = random_norm(3)
    norm.trainable = False
    x = tf.random.stateless_normal([4, 3], [1, 2], 5.0, dtype="float64")
    before = norm.moving_mean.numpy()
    np.testing.assert_array_equal(norm(x, training=True), norm(x))
    np.testing.assert_array_equal(norm.moving_mean, before)
    norm.trainable = True
    assert np.any(norm(x, training=True) != norm(x))


def test_moving_statistics_are_not_trainable():
    norm = layers.BatchNorm(3)
    assert {id(v) for v in norm.trainable_variables} == {id(norm.gamma), id(norm.beta)}


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize(("dtype", "valid_rows"), [("float32", None), ("float64", None), ("float32", 3)])
def test_a_replay_normalises_alike_and_moves_nothing(sync, dtype, valid_rows, step_context):
    norm, x = random_norm(3, dtype, sync=sync), tf.random.stateless_normal([4, 3], [1, 2], 2.0, dtype=dtype)
    context = step_context(valid_rows=valid_rows)
    again = copy.copy(context)
    again.replays = True
    before = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    second = norm(x, training=again)
    np.testing.assert_array_equal((norm.moving_mean, norm.moving_variance), before)
    np.testing.assert_array_equal(norm(x, training=context), second)
    assert np.all(norm.moving_mean != before[0])


@pytest.mark.parametrize("garbage", [np.nan, np.inf])
@pytest.mark.parametrize("valid", [0, 2])
def test_nothing_leaks_out_of_padding_rows_nor_back_through_them(valid, garbage, step_context):
    norm, rows = random_norm(3), tf.random.stateless_normal([valid, 5, 3], [1, 2], dtype="float64")
    padding = tf.fill([4 - valid, 5, 3], tf.constant(garbage, tf.float64))
    x, moved = tf.concat([rows, padding], 0), copy.deepcopy(norm)
    y, to_x, *to_variables = differentiate(norm, x, x, step_context(valid_rows=valid))
    np.testing.assert_array_equal(y[valid:], np.zeros_like(padding))
    np.testing.assert_array_equal(to_x[valid:], np.zeros_like(padding))
    if valid:
        expected = differentiate(moved, rows, rows, True)
        for one, other in zip(expected, [y[:valid], to_x[:valid], *to_variables], strict=True):
            np.testing.assert_allclose(other, one, **FLOAT64)
    np.testing.assert_allclose(norm.moving_variance, moved.moving_variance, **FLOAT64)


@settings(max_examples=6)
@given(sizes=st.lists(st.integers(0, 4), min_size=2, max_size=3).filter(any))
def test_without_sync_each_slice_is_normalised_alone_and_the_means_move_all(sizes, step_context, in_lockstep):
    norm = random_norm(3, sync=False)
    norms, alone = [[copy.deepcopy(norm) for _ in sizes] for _ in range(2)]
    # At least one row each: an empty slice is a row of padding.
    shapes = [[max(size, 1), 2, 3] for size in sizes]
    slices = [tf.random.stateless_normal(shape, [1, k], k, dtype="float64") for k, shape in enumerate(shapes)]

    def replica(index, reduction):
        context = step_context(valid_rows=sizes[index], **reduction)
        return differentiate(norms[index], slices[index], tf.cos(slices[index]), context)

    # Every round up to the sum moves nothing, so that only the last counts.
    results = in_lockstep(len(sizes), replica)
    for index, (size, found) in enumerate(zip(sizes, results, strict=True)):
        if size:
            expected = differentiate(alone[index], slices[index], tf.cos(slices[index]), True)
            for one, other in zip(expected, found, strict=True):
                np.testing.assert_allclose(other, one, **FLOAT64)
    shares = np.array(sizes) / sum(sizes)
    means = [values.numpy().mean((0, 1)) for values in slices]
    variances = [values.numpy().var((0, 1)) for values in slices]
    for moving, old, new in (
        ("moving_mean", norm.moving_mean, np.tensordot(shares, means, 1)),
        ("moving_variance", norm.moving_variance, np.tensordot(shares, variances, 1)),
    ):
        for each in norms:
            np.testing.assert_allclose(getattr(each, moving), 0.99 * old.numpy() + 0.01 * new, **FLOAT64)


def test_without_sync_one_replica_is_like_with_sync():
    x = tf.random.stateless_normal([6, 3], [1, 2], 3.0)
    one, other = random_norm(3, "float32"), random_norm(3, "float32", sync=False)
    np.testing.assert_array_equal(one(x, training=True), other(x, training=True))
    np.testing.assert_array_equal(one.moving_variance, other.moving_variance)


class ReplicaContext:
    """The step context of one of 3 real replicas."""

    replicas = 3

    def __init__(self, valid_rows):
        self.valid_rows = valid_rows

    def all_reduce(self, tensor):
        return tf.distribute.get_replica_context().all_reduce("SUM", tensor)


# In float32, x − mean at 1000 has lost the digits below 1e-4; variances are of order 1.
@pytest.mark.parametrize(("dtype", "offset", "tolerance"), [("float64", 2.0, 1e-12), ("float32", 1000.0, 1e-3)])
def test_on_real_replicas_all_is_as_for_the_whole_batch(dtype, offset, tolerance):
    """Uneven slices, an empty one, NaN in the padding; against one device in float64."""
    sizes = [5, 3, 0]
    stops = tf.cumsum(sizes)
    whole, cotangent = (tf.random.stateless_normal([8, 4, 3], [1, k], m, dtype=dtype) for k, m in ((1, offset), (2, 0)))
    # Rings of several strategies in one process collide.
    reduce = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1", "CPU:2"], cross_device_ops=reduce)
    with strategy.scope():
        norm = random_norm(3, dtype, momentum=0.5)
    alone = random_norm(3, momentum=0.5)
    for variable, value in zip(alone.variables, random_norm(3, dtype).variables, strict=True):
        variable.assign(tf.cast(value, tf.float64))
    wanted = differentiate(alone, tf.cast(whole, tf.float64), tf.cast(cotangent, tf.float64), True)

    def replica():
        index = tf.distribute.get_replica_context().replica_id_in_sync_group
        size, padding = tf.constant(sizes)[index], tf.fill([1, 4, 3], tf.constant(np.nan, dtype))
        start = stops[index] - size
        x, back = (tf.concat([each[start : start + size], padding], 0) for each in (whole, cotangent))
        return differentiate(norm, x, back, ReplicaContext(size))

    found = tf.function(lambda: strategy.run(replica), autograph=False)()
    y, to_x, to_gamma, to_beta = (strategy.experimental_local_results(value) for value in found)
    y, to_x = (tf.concat([v[:n] for v, n in zip(values, sizes, strict=True)], 0) for values in (y, to_x))
    for one, other in zip(wanted, [y, to_x, tf.add_n(to_gamma), tf.add_n(to_beta)], strict=True):
        np.testing.assert_allclose(other, one, tolerance, tolerance)
    for name in ("moving_mean", "moving_variance"):
        for value in strategy.experimental_local_results(getattr(norm, name)):
            np.testing.assert_allclose(value, getattr(alone, name), tolerance)


def test_one_channel_is_not_broadcast_over_those_that_a_trace_does_not_know():
    run = tf.function(layers.BatchNorm(1), input_signature=[tf.TensorSpec([None, None])])
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible with expected shape"):
        run(tf.ones([2, 3]))
