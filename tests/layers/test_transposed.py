import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy_windows import correlate

import layers

TRANSPOSED = {1: layers.Conv1DTranspose, 2: layers.Conv2DTranspose}
# Sums of some tens of products; of the digits of float16 and bfloat16 some remain.
TOLERANCE = {"float64": 1e-12, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}


def numbers(seed, shape, dtype):
    """Numbers that the dtype holds."""
    return tf.cast(tf.constant(np.random.default_rng(seed).normal(size=shape)), dtype)


def inner(a, b):
    """⟨a, b⟩ and ‖a‖·‖b‖, in float64."""
    a, b = tf.cast(a, tf.float64).numpy(), tf.cast(b, tf.float64).numpy()
    return np.sum(a * b), np.sqrt(np.sum(a * a) * np.sum(b * b))


def is_the_transpose(layer, sides, dtype):
    """⟨z, layer(x)⟩ = ⟨z ⋆ kernel, x⟩ for any z; and so the gradients of the former, linear in x and kernel."""
    layer.kernel.assign(tf.cast(numbers(1, layer.kernel.shape, dtype), tf.float64))
    x = numbers(2, [2, *sides, layer.in_channels], dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    z = numbers(3, y.shape, dtype)
    by_x, by_kernel = tape.gradient(y, [x, layer.kernel], z)
    window = layer.strides, layer.padding, layer.dilation_rate
    wide = tf.cast(z, tf.float64).numpy()
    kernel, direction = layer.kernel.numpy(), numbers(4, layer.kernel.shape, "float64").numpy()
    back, moved = (correlate(wide, which, *window) for which in (kernel, direction))
    assert back.shape == x.shape
    for mine, theirs in (((z, y), (back, x)), ((by_kernel, direction), (moved, x))):
        (found, _), (expected, scale) = inner(*mine), inner(*theirs)
        assert abs(found - expected) <= TOLERANCE[dtype] * (1 + scale)
    expected = tf.cast(by_x, tf.float64).numpy()
    np.testing.assert_allclose(expected, back, rtol=0, atol=TOLERANCE[dtype] * (1 + np.abs(back).max()))
    return y


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("rank", TRANSPOSED)
def test_it_is_the_transpose_of_the_convolution_and_of_the_size_that_was_asked_for(rank, dtype):
    @settings(max_examples=20)
    @given(st.data(), st.integers(1, 3), st.integers(1, 3), st.booleans(), st.sampled_from(["valid", "same"]))
    def law(data, channels, filters, ask, padding):
        each = st.tuples(*[st.integers(1, 3)] * rank)
        kernel, strides, dilation, sides = (data.draw(each) for _ in range(4))
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        extra = None
        if ask:
            least = [1 - r % 2 if padding == "same" else 0 for r in reach]
            assume(all(low < stride for low, stride in zip(least, strides, strict=True)))
            extra = tuple(data.draw(st.integers(low, s - 1)) for low, s in zip(least, strides, strict=True))
        options = {"strides": strides, "padding": padding, "output_padding": extra, "dilation_rate": dilation}
        layer = TRANSPOSED[rank](channels, filters, kernel, use_bias=False, dtype="float64", **options)
        y = is_the_transpose(layer, sides, dtype)
        if extra is not None:
            base = [r % 2 if padding == "same" else r for r in reach]
            every = zip(sides, strides, base, extra, strict=True)
            assert [*y.shape[1:-1]] == [(n - 1) * s + b + e for n, s, b, e in every]

    law()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize(
    ("kernel", "strides", "padding"), [((2, 3), (1, 2), "valid"), ((1, 3), (1, 3), "same"), ((2, 4), (1, 3), "same")]
)
def test_one_filter_over_an_input_one_wide_has_the_right_gradient(kernel, strides, padding, dtype):
    """The gradient is a convolution to an output one wide, which oneDNN gets wrong."""
    layer = layers.Conv2DTranspose(2, 1, kernel, strides=strides, padding=padding, use_bias=False, dtype="float64")
    is_the_transpose(layer, [4, 1], dtype)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_sides_that_are_unknown_while_tracing_give_the_same(padding):
    for filters, strides in ((1, (1, 2)), (3, 2)):
        layer = layers.Conv2DTranspose(2, filters, 3, strides=strides, padding=padding, output_padding=0)
        traced = tf.function(layer, input_signature=[tf.TensorSpec([None, None, None, 2])])
        for sides in ([4, 1], [2, 3]):
            x = numbers(0, [2, *sides, 2], "float32")
            np.testing.assert_allclose(traced(x), layer(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: layers.Conv2DTranspose(2, 3, 3, strides=2, output_padding=2),
         r"Conv2DTranspose\(2, 3, 3, .*: output_padding must be below the stride of 2, found 2"),
        (lambda: layers.Conv2DTranspose(2, 3, 3, strides=(2, 1), output_padding=1), "below the stride of 1, found 1"),
        (lambda: layers.Conv1DTranspose(2, 3, 3, strides=2, output_padding=-1), "must be an integer of at least 0"),
        (lambda: layers.Conv1DTranspose(2, 3, 3, output_padding=(0, 0)), "at least 0 or 1 of them, found"),
        (lambda: layers.Conv2DTranspose(2, 3, (3, 2), strides=2, padding="same", output_padding=0),
         "output_padding=0 needs a kernel that spans an odd number of pixels, found 2; use None"),
        (lambda: layers.Conv1DTranspose(2, 3, 3, padding="causal"), "padding must be 'valid' or 'same', found"),
        (lambda: layers.Conv1DTranspose(2, 0, 3), "filters must be a positive integer, found 0"),
        (lambda: layers.Conv2DTranspose(2, 3, 3)(tf.zeros([1, 4, 4, 3])), r"Conv2DTranspose.* of 2, found 3"),
        (lambda: layers.Conv2DTranspose(2, 3, 3)(tf.zeros([1, 4, 2])), "expects an input of rank 4"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(build, message):
    with pytest.raises(ValueError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)
