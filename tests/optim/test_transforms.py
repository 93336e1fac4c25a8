"""Clipping bounds what it says and changes nothing else."""

import functools
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import optim

SHAPES = {"kernel": (3, 2), "bias": (2,)}
CLIPS = (optim.clip_by_global_norm, optim.clip_by_norm, optim.clip_by_value)
every_clip = pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.__name__)
every_dtype = pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)
both_modes = pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
EPS = {tf.bfloat16: 2.0**-7, tf.float32: 2.0**-22, tf.float64: 2.0**-51}

# Some threads take subnormal numbers for 0.
magnitudes = {
    tf.float32: st.sampled_from([1e-30, 1e-18, 1e-3, 1.0, 1e3, 1e18, 1e30]),
    tf.float64: st.sampled_from([1e-290, 1e-30, 1.0, 1e30, 1e290]),
}


def random(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def norm(arrays):
    """The norm of float64 arrays of any magnitude."""
    return math.hypot(*np.concatenate([np.ravel(np.float64(array)) for array in arrays]))


@functools.cache
def compiled(clip, dtype, jit_compile=False):
    """Clipping by a limit that is an argument: a schedule that looks up what it was given."""
    limit = tf.Variable(1.0, dtype=tf.float64)
    transform = clip(lambda step: limit.read_value())

    @tf.function(input_signature=[[tf.TensorSpec(s, dtype) for s in SHAPES.values()]], jit_compile=jit_compile)
    def run(given_gradients):
        return transform(given_gradients, [])

    def clipped(arrays, value):
        limit.assign(value)
        return [found.numpy() for found in run([tf.constant(array, dtype) for array in arrays])]

    return clipped


@both_modes
@every_dtype
@given(data=st.data(), seed=st.integers(0, 99), share=st.floats(1e-3, 0.99))
def test_a_global_norm_above_the_limit_becomes_the_limit_and_the_direction_stays(dtype, jit_compile, data, seed, share):
    scale = data.draw(magnitudes[dtype])
    arrays = [(scale * random(shape, seed)).astype(dtype.as_numpy_dtype) for shape in SHAPES.values()]
    limit = share * norm(arrays)
    found = compiled(optim.clip_by_global_norm, dtype, jit_compile)(arrays, limit)
    assert norm(found) <= limit * (1 + 4 * EPS[dtype])
    for array, clipped in zip(arrays, found, strict=True):
        np.testing.assert_allclose(np.float64(clipped), np.float64(array) * (limit / norm(arrays)), rtol=4 * EPS[dtype])


@both_modes
@every_dtype
@given(data=st.data(), seed=st.integers(0, 99), excess=st.floats(1.01, 1e3))
def test_gradients_within_the_limit_come_out_bit_for_bit(dtype, jit_compile, data, seed, excess):
    arrays = [data.draw(magnitudes[dtype]) * random(shape, seed) for shape in SHAPES.values()]
    arrays = [array.astype(dtype.as_numpy_dtype) for array in arrays]
    for clip in CLIPS:
        found = compiled(clip, dtype, jit_compile)(arrays, excess * norm(arrays))
        assert [a.tobytes() for a in found] == [a.tobytes() for a in arrays]


@given(data=st.data())
def test_gradients_within_the_limit_keep_even_the_numbers_that_processors_drop(data):
    numbers = st.lists(st.floats(-1.0, 1.0, width=32), min_size=2, max_size=2)
    arrays = [np.zeros([3, 2], np.float32), np.float32(data.draw(numbers))]
    for clip in CLIPS:
        found = clip(2.0)([tf.constant(array) for array in arrays], [])
        assert [a.numpy().tobytes() for a in found] == [a.tobytes() for a in arrays]


@given(seed=st.integers(0, 99), limit=st.floats(1e-3, 1e3), scale=st.floats(1e-3, 1e3))
def test_clipping_follows_tensorflow_where_its_squares_are_tame(seed, limit, scale):
    arrays = [scale * random(shape, seed) for shape in SHAPES.values()]
    tensors = [tf.constant(array) for array in arrays]
    oracles = {
        optim.clip_by_global_norm: tf.clip_by_global_norm(tensors, tf.constant(limit, tf.float64))[0],
        optim.clip_by_norm: [tf.clip_by_norm(tensor, tf.constant(limit, tf.float64)) for tensor in tensors],
        optim.clip_by_value: [np.clip(array, -limit, limit) for array in arrays],
    }
    for clip, expected in oracles.items():
        for a, b in zip(compiled(clip, tf.float64)(arrays, limit), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)


@every_dtype
def test_the_largest_and_the_smallest_numbers_clip_right(dtype):
    info = np.finfo(dtype.as_numpy_dtype)
    for number in (info.max, info.max / 4, 8 * info.tiny, 2 * info.tiny):
        number = dtype.as_numpy_dtype(number)
        for clip in (optim.clip_by_global_norm, optim.clip_by_norm):
            # 4 numbers: a norm of 2·number, which may be beyond the dtype.
            (found,) = clip(float(number))([tf.fill([4], number)], [])
            np.testing.assert_allclose(found, np.full(4, number / 2), rtol=2 * EPS[dtype])


def test_the_norm_is_right_for_many_numbers():
    (found,) = optim.clip_by_global_norm(1.0)([tf.ones([2**22])], [])
    np.testing.assert_allclose(found, np.full(2**22, 2.0**-11), rtol=1e-6)


@every_clip
def test_zeros_stay_zero_and_nothing_stays_nothing(clip):
    zeros = [tf.zeros([2, 3]), tf.zeros([0]), tf.zeros([], tf.float64)]
    for found, zero in zip(clip(1.0)(zeros, []), zeros, strict=True):
        np.testing.assert_array_equal(found, zero)
    assert clip(1.0)([], []) == []
    assert clip(1.0)([tf.zeros([0, 2])], [])[0].shape == (0, 2)


@both_modes
@every_clip
@pytest.mark.parametrize("limit", [1e-3, 1e6])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_does_not_become_finite(clip, jit_compile, limit, bad):
    arrays = [random(shape).astype(np.float32) for shape in SHAPES.values()]
    arrays[0][1, 0] = bad
    found = compiled(clip, tf.float32, jit_compile)(arrays, limit)
    assert not np.isfinite(found[0][1, 0])
    if clip is optim.clip_by_global_norm:
        assert all(np.isnan(array).all() for array in found)
    else:
        assert np.isfinite(found[1]).all()


def test_dtypes_may_be_mixed_and_stay():
    mixed = [tf.constant([3.0], tf.bfloat16), tf.constant([0.0, 4.0], tf.float64), tf.constant(12.0)]
    found = optim.clip_by_global_norm(6.5)(mixed, [])
    assert [g.dtype for g in found] == [tf.bfloat16, tf.float64, tf.float32]
    assert [g.numpy().tolist() for g in found] == [[1.5], [0.0, 2.0], 6.0]
    # The largest is beyond float32, as is its inverse.
    for extreme in (1e300, 1e-300):
        clipped, untouched = optim.clip_by_global_norm(extreme / 2)(
            [tf.constant([extreme], tf.float64), tf.zeros([1])], []
        )
        np.testing.assert_allclose(clipped, [extreme / 2], rtol=1e-15)
        assert untouched.numpy().tolist() == [0.0]


@functools.cache
def sparse_and_dense(clip):
    transform = clip(1.5)

    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([None], tf.int64), tf.TensorSpec([2])])
    def run(values, rows, bias):
        slices = tf.IndexedSlices(values, rows, tf.constant([4, 3], tf.int64))
        found, found_bias = transform([slices, bias], [])
        assert isinstance(found, tf.IndexedSlices)
        dense = tf.math.unsorted_segment_sum(values, rows, 4)
        return (found.values, found.indices, found.dense_shape, found_bias), transform([dense, bias], [])

    return run


@every_clip
@given(rows=st.lists(st.integers(0, 3), max_size=8))
def test_slices_with_duplicate_rows_clip_as_their_dense_sum_does(clip, rows):
    values, bias = random((len(rows), 3), len(rows)).astype("float32"), random(2).astype("float32")
    slices, dense = sparse_and_dense(clip)(values, np.array(rows, "int64"), bias)
    found, indices, shape, found_bias = (tensor.numpy() for tensor in slices)
    assert indices.tolist() == list(dict.fromkeys(rows))
    assert shape.tolist() == [4, 3]
    scattered = np.zeros((4, 3), "float32")
    scattered[indices] = found
    # The squares are summed in another order.
    np.testing.assert_allclose(scattered, dense[0], rtol=1e-6)
    np.testing.assert_allclose(found_bias, dense[1], rtol=1e-6)


@every_clip
def test_a_limit_that_bounds_nothing_is_refused(clip):
    for wrong in (0.0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=f"^limit must be a finite number above 0, got {wrong}$"):
            clip(wrong)
    with pytest.raises(TypeError, match=r"^limit must be a finite number above 0, got None$"):
        clip(None)
