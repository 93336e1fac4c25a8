import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import layers


def kernel_gradient(conv, x):
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.sin(conv(x)))
    return tape.gradient(total, conv.kernel)


@settings(max_examples=8)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.data())
def test_strides_dilation_and_groups_together_follow_the_definition(size, stride, dilation, groups, data):
    """Keras refuses strides with dilation; the sum in the docstring is written out here instead."""
    channels, filters = 2 * groups, 3 * groups
    side = (size - 1) * dilation + 1 + data.draw(st.integers(0, 3))
    conv = layers.Conv2D(
        channels, filters, size, strides=stride, dilation_rate=dilation, groups=groups, dtype="float64"
    )
    x = np.random.default_rng(0).normal(size=[2, side, side, channels])
    kernel, out = conv.kernel.numpy(), -(-(side - dilation * (size - 1)) // stride)
    expected = np.zeros([2, out, out, filters])
    for i, j, p, q in np.ndindex(out, out, size, size):
        pixel = x[:, stride * i + dilation * p, stride * j + dilation * q]
        for f in range(filters):
            group = f // 3
            expected[:, i, j, f] += pixel[:, 2 * group : 2 * group + 2] @ kernel[p, q, :, f]
    np.testing.assert_allclose(conv(x), expected, atol=1e-12)
    # float32 goes through TensorFlow's own kernels for dilation and groups.
    narrow = x.astype(np.float32)
    np.testing.assert_allclose(conv(narrow), expected, atol=1e-4)
    np.testing.assert_allclose(kernel_gradient(conv, x), kernel_gradient(conv, narrow), rtol=0, atol=1e-3)
