"""Adaptive clipping, centralization, noise and decay are what their papers say, in NumPy."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import optim

SHAPES = [(), (3,), (4, 3), (3, 4, 2), (2, 3, 2, 4)]
shapes = st.sampled_from(SHAPES)
seeds = st.integers(0, 999)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def random(shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def units(array):
    """Views of what makes up each unit: what is on one place of the last axis, or all of a vector."""
    if array.ndim < 2:
        return [np.atleast_1d(array)]
    return [array[..., i] for i in range(array.shape[-1])]


def agc(gradient, weights, clipping, epsilon):
    """Brock et al. (2021), eq. 3, unit by unit."""
    gradient = np.array(gradient, np.float64)
    for g, w in zip(units(gradient), units(np.array(weights)), strict=True):
        of_g, of_w = math.hypot(*g.ravel()), max(math.hypot(*w.ravel()), epsilon)
        if of_g / of_w > clipping:
            g *= clipping * of_w / of_g
    return gradient


@given(shape=shapes, seed=seeds, clipping=st.floats(1e-3, 2.0), epsilon=st.floats(1e-6, 2.0), scale=st.floats(0.1, 10))
def test_agc_limits_each_units_gradient_by_its_weights(shape, seed, clipping, epsilon, scale):
    gradient, weights = scale * random(shape, seed), random(shape, seed + 1)
    (found,) = optim.agc(clipping, epsilon)([tf.constant(gradient)], [tf.Variable(weights)])
    np.testing.assert_allclose(found, agc(gradient, weights, clipping, epsilon), rtol=1e-13)


@every_shape
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)
def test_agc_leaves_units_within_their_limit_as_they_are_bit_for_bit(shape, dtype):
    gradient = tf.constant(random(shape) * 1e-3, dtype)
    (found,) = optim.agc(1.0, 1.0)([gradient], [tf.Variable(random(shape, 1), dtype=dtype)])
    assert found.numpy().tobytes() == gradient.numpy().tobytes()


@pytest.mark.parametrize(("gradients_of", "weights_of"), [(1e30, 1.0), (1e30, 1e25), (1e-22, 1e-28), (1e18, 1e-20)])
def test_agc_needs_no_squares_that_fit_float32(gradients_of, weights_of):
    gradient = (random((4, 3)) * gradients_of).astype(np.float32)
    weights = (random((4, 3), 1) * weights_of).astype(np.float32)
    (found,) = optim.agc(0.01, 1e-36)([tf.constant(gradient)], [tf.Variable(weights)])
    np.testing.assert_allclose(found, agc(gradient, np.float64(weights), 0.01, 1e-36), rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_agc_keeps_what_is_not_finite_within_its_unit(bad):
    gradient = random((4, 3)).astype(np.float32)
    gradient[1, 0] = bad
    (found,) = optim.agc(0.01)([tf.constant(gradient)], [tf.Variable(random((4, 3), 1), dtype=tf.float32)])
    assert not np.isfinite(found[1, 0])
    assert np.isfinite(found[:, 1:]).all()


def test_a_weight_of_zero_still_learns():
    (found,) = optim.agc(0.1, epsilon=0.5)([tf.constant([[3.0], [4.0]])], [tf.Variable([[0.0], [0.0]])])
    np.testing.assert_allclose(found, [[0.03], [0.04]], rtol=1e-6)


@given(shape=shapes, seed=seeds)
def test_centralized_gradients_have_no_mean_over_what_feeds_a_unit(shape, seed):
    gradient = random(shape, seed) + 3.0
    (found,) = optim.centralize()([tf.constant(gradient)], [tf.Variable(gradient)])
    expected = gradient.copy()
    if len(shape) > 1:
        for unit in units(expected):
            unit -= unit.mean()
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)
    # A projection: again, it changes nothing.
    (again,) = optim.centralize()([found], [tf.Variable(gradient)])
    np.testing.assert_allclose(again, found, atol=1e-14)


def test_the_weights_of_a_unit_keep_their_sum_under_centralized_descent():
    rule, x = optim.chain(optim.centralize(), optim.SGD(0.5)), tf.Variable(random((5, 3)))
    rule.init([x])
    before = x.numpy().sum(axis=0)
    for seed in range(5):
        rule.apply([tf.constant(random((5, 3), seed))], [x])
    np.testing.assert_allclose(x.numpy().sum(axis=0), before, rtol=1e-13)


def noise(step=0, position=0, seed=0, shape=(200, 200), dtype=tf.float64, eta=0.3, gamma=0.55):
    zeros, variables = [tf.zeros(shape, dtype)] * (position + 1), [tf.Variable(tf.zeros(shape, dtype))] * (position + 1)
    return optim.add_noise(eta, gamma, seed)(zeros, variables, step=step)[position].numpy()


@pytest.mark.parametrize("step", [0, 1, 100, 10**6])
def test_noise_is_normal_and_its_variance_is_annealed(step):
    found = np.sort(noise(step=step).ravel())
    deviation = math.sqrt(0.3 / (1 + step) ** 0.55)
    # Four deviations of the mean and of the variance of 40,000 normal numbers.
    assert abs(found.mean()) < 4 * deviation / 200
    assert abs(found.var() / deviation**2 - 1) < 4 * math.sqrt(2) / 200
    # Kolmogorov and Smirnov's distance, beyond which one in 10⁵ lies.
    normal = 0.5 * (1 + np.array([math.erf(x / deviation / math.sqrt(2)) for x in found]))
    assert np.abs(normal - np.arange(len(found)) / len(found)).max() < 2.5 / 200


def test_noise_differs_by_seed_step_and_position_and_by_nothing_else():
    small = {"shape": (50, 40)}
    places = [(seed, step, position) for seed in (0, 1) for step in (0, 1, 2**40) for position in (0, 1)]
    found = [noise(step, position, seed, gamma=0.0, **small) for seed, step, position in places]
    again = [noise(step, position, seed, gamma=0.0, **small) for seed, step, position in places]
    assert [a.tobytes() for a in found] == [a.tobytes() for a in again]
    correlation = np.corrcoef([a.ravel() for a in found]) - np.eye(len(found))
    # Five deviations, of 66 pairs.
    assert np.abs(correlation).max() < 5 / math.sqrt(2000)


@given(eta=st.floats(0.01, 2.0), gamma=st.floats(0.0, 2.0), step=st.integers(0, 1000))
def test_noise_scales_as_it_should(eta, gamma, step):
    unit = noise(step, shape=(3,), eta=1.0, gamma=0.0)
    found = noise(step, shape=(3,), eta=eta, gamma=gamma)
    np.testing.assert_allclose(found, unit * math.sqrt(eta / (1 + step) ** gamma), rtol=1e-13)


@given(seed=seeds, weight_decay=st.floats(0.0, 2.0))
def test_decay_through_the_gradient_adds_the_gradient_of_a_penalty(seed, weight_decay):
    x, g = tf.Variable(random((3, 2), seed)), random((3, 2), seed + 1)
    with tf.GradientTape() as tape:
        penalty = tf.reduce_sum(g * x) + tf.constant(weight_decay, tf.float64) * tf.nn.l2_loss(x)
    (found,) = optim.add_decayed_weights(weight_decay, mask=None)([tf.constant(g)], [x])
    np.testing.assert_allclose(found, tape.gradient(penalty, x), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    "transform",
    [optim.add_decayed_weights(0.5), optim.agc(1e-3, mask=lambda path: path.endswith("kernel"))],
    ids=["decay", "agc"],
)
def test_a_mask_goes_by_path(transform):
    variables = {path: tf.Variable([1.0, 2.0]) for path in ("kernel", "bias", "norm.gamma", "norm.beta")}
    rule = optim.chain(transform, optim.SGD(1.0))
    rule.init(variables)
    rule.apply([tf.constant([1.0, 2.0])] * 4, variables)
    moved = {path: v.numpy().tolist() for path, v in variables.items()}
    assert moved.pop("kernel") != [0.0, 0.0]
    assert set(map(tuple, moved.values())) == {(0.0, 0.0)}


def test_a_mask_without_paths_is_refused():
    x = tf.Variable([1.0])
    with pytest.raises(ValueError, match=r"^add_decayed_weights: its mask needs the paths of variables; put it in a"):
        optim.add_decayed_weights(0.1)([x], [x])


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: optim.agc(0.0), ValueError, r"clipping must be a finite number above 0, got 0\.0"),
        (lambda: optim.agc(0.1, 0), ValueError, "epsilon must be a finite number above 0, got 0"),
        (lambda: optim.agc(0.1, mask="head"), TypeError, "mask must be a function .* got 'head'"),
        (lambda: optim.add_noise(0), ValueError, "eta must be a finite number above 0, got 0"),
        (lambda: optim.add_noise(0.1, -1), ValueError, "gamma must be a finite number, 0 or above, got -1"),
        (lambda: optim.add_noise(0.1, seed=0.5), ValueError, r"seed must be a whole number, 0 or above, got 0\.5"),
        (lambda: optim.add_decayed_weights(-1), ValueError, "weight_decay must be a finite number, 0 or above, got -1"),
        (lambda: optim.add_decayed_weights("1"), TypeError, "weight_decay must be a finite number, 0 or above, .*"),
    ],
)
def test_settings_out_of_their_domain_are_refused(make, kind, message):
    with pytest.raises(kind, match=f"^{message}$"):
        make()


def test_two_chains_may_share_a_transform():
    decay, variables = optim.add_decayed_weights(0.5), [tf.Variable([2.0]), tf.Variable([4.0])]
    rules = [optim.chain(decay, optim.SGD(1.0)) for _ in variables]
    for rule, variable, path in zip(rules, variables, ("a", "b"), strict=True):
        rule.init({path: variable})
    for rule, variable in zip(rules, variables, strict=True):
        rule.apply([tf.zeros([1])], [variable])
    assert [v.numpy().tolist() for v in variables] == [[1.0], [2.0]]


def test_parts_with_a_noise_each_draw_what_one_chain_for_all_does():
    def noisy():
        return optim.chain(optim.add_noise(1.0, seed=3), optim.SGD(1.0))

    ends = []
    for rule in (optim.Partition({"a": noisy(), "*": noisy()}), noisy()):
        variables = {path: tf.Variable(tf.zeros([5])) for path in ("a", "b")}
        rule.init(variables)
        rule.apply([tf.zeros([5])] * 2, variables)
        ends.append(np.array(list(variables.values())))
    np.testing.assert_array_equal(*ends)
    assert np.all(ends[0][0] != ends[0][1])
