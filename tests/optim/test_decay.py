"""Decoupled weight decay is one mechanism, and goes by the path of a variable."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from rule_cases import CASES, random

import optim
from optim.decay import Decaying

DECAYING = sorted({case.rule for case in CASES if issubclass(case.rule, Decaying)}, key=str)
every_decaying = pytest.mark.parametrize("kind", DECAYING, ids=lambda kind: kind.__name__)
PATHS = ("head.bias", "head.kernel", "norm.gamma", "norm.beta", "body.bias_kernel")


def moved(rule):
    """The paths of variables that a gradient of 0 moves."""
    variables = {path: tf.Variable([4.0, 2.0]) for path in PATHS}
    rule.init(variables)
    rule.apply([tf.zeros([2])] * len(PATHS), variables)
    return {path for path, variable in variables.items() if np.any(variable.numpy() != [4.0, 2.0])}


@every_decaying
def test_what_decays_is_told_by_the_mask(kind):
    settings = {"learning_rate": 0.5, "weight_decay": 0.5}
    assert moved(kind(**settings)) == {"head.kernel", "body.bias_kernel"}
    assert moved(kind(**settings, mask=None)) == set(PATHS)
    assert moved(kind(**settings, mask=lambda path: path.startswith("head."))) == {"head.kernel", "head.bias"}


@every_decaying
def test_a_mask_that_is_no_function_is_refused(kind):
    with pytest.raises(TypeError, match=r"^mask must be a function from .*, or None, got True"):
        kind(mask=True)


def test_without_a_mask_everything_decays_as_in_keras():
    settings = {"learning_rate": 2**-7, "weight_decay": 2**-5}
    rule, twins = optim.AdamW(**settings, mask=None), [keras.Variable([1.0, -2.0], dtype="float64", name="bias")]
    bias = tf.Variable([1.0, -2.0], dtype=tf.float64)
    rule.init({"bias": bias})
    peer = keras.optimizers.AdamW(**settings)
    for gradient in random((10, 2)):
        rule.apply([tf.constant(gradient)], [bias])
        peer.apply([tf.constant(gradient)], twins)
    # Keras takes β through float32.
    np.testing.assert_allclose(bias, twins[0].value.numpy(), rtol=1e-6)


def test_a_decay_that_is_scheduled_begins_where_it_is_above_0():
    rule = optim.SGD(0.5, weight_decay=optim.schedules.piecewise([0], [0.0, 0.5]))
    kernel = tf.Variable([4.0])
    rule.init({"kernel": kernel})
    seen = []
    for _ in range(3):
        rule.apply([tf.zeros([1])], [kernel])
        seen.append(kernel.numpy().item())
    assert seen == [4.0, 3.0, 2.25]


@pytest.mark.parametrize("kind", [optim.LARS, optim.Lamb], ids=lambda kind: kind.__name__)
def test_a_step_that_adapts_has_the_length_that_the_variable_gives_it(kind):
    # ‖x‖ is 5: with a ratio, a step is as long as that of any other gradient.
    scale = {"trust_coefficient": 0.5, "momentum": 0.0} if kind is optim.LARS else {}
    lengths = {}
    for mask in (None, lambda path: False):
        for size in (1e-3, 1e3):
            rule, kernel = kind(learning_rate=0.5, adapt_mask=mask, **scale), tf.Variable([3.0, 4.0], dtype=tf.float64)
            rule.init({"kernel": kernel})
            rule.apply([tf.constant([size, -size], tf.float64)], [kernel])
            lengths[mask is None, size] = np.linalg.norm(kernel.numpy() - [3.0, 4.0])
    step = 0.25 * 5 if kind is optim.LARS else 0.5 * 5
    np.testing.assert_allclose([lengths[True, 1e-3], lengths[True, 1e3]], step, rtol=1e-3)
    # Without one, LARS takes the gradient's length and LAMB that of signs.
    free = [0.5 * 2**0.5 * size if kind is optim.LARS else 0.5 * 2**0.5 for size in (1e-3, 1e3)]
    np.testing.assert_allclose([lengths[False, 1e-3], lengths[False, 1e3]], free, rtol=1e-3)


@pytest.mark.parametrize("kind", [optim.LARS, optim.Lamb], ids=lambda kind: kind.__name__)
def test_a_variable_that_starts_at_0_leaves_it(kind):
    rule, kernel = kind(learning_rate=0.5), tf.Variable([0.0, 0.0])
    rule.init({"kernel": kernel})
    rule.apply([tf.constant([1.0, -1.0])], [kernel])
    np.testing.assert_allclose(kernel, [-0.5, 0.5], rtol=1e-6)


def test_lamb_scales_its_steps_with_the_weights():
    ends = []
    for scale in (1.0, 2.0**10):
        rule, kernel = optim.Lamb(learning_rate=0.125), tf.Variable([scale, -2 * scale])
        rule.init({"kernel": kernel})
        for gradient in random((10, 2)):
            rule.apply([tf.constant(gradient, tf.float32)], [kernel])
        ends.append(kernel.numpy() / scale)
    np.testing.assert_array_equal(*ends)
