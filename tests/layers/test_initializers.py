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


@pytest.mark.parametrize("mode", initializers.MODES)
@pytest.mark.parametrize("distribution", initializers.DISTRIBUTIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_variance_scaling_draws_its_distribution_with_its_variance(mode, distribution, dtype):
    values = initializers.variance_scaling(3.0, mode, distribution)(SHAPE, dtype, seed=4)
    values = tf.cast(values, tf.float64).numpy()
    stddev = math.sqrt(3.0 / {"fan_in": 180, "fan_out": 540, "fan_avg": 360}[mode])
    assert abs(values.mean()) < 4 * stddev / math.sqrt(values.size)
    assert abs(values.var() / stddev**2 - 1) < 4 * math.sqrt(2 / values.size)
    if dtype != "bfloat16":  # whose values stand apart
        cdf = {
            "uniform": lambda x: uniform_cdf(x, -math.sqrt(3) * stddev, math.sqrt(3) * stddev),
            "truncated_normal": lambda x: cut_normal_cdf(x, 0, stddev / 0.87962566103423978),
            "untruncated_normal": lambda x: normal_cdf(x, 0, stddev),
        }
        assert_drawn_from(values, cdf[distribution])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mode", initializers.MODES)
def test_small_and_flat_shapes_have_the_fans_of_keras(mode, seed):
    """A vector's fans are its length; a window multiplies both."""
    for shape in ([5], [5, 3], [2, 3, 4, 5]):
        draw = initializers.variance_scaling(2.0, mode, "untruncated_normal")
        ours = np.stack([draw(shape, seed=100 * seed + n) for n in range(20_000 // math.prod(shape) // 3)])
        fan_in, fan_out = keras.src.initializers.random_initializers.compute_fans(shape)
        count = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
        np.testing.assert_allclose(ours.var(), 2.0 / count, rtol=4 * math.sqrt(2 / ours.size))


@pytest.mark.parametrize("name", sorted(set(initializers.BY_NAME) - {"constant", "identity", "dirac"}))
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


@pytest.mark.parametrize("name", sorted(set(initializers.BY_NAME) - {"zeros", "ones", "constant", "identity", "dirac"}))
def test_draws_differ_but_repeat_under_the_global_seed(name):
    initializer = initializers.get(name)
    assert np.any(initializer([4, 3], seed=1) != initializer([4, 3], seed=2))
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


@pytest.mark.parametrize("shape", [[3, 3], [2, 5], [5, 2]])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_identity_is_that_of_keras(shape, dtype):
    ours, theirs = initializers.identity(0.3), keras.initializers.Identity(0.3)
    np.testing.assert_array_equal(ours(shape, dtype), 0.3 * np.eye(*shape).astype(dtype))
    np.testing.assert_allclose(ours(shape), theirs(shape), rtol=1e-7)


@pytest.mark.parametrize(("window", "rank"), [([3], 1), ([3, 3], 2), ([1, 5], 2), ([3, 1, 3], 3)])
def test_a_convolution_that_begins_as_dirac_hands_on_its_channels_and_draws_the_rest(window, rank):
    kernel = initializers.dirac(2.0)([*window, 4, 7], tf.float64, seed=1)
    x = tf.random.stateless_normal([2, *[6] * rank, 4], [0, 1], dtype=tf.float64)
    y = tf.nn.convolution(x, kernel, padding="SAME")
    np.testing.assert_allclose(y[..., :4], 2 * x, rtol=1e-15)
    assert np.all(kernel[..., 4:] != 0)
    np.testing.assert_allclose(
        tf.nn.convolution(x, initializers.dirac()([*window, 4, 3], tf.float64), padding="SAME"), x[..., :3]
    )


def test_what_dirac_draws_has_a_third_of_the_variance_of_lecun():
    rest = initializers.dirac()([3, 3, 20, 80], seed=2)[..., 20:].numpy()
    limit = math.sqrt(1 / 180)
    assert_drawn_from(rest, lambda x: uniform_cdf(x, -limit, limit))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("initializer", [initializers.random_uniform(), initializers.random_normal()], ids=str)
def test_draws_of_16_bits_are_those_of_32_rounded(initializer, dtype):
    rounded = tf.cast(initializer(SHAPE, seed=6), dtype)
    np.testing.assert_array_equal(tf.cast(initializer(SHAPE, dtype, seed=6), tf.float32), tf.cast(rounded, tf.float32))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: initializers.identity()([3]), r"identity needs a shape of 2 dimensions, found \[3\]"),
        (lambda: initializers.dirac()([3]), r"dirac needs a shape of at least 2 dimensions, found \[3\]"),
        (lambda: initializers.variance_scaling(0), "variance_scaling: scale must be positive, found 0"),
        (lambda: initializers.variance_scaling(mode="fan"), "mode must be one of 'fan_in', 'fan_out', 'fan_avg', fo"),
        (lambda: initializers.variance_scaling(distribution="normal"), "distribution must be one of 'truncated_norma"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_seed_is_any_integer():
    ours = initializers.random_normal()
    np.testing.assert_array_equal(ours([3], seed=np.int64(5)), ours([3], seed=5))
    np.testing.assert_array_equal(ours([3], seed=np.int32(5)), ours([3], seed=[5, 0]))


def test_get_takes_names_and_functions_and_lists_the_names():
    assert initializers.get("truncated_normal") == initializers.truncated_normal(0.0, 0.05)
    assert initializers.get(tf.zeros) is tf.zeros
    with pytest.raises(ValueError, match="unknown initializer 3: expected a function or one of constant, "):
        initializers.get(3)
