import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_windows import windows

import layers

POOLING = [
    (layers.MaxPool1D, 1, np.nanmax),
    (layers.MaxPool2D, 2, np.nanmax),
    (layers.AveragePool1D, 1, np.nanmean),
    (layers.AveragePool2D, 2, np.nanmean),
]
by_name = pytest.mark.parametrize(("pool", "rank", "value"), POOLING, ids=lambda each: getattr(each, "__name__", ""))


def pooled(pool, x):
    """(y, ∇ over x of Σ y·cos), cos those of 0, 1, 2, …"""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = pool(x)
    cosines = np.cos(np.arange(np.prod(y.shape))).reshape(y.shape)
    return y, tape.gradient(y, x, tf.constant(cosines, x.dtype))


@by_name
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_each_window_has_its_value_and_padding_does_not_count(pool, rank, value, dtype):
    @settings(max_examples=15)
    @given(st.data(), st.integers(1, 2), st.sampled_from(["valid", "same"]))
    def law(data, channels, padding):
        each = st.tuples(*[st.integers(1, 4)] * rank)
        size, strides = data.draw(each), data.draw(each)
        sides = [(k if padding == "valid" else 1) + data.draw(st.integers(0, 4)) for k in size]
        # Distinct, small and whole: also bfloat16 holds them, and no window has a tie.
        count = 2 * int(np.prod(sides)) * channels
        x = np.random.default_rng(0).permutation(count) % 128 - 64.0
        x = x.reshape(2, *sides, channels)
        met = [part for _, part in windows(x, size, strides, padding, (1,) * rank, fill=np.nan)]
        found, gradient = pooled(pool(size, strides, padding), tf.constant(x, dtype))
        assert found.dtype == dtype
        expected = value(met, axis=0)
        # The mean is rounded once more.
        bits = {"float64": 50, "float32": 21, "bfloat16": 6, "float16": 9}[dtype]
        np.testing.assert_allclose(tf.cast(found, tf.float64), expected, rtol=2.0**-bits, atol=2.0**-bits)
        # The gradient cases check that of float64.
        wide = pooled(pool(size, strides, padding), tf.constant(x))[1]
        np.testing.assert_allclose(tf.cast(gradient, tf.float64), wide, rtol=0, atol=2.0 ** (4 - bits))

    law()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_means_of_many_values_neither_stop_growing_nor_overflow(dtype):
    ones, hundreds = tf.ones([1, 4000, 2], dtype), tf.fill([1, 28, 28, 1], tf.constant(100, dtype))
    for pool, x in [
        (layers.GlobalAveragePool1D(), ones), (layers.AveragePool1D(4000), ones),
        (layers.GlobalAveragePool2D(), hundreds), (layers.AveragePool2D(28), hundreds),
    ]:  # fmt: skip
        y, gradient = pooled(pool, x)
        np.testing.assert_array_equal(tf.cast(y, tf.float64), np.full(y.shape, float(x[(0,) * x.shape.rank])))
        assert (y.dtype, gradient.dtype) == (dtype, dtype)
        count = tf.size(x[0, ..., 0]).numpy()
        np.testing.assert_allclose(tf.cast(gradient, tf.float64)[0, 0, ..., 0], 1 / count, rtol=2**-7)


def test_equal_largest_values_share_the_gradient_of_a_global_maximum():
    x = tf.constant([[[1.0], [3.0], [3.0]]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layers.GlobalMaxPool1D()(x)
    np.testing.assert_array_equal(tape.gradient(y, x)[0, :, 0], [0, 0.5, 0.5])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: layers.MaxPool1D(3)(tf.zeros([1, 2, 1])), r"MaxPool1D\(3\): the window's length of 3 exceeds"),
        (lambda: layers.AveragePool2D((1, 3))(tf.zeros([1, 4, 2, 1])), "the window's width of 3 exceeds"),
        (lambda: layers.MaxPool1D((2, 2)), "pool_size must be a positive integer or 1 of them"),
        (lambda: layers.AveragePool1D(2, 0), "strides must be a positive integer, found 0"),
        (lambda: layers.AveragePool1D(2, padding="causal"), "padding must be 'valid' or 'same', found 'causal'"),
        (lambda: layers.MaxPool1D()(tf.zeros([1, 4, 4, 1])), "expects an input of rank 3"),
        (lambda: layers.GlobalMaxPool2D()(tf.zeros([1, 4, 1])), r"GlobalMaxPool2D\(\) expects an input of rank 4"),
        (lambda: layers.GlobalAveragePool1D()(tf.zeros([1, 4])), r"GlobalAveragePool1D\(\) expects an input of rank 3"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(build, message):
    with pytest.raises(ValueError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)
