import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_windows import correlate

import layers

CONVOLUTIONS = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}
DEPTHWISE = {1: layers.DepthwiseConv1D, 2: layers.DepthwiseConv2D}
# Sums of some tens of products; of the digits of float16 and bfloat16 some remain.
TOLERANCE = {"float64": 1e-12, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}


def rounded(rng, shape, dtype):
    """Numbers that the dtype holds, as float64."""
    return tf.cast(tf.constant(rng.normal(size=shape), dtype), tf.float64).numpy()


def agrees(found, expected, dtype, scale=1.0):
    found = tf.cast(found, tf.float64).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * scale * (1 + np.abs(expected).max()))


def follows_the_definition(conv, shape, dtype, expected, seed=0):
    """conv(x) = expected(x, kernel), which is linear in both; and so the gradients of ⟨z, conv(x)⟩ are, too."""
    rng = np.random.default_rng(seed)
    x, kernel = rounded(rng, shape, dtype), rounded(rng, conv.kernel.shape, dtype)
    conv.kernel.assign(kernel)
    found = tf.constant(x, dtype)
    with tf.GradientTape() as tape:
        tape.watch(found)
        y = conv(found)
    z = rounded(rng, y.shape, dtype)
    by_x, by_kernel = tape.gradient(y, [found, conv.kernel], tf.constant(z, dtype))
    assert y.dtype == dtype
    agrees(y, expected(x, kernel), dtype)
    u, v = rounded(rng, shape, dtype), rounded(rng, kernel.shape, dtype)
    for gradient, direction, moved in ((by_x, u, expected(u, kernel)), (by_kernel, v, expected(x, v))):
        agrees(np.sum(tf.cast(gradient, tf.float64) * direction), np.sum(z * moved), dtype, scale=10)


def drawn_window(draw, rank, paddings):
    numbers = st.tuples(*[st.integers(1, 3)] * rank)
    kernel, strides, dilation = draw(numbers), draw(numbers), draw(numbers)
    padding = draw(st.sampled_from(paddings))
    least = [(k - 1) * d + 1 if padding == "valid" else 1 for k, d in zip(kernel, dilation, strict=True)]
    sides = [side + draw(st.integers(0, 3)) for side in least]
    return kernel, sides, {"strides": strides, "padding": padding, "dilation_rate": dilation}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("rank", CONVOLUTIONS)
def test_strides_dilation_padding_and_groups_together_follow_the_definition(rank, dtype):
    @settings(max_examples=15)
    @given(st.data(), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2))
    def law(data, groups, channels, filters):
        paddings = ["valid", "same", "causal"] if rank == 1 else ["valid", "same"]
        kernel, sides, options = drawn_window(data.draw, rank, paddings)
        conv = CONVOLUTIONS[rank](
            groups * channels, groups * filters, kernel, groups=groups, use_bias=False, dtype="float64", **options
        )

        def expected(x, kernel):
            return correlate(x, kernel, *options.values(), groups)

        follows_the_definition(conv, [2, *sides, groups * channels], dtype, expected)

    law()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("rank", DEPTHWISE)
def test_depthwise_convolutions_are_grouped_ones_with_a_group_for_each_channel(rank, dtype):
    @settings(max_examples=15)
    @given(st.data(), st.integers(1, 3), st.integers(1, 2))
    def law(data, channels, multiplier):
        kernel, sides, options = drawn_window(data.draw, rank, ["valid", "same"])
        conv = DEPTHWISE[rank](
            channels, kernel, depth_multiplier=multiplier, use_bias=False, dtype="float64", **options
        )

        def expected(x, kernel):
            grouped = kernel.reshape(*kernel.shape[:-2], 1, channels * multiplier)
            return correlate(x, grouped, *options.values(), channels)

        follows_the_definition(conv, [2, *sides, channels], dtype, expected)

    law()


# oneDNN: one channel to a filter, strides (…, 1, s > 1), one column out.
ONE_WIDE = [
    ((2, 3), [5, 4], (1, 2), "valid"),
    ((1, 3), [3, 4], (1, 3), "valid"),
    ((2, 4), [4, 2], (1, 3), "same"),
    ((2, 2), [5, 3], (1, 3), "same"),
    ((2, 3, 3), [3, 4, 4], (1, 1, 3), "valid"),
    ((2, 1, 2), [4, 4, 3], (3, 1, 2), "valid"),
    ((1, 2, 2), [4, 2, 1], (4, 1, 3), "same"),
]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize(("kernel", "sides", "strides", "padding"), ONE_WIDE)
def test_an_output_one_wide_of_one_channel_follows_the_definition(kernel, sides, strides, padding, dtype):
    rank = len(kernel)
    conv = CONVOLUTIONS[rank](1, 2, kernel, strides=strides, padding=padding, use_bias=False, dtype="float64")
    grouped = CONVOLUTIONS[rank](
        2, 4, kernel, strides=strides, padding=padding, groups=2, use_bias=False, dtype="float64"
    )
    for layer in (conv, grouped):
        window = strides, padding, (1,) * rank, layer.groups
        follows_the_definition(
            layer, [3, *sides, layer.in_channels], dtype, lambda x, kernel, window=window: correlate(x, kernel, *window)
        )


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_sides_that_are_unknown_while_tracing_give_the_same(padding):
    one_wide = layers.Conv2D(1, 2, 3, strides=(1, 2), padding=padding, use_bias=False)
    dilated = layers.DepthwiseConv2D(1, 2, dilation_rate=(2, 1), padding=padding, use_bias=False)
    for conv in (one_wide, dilated):
        traced = tf.function(conv, input_signature=[tf.TensorSpec([None, None, None, 1])])
        for sides in ([5, 4], [3, 3], [6, 7]):
            x = np.random.default_rng(0).normal(size=[2, *sides, 1]).astype(np.float32)
            expected = correlate(x, conv.kernel.numpy(), conv.strides, padding, conv.dilation_rate)
            agrees(traced(x), expected, "float32")


