import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from layers import initializers

SHAPE = [3, 3, 20, 60]  # fan_in 180, fan_out 540, 10,800 values
VARIANCES = {
    "glorot_uniform": 2 / 720, "glorot_normal": 2 / 720, "he_uniform": 2 / 180, "he_normal": 2 / 180,
    "lecun_uniform": 1 / 180, "lecun_normal": 1 / 180,
}  # fmt: skip
erf = np.vectorize(math.erf)


def normal_cdf(x, mean=0.0, stddev=1.0):
    return (1 + erf((x - mean) / stddev / math.sqrt(2))) / 2


def cut_normal_cdf(x, mean=0.0, stddev=1.0):
    low, high = normal_cdf(np.array([-2.0, 2.0]))
    return (normal_cdf(x, mean, stddev) - low) / (high - low)


def uniform_cdf(x, low=-0.05, high=0.05):
    return (x - low) / (high - low)


def assert_drawn_from(values, cdf):
    """Kolmogorov-Smirnov: a right distribution exceeds this distance once in a thousand seeds."""
    ordered = np.sort(np.asarray(values, np.float64).ravel())
    n = len(ordered)
    expected = cdf(ordered)
    distance = max(np.max(np.arange(1, n + 1) / n - expected), np.max(expected - np.arange(n) / n))
    assert distance < 1.95 / math.sqrt(n)


@pytest.mark.parametrize("name", VARIANCES)
@pytest.mark.parametrize("seed", [0, 1])
def test_scaled_draws_have_mean_0_and_the_variance_of_their_paper(name, seed):
    values = initializers.get(name)(SHAPE, tf.float64, seed).numpy()
    stddev = math.sqrt(VARIANCES[name])
    # Four standard deviations of the mean and (bounded by the normal's) of the variance.
    assert abs(values.mean()) < 4 * stddev / math.sqrt(values.size)
    assert abs(values.var() / stddev**2 - 1) < 4 * math.sqrt(2 / values.size)
    if name.endswith("uniform"):
        limit = math.sqrt(3) * stddev
        assert_drawn_from(values, lambda x: uniform_cdf(x, -limit, limit))
    else:
        uncut = stddev / 0.87962566103423978
        assert_drawn_from(values, lambda x: cut_normal_cdf(x, 0, uncut))
        assert np.abs(values).max() <= 2 * uncut


@pytest.mark.parametrize(
    ("initializer", "cdf"),
    [
        (initializers.random_uniform(), uniform_cdf),
        (initializers.random_uniform(-1, 3), lambda x: uniform_cdf(x, -1, 3)),
        (initializers.random_normal(2.0, 0.5), lambda x: normal_cdf(x, 2, 0.5)),
        (initializers.truncated_normal(stddev=0.02), lambda x: cut_normal_cdf(x, 0, 0.02)),
    ],
    # An address in a test's name would be another in each worker process.
    ids=lambda value: None if " at 0x" in str(value) else str(value),
)
def test_draws_with_parameters_follow_their_distribution(initializer, cdf):
    assert_drawn_from(initializer(SHAPE, seed=3), cdf)


@pytest.mark.parametrize("name", sorted(set(initializers.BY_NAME) - {"constant"}))
def test_every_initializer_is_one_of_keras_with_the_same_spread(name):
    ours = initializers.get(name)(SHAPE, seed=1).numpy()
    theirs = np.asarray(keras.initializers.get(name)(SHAPE))
    # Two samples of 10,800 values: their spreads differ by under 4%.
    np.testing.assert_allclose(ours.std(), theirs.std(), rtol=0.04)
    assert abs(ours.mean() - theirs.mean()) < 0.06 * ours.std() + 1e-12


@pytest.mark.parametrize("name", sorted(initializers.BY_NAME))
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_shape_dtype_and_seed_decide_everything(name, dtype):
    initializer = initializers.get(name)
    one, other = initializer([4, 3], dtype, seed=5), initializer([4, 3], dtype, seed=5)
    assert (one.shape, one.dtype) == ([4, 3], dtype)
    np.testing.assert_array_equal(tf.cast(one, tf.float64), tf.cast(other, tf.float64))


@pytest.mark.parametrize("name", sorted(set(initializers.BY_NAME) - {"zeros", "ones", "constant"}))
def test_draws_differ_but_repeat_under_the_global_seed(name):
    initializer = initializers.get(name)
    tf.random.set_seed(11)
    one, other = initializer([4, 3]), initializer([4, 3])
    tf.random.set_seed(11)
    np.testing.assert_array_equal(initializer([4, 3]), one)
    assert np.any(one != other)


@given(st.lists(st.integers(1, 6), min_size=2, max_size=4), st.floats(0.1, 3))
def test_orthogonal_is_orthogonal(shape, gain):
    matrix = initializers.orthogonal(gain)(shape, tf.float64, seed=2).numpy().reshape(-1, shape[-1])
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(gram, gain**2 * np.eye(len(gram)), atol=1e-12)


def test_orthogonal_is_uniform_so_its_first_entry_has_both_signs_and_mean_0():
    entries = [initializers.orthogonal()([2, 2], seed=seed).numpy()[0, 0] for seed in range(200)]
    # cos of a uniform angle has variance 1/2.
    assert abs(np.mean(entries)) < 4 * math.sqrt(0.5 / 200)


def test_orthogonal_refuses_a_vector():
    with pytest.raises(ValueError, match=r"orthogonal needs a shape of at least 2 dimensions, found \[3\]"):
        initializers.orthogonal()([3])


def test_constants_broadcast():
    np.testing.assert_array_equal(initializers.constant(2.5)([2, 2]), [[2.5, 2.5], [2.5, 2.5]])
    np.testing.assert_array_equal(initializers.constant([1.0, 2.0])([2, 2]), [[1, 2], [1, 2]])


def test_get_takes_names_and_functions_and_lists_the_names():
    assert initializers.get("truncated_normal") == initializers.truncated_normal(0.0, 0.05)
    assert initializers.get(tf.zeros) is tf.zeros
    with pytest.raises(ValueError, match="unknown initializer 3: expected a function or one of constant, "):
        initializers.get(3)
