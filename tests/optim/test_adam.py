import numpy as np
import pytest
import tensorflow as tf

import optim


def step(rule, gradient, **variables):
    rule.init(variables)
    rule.apply([tf.constant(gradient, v.dtype) for v in variables.values()], variables)


@pytest.mark.parametrize("scale", [2.0**-20, 2.0**20])
@pytest.mark.parametrize("kind", [optim.Adam, optim.Adamax, optim.Nadam, optim.Lamb], ids=lambda kind: kind.__name__)
def test_adam_does_not_see_the_scale_of_the_gradients(kind, scale):
    # Powers of two scale m, √v, u and ε without rounding, so the steps agree to the bit.
    ends = []
    for factor in (1.0, scale):
        rule, x = kind(learning_rate=0.1, epsilon=2**-23 * factor), tf.Variable([1.0, -2.0, 3.0])
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


def test_without_decay_adamw_is_adam_to_the_bit():
    ends = []
    for rule in (optim.Adam(), optim.AdamW(weight_decay=0.0)):
        kernel = tf.Variable([1.0, -2.0])
        step(rule, [0.3, -0.7], kernel=kernel)
        ends.append(kernel.numpy())
    np.testing.assert_array_equal(*ends)


def test_the_divisor_of_amsgrad_never_falls():
    rule, x = optim.Adam(amsgrad=True), tf.Variable([0.0])
    rule.init([x])
    seen = []
    for gradient in (1.0, 4.0, 0.0, 2.0, 0.0):
        rule.apply([tf.constant([gradient])], [x])
        seen.append(rule.slots["v_hat"]["0"].numpy().item())
    assert seen == sorted(seen)
    assert rule.slots["v"]["0"].numpy() < seen[-1]


def test_radam_is_gradient_descent_with_momentum_until_v_can_be_trusted():
    # ρ∞ is 3 for β₂ = 1/2, below any threshold: m / (1 − β₁ᵗ) moves it for ever.
    rule, x = optim.RAdam(learning_rate=0.5, beta_1=0.0, beta_2=0.5), tf.Variable([0.0])
    rule.init([x])
    for gradient in (1.0, -3.0, 8.0):
        rule.apply([tf.constant([gradient])], [x])
    assert x.numpy() == [-3.0]
    with pytest.raises(ValueError, match="sma_threshold must be a finite number, 4 or above, got 3"):
        optim.RAdam(sma_threshold=3)