@pytest.mark.parametrize(
    "build",
    [
        lambda: layers.Conv1D(2, 3, 3, padding="same"),
        lambda: layers.Conv2D(2, 3, (1, 5), strides=2, padding="same"),
        lambda: layers.Conv3D(2, 3, (2, 1, 3), padding="same"),
        lambda: layers.DepthwiseConv2D(2, 3, padding="same"),
        lambda: layers.Conv2DTranspose(2, 3, 4, strides=2, padding="same"),
        lambda: layers.Conv1DTranspose(2, 3, 5, padding="same"),
    ],
)
def test_taps_that_meet_only_padding_have_no_gradient_in_bfloat16(build):
    """oneDNN leaves it uninitialised: here, what memory held before are infinities."""
    conv = build()
    x = tf.ones([1] * (conv.rank + 1) + [2], tf.bfloat16)
    for _ in range(20):
        filled = [tf.fill(conv.kernel.shape, tf.constant(np.inf, dtype)) for dtype in ("bfloat16", "float32")]
        del filled
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(conv(x))
        gradient = tape.gradient(total, conv.kernel).numpy()
        assert set(np.unique(gradient)) == {0.0, 1.0}
        assert np.count_nonzero(gradient) < gradient.size


def test_a_causal_convolution_sees_nothing_of_what_comes_later():
    conv = layers.Conv1D(2, 3, 3, padding="causal", dilation_rate=2, strides=2, dtype="float64")
    x = tf.constant(np.random.default_rng(0).normal(size=[1, 9, 2]))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = conv(x)
    seen = tape.jacobian(y, x).numpy()[0, :, :, 0]
    assert y.shape == [1, 5, 3]
    for i in range(5):
        reached = {j for j in range(9) if np.any(seen[i, :, j])}
        assert reached == {j for j in (2 * i - 4, 2 * i - 2, 2 * i) if j >= 0}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: layers.Conv1D(2, 3, (3, 3)), r"Conv1D\(2, 3, \(3, 3\)\): kernel_size must be a .* or 1 of"),
        (lambda: layers.Conv1D(2, 3, 3, padding="full"), "padding must be 'valid', 'same' or 'causal', found 'full'"),
        (lambda: layers.Conv2D(2, 3, 3, padding="causal"), "padding must be 'valid' or 'same', found 'causal'"),
        (lambda: layers.Conv3D(2, 3, 3, strides=(1, 0, 1)), r"Conv3D.*: strides must be a positive integer, found 0"),
        (lambda: layers.Conv3D(2, 3, 3, groups=3), "groups must divide in_channels and filters, found 3"),
        (lambda: layers.DepthwiseConv2D(2, 3, depth_multiplier=0), "depth_multiplier must be a positive integer"),
        (lambda: layers.DepthwiseConv1D(2, 3, padding="causal"), "padding must be 'valid' or 'same', found 'causal'"),
        (lambda: layers.SeparableConv2D(2, 3, 3, dilation_rate=0.5), "dilation_rate must be a positive integer"),
        (lambda: layers.SeparableConv1D(0, 3, 3), "in_channels must be a positive integer, found 0"),
        (lambda: layers.Conv1D(2, 3, 4)(tf.zeros([1, 3, 2])), r"Conv1D\(2, 3, 4\): the window's length of 4 exceeds"),
        (lambda: layers.Conv2D(2, 3, 2, dilation_rate=4)(tf.zeros([1, 9, 4, 2])), "window's width of 5 exceeds"),
        (lambda: layers.Conv3D(2, 3, 3)(tf.zeros([1, 2, 3, 3, 2])), "window's depth of 3 exceeds"),
        (lambda: layers.SeparableConv2D(2, 3, 3)(tf.zeros([1, 2, 3, 2])), "window's height of 3 exceeds"),
        (lambda: layers.DepthwiseConv1D(2, 3)(tf.zeros([1, 5, 3])), r"DepthwiseConv1D\(2, 3\).* of 2, found 3"),
        (lambda: layers.Conv1D(2, 3, 3)(tf.zeros([1, 4, 4, 2])), r"Conv1D\(2, 3, 3\) expects an input of rank 3"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(build, message):
    with pytest.raises(ValueError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_neighbours_know_the_channels_that_come_out():
    with pytest.raises(ValueError, match=r"layer 1 Dense\(5, 1\) cannot take \[..., 6\] from layer 0 DepthwiseConv2D"):
        layers.Sequential([layers.DepthwiseConv2D(3, 3, depth_multiplier=2), layers.Dense(5, 1)])
    with pytest.raises(ValueError, match=r"layer 1 Dense\(5, 1\) cannot take \[..., 4\] from layer 0 SeparableConv1D"):
        layers.Sequential([layers.SeparableConv1D(3, 4, 3), layers.Dense(5, 1)])
