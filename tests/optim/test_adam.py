import keras
import numpy as np
import pytest
import tensorflow as tf

import optim

# Exact in binary, so that Keras, which takes numbers through float32, computes with the same ones.
EXACT = {"learning_rate": 2**-7, "beta_1": 0.875, "beta_2": 1 - 2**-10, "epsilon": 2**-23, "weight_decay": 2**-5}


def step(rule, gradient, **variables):
    rule.init(variables)
    rule.apply([tf.constant(gradient, v.dtype) for v in variables.values()], variables)


@pytest.mark.parametrize("scale", [2.0**-20, 2.0**20])
def test_adam_does_not_see_the_scale_of_the_gradients(scale):
    # Powers of two scale m, √v and ε without rounding, so the steps agree to the bit.
    ends = []
    for factor in (1.0, scale):
        rule, x = optim.Adam(learning_rate=0.1, epsilon=2**-23 * factor), tf.Variable([1.0, -2.0, 3.0])
        rule.init([x])
        for gradient in np.random.default_rng(0).standard_normal((20, 3)):
            rule.apply([tf.constant(gradient * factor, tf.float32)], [x])
        ends.append(x.numpy())
    np.testing.assert_array_equal(*ends)


def test_the_first_step_of_adam_is_the_learning_rate_against_the_sign_of_the_gradient():
    x = tf.Variable([0.0, 0.0, 0.0], dtype=tf.float64)
    step(optim.Adam(learning_rate=0.25, epsilon=1e-30), [1e-3, -1.0, 1e3], x=x)
    # β₁, β₂ and √ round a few times.
    np.testing.assert_allclose(x, [-0.25, 0.25, -0.25], rtol=1e-12)


def test_without_a_mask_everything_decays_as_in_keras():
    rule, twins = optim.AdamW(**EXACT, mask=None), [keras.Variable([1.0, -2.0], dtype="float64", name="bias")]
    bias = tf.Variable([1.0, -2.0], dtype=tf.float64)
    rule.init({"bias": bias})
    peer = keras.optimizers.AdamW(**EXACT)
    for gradient in np.random.default_rng(0).standard_normal((10, 2)):
        rule.apply([tf.constant(gradient)], [bias])
        peer.apply([tf.constant(gradient)], twins)
    np.testing.assert_allclose(bias, twins[0], rtol=1e-12)


def test_the_mask_is_asked_for_each_path():
    rule = optim.AdamW(learning_rate=0.5, weight_decay=0.5, mask=lambda path: path.startswith("head."))
    head, body = tf.Variable([4.0]), tf.Variable([4.0])
    step(rule, [0.0], **{"head.bias": head, "body.kernel": body})
    assert (head.numpy(), body.numpy()) == ([3.0], [4.0])


def test_without_decay_adamw_is_adam_to_the_bit():
    ends = []
    for rule in (optim.Adam(), optim.AdamW(weight_decay=0.0)):
        kernel = tf.Variable([1.0, -2.0])
        step(rule, [0.3, -0.7], kernel=kernel)
        ends.append(kernel.numpy())
    np.testing.assert_array_equal(*ends)


def test_defaults_are_those_of_keras():
    for ours, theirs in [
        (optim.Adam(), keras.optimizers.Adam()),
        (optim.AdamW(), keras.optimizers.AdamW()),
        (optim.SGD(), keras.optimizers.SGD()),
    ]:
        config = theirs.get_config()
        for name in ours.domains:
            # Keras keeps the learning rate in a float32 variable.
            np.testing.assert_allclose(getattr(ours, name), config[name], rtol=1e-7)
