"""An average is a closed form of the values that its variable had, and its state is the averages and a count."""

import functools
from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import optim

# Some threads take subnormal numbers for 0.
numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
EPS = {tf.float32: 2.0**-23, tf.float64: 2.0**-52}
Base = optim.Average
EVERY = {
    "EMA": functools.partial(optim.EMA, 0.9, warmup=True),
    "SWA": functools.partial(optim.SWA, 1, 2),
    "Polyak": optim.Polyak,
}
every_average = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)


@functools.cache
def averaged(dtype, warmup=False):
    """Averages of a whole sequence of values in one compiled loop; the decay of each update is an argument."""
    x, decays = tf.Variable(0.0, dtype=dtype), tf.Variable(tf.zeros([100], tf.float64))
    average = optim.EMA(lambda updates: tf.gather(decays, updates), warmup=warmup)
    average.init({"x": x})

    @tf.function(input_signature=[tf.TensorSpec([None], dtype), tf.TensorSpec([100], tf.float64)])
    def run(values, given_decays):
        decays.assign(given_decays)
        average.updates.assign(0)
        average.averages["x"].assign(values[0])
        seen = tf.TensorArray(dtype, tf.size(values) - 1)
        for i in tf.range(1, tf.size(values)):
            x.assign(values[i])
            average.update()
            seen = seen.write(i - 1, average.averages["x"])
        return seen.stack()

    return lambda values, decays: run(tf.constant(values, dtype), np.resize(np.float64(decays), 100)).numpy()


def model():
    return {
        "dense.kernel": tf.Variable([[1.0, -2.0]]),
        "norm.moving_mean": tf.Variable([3.0], trainable=False, dtype=tf.float64),
        "count": tf.Variable([7]),
    }


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)
@given(values=st.lists(numbers, min_size=2, max_size=30), decay=st.floats(0.0, 0.999))
def test_after_n_updates_each_value_weighs_its_power_of_the_decay(dtype, values, decay):
    found = averaged(dtype)(values, [decay])[-1]
    start, *later = [Fraction(float(value)) for value in np.array(values, dtype.as_numpy_dtype)]
    d, n = Fraction(decay), len(later)
    expected = d**n * start + sum((1 - d) * d ** (n - 1 - k) * value for k, value in enumerate(later))
    # Four roundings an update, each of numbers up to twice the largest.
    assert abs(Fraction(float(found)) - expected) <= 8 * n * EPS[dtype] * max(map(abs, [start, *later]))


def test_one_update_in_float64_is_exact_to_a_few_roundings():
    found = averaged(tf.float64)([1.0, 3.0], [0.999])[0]
    expected = Fraction(0.999) + 3 * (1 - Fraction(0.999))
    assert abs(Fraction(float(found)) / expected - 1) < 1e-15


def test_in_float32_one_minus_the_decay_keeps_its_digits():
    found = averaged(tf.float32)([0.0, 1.0], [0.9999])[0]
    np.testing.assert_allclose(found, 1e-4, rtol=1e-7)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)
@given(values=st.lists(numbers, min_size=2, max_size=10))
def test_a_decay_of_0_gives_the_variable_bit_for_bit(dtype, values):
    found = averaged(dtype)(values, [0.0])
    assert found.tobytes() == np.array(values[1:], dtype.as_numpy_dtype).tobytes()


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)
@given(value=numbers, decays=st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1))
def test_a_constant_variable_is_a_fixed_point_bit_for_bit(dtype, value, decays):
    constant = np.full(20, value, dtype.as_numpy_dtype)
    assert averaged(dtype)(constant, decays).tobytes() == constant[1:].tobytes()


@pytest.mark.parametrize("decay", [0.2, 0.5, 0.999])
def test_the_warm_up_follows_tensorflow(decay):
    values = np.random.default_rng(0).standard_normal(60)
    x, updates = tf.Variable(values[0]), tf.Variable(0)
    oracle = tf.train.ExponentialMovingAverage(decay, num_updates=updates)
    expected = []
    for i, value in enumerate(values):
        x.assign(value)
        updates.assign(i - 1)
        oracle.apply([x])
        if i == 0:
            oracle.average(x).assign(x)
        expected.append(oracle.average(x).numpy())
    # TensorFlow's decay is a float32: it is off by up to 3e-8, and the values by up to 3.
    np.testing.assert_allclose(averaged(tf.float64, warmup=True)(values, [decay]), expected[1:], atol=5e-7)


def test_a_number_and_a_constant_schedule_average_alike():
    ends = []
    for decay in (0.9, optim.schedules.constant(0.9)):
        variables, average = model(), optim.EMA(decay)
        average.init(variables)
        for i in range(3):
            variables["dense.kernel"].assign([[i, 1.0]])
            average.update()
        ends.append([v.numpy().tolist() for v in average.variables])
    assert ends[0] == ends[1]


def test_every_exported_average_is_made_here():
    exported = {n for n in optim.__all__ if isinstance(getattr(optim, n), type) and issubclass(getattr(optim, n), Base)}
    # EvaluationWeights are a rule's own average, and tested with it.
    assert exported - {"Average", "EvaluationWeights"} == set(EVERY)


@every_average
def test_every_floating_variable_has_an_average_that_starts_at_its_value(make):
    variables, average = model(), make()
    average.init(variables)
    assert list(average.averages) == ["dense.kernel", "norm.moving_mean"]
    for path, found in average.averages.items():
        assert (found.dtype, found.numpy().tolist()) == (variables[path].dtype, variables[path].numpy().tolist())
        assert found.name == f"average/{path}:0"
        assert found.aggregation == tf.VariableAggregation.NONE


@every_average
def test_the_state_is_averages_residuals_and_a_count_and_not_the_model(make):
    variables, average = model(), make()
    average.init(variables)
    residuals = average.residuals if isinstance(average, optim.SWA) else {}
    expected = {v.ref() for v in (*average.averages.values(), *residuals.values(), average.updates)}
    assert {v.ref() for v in average.variables} == expected
    assert average.trainable_variables == ()
    assert (average.updates.dtype, int(average.updates)) == (tf.int64, 0)


@every_average
def test_a_restored_average_continues_to_the_same_bits(make, tmp_path):
    variables, average = model(), make()
    average.init(variables)
    for i in range(5):
        variables["dense.kernel"].assign([[0.3 * i, 0.1]])
        average.update()
    path = tf.train.Checkpoint(average=average).write(tmp_path / "state")
    resumed = make()
    resumed.init(variables)
    tf.train.Checkpoint(average=resumed).read(path).assert_consumed()
    for i in range(5):
        variables["dense.kernel"].assign([[-5.0 + i, 0.2]])
        for each in (average, resumed):
            each.update()
    assert int(resumed.updates) == 10
    for found, expected in zip(resumed.variables, average.variables, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("jit_compile", [False, True])
@every_average
def test_works_compiled_and_in_a_branch_that_may_not_be_taken(make, jit_compile):
    variables, average, plain = model(), make(), make()
    average.init(variables)
    plain.init(variables)

    @tf.function(jit_compile=jit_compile)
    def step(learn):
        variables["dense.kernel"].assign_add([[0.7, 2.0]])
        if learn:
            average.update()

    for learn in (False, True, True, False, True, True):
        step(tf.constant(learn))
        if learn:
            plain.update()
        assert int(average.updates) == int(plain.updates)
        for path, found in average.averages.items():
            np.testing.assert_allclose(found, plain.averages[path], rtol=1e-6)
    assert step.experimental_get_tracing_count() == 1


@every_average
def test_mirrored_averages_update_inside_every_replica(make):
    devices = tf.config.list_logical_devices("CPU")
    strategy = tf.distribute.MirroredStrategy(
        [device.name for device in devices], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        variables, average = model(), make()
        average.init(variables)
    others, plain = model(), make()
    plain.init(others)

    @tf.function
    def step():
        def replica():
            variables["dense.kernel"].assign_add([[3.0, 0.7]])
            tf.cond(tf.constant(True), average.update, lambda: None)

        strategy.run(replica)

    for _ in range(3):
        step()
        others["dense.kernel"].assign_add([[3.0, 0.7]])
        plain.update()
    for found in strategy.experimental_local_results(average.averages["dense.kernel"]):
        np.testing.assert_allclose(found, plain.averages["dense.kernel"], rtol=1e-6)
    assert [int(v) for v in strategy.experimental_local_results(average.updates)] == [3] * len(devices)


@every_average
def test_init_again_changes_nothing_and_refuses_other_variables(make):
    variables, average = model(), make()
    name = type(average).__name__
    with pytest.raises(ValueError, match=rf"^{name}\.update: there are no averages yet; call init first"):
        average.update()
    average.init(variables)
    before = [id(v) for v in average.variables]
    average.init(variables)
    assert [id(v) for v in average.variables] == before
    with pytest.raises(ValueError, match=rf"^{name}\.init: called before with other variables"):
        average.init(model())
    x = tf.Variable(1.0)
    with pytest.raises(ValueError, match=rf"^{name}\.init: a is b again; give it once"):
        make().init({"a": x, "b": x})


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan"), 2])
def test_a_decay_that_is_none_is_refused(decay):
    with pytest.raises(ValueError, match=f"^decay must be a number from 0 to below 1, got {decay}$"):
        optim.EMA(decay)
    with pytest.raises(TypeError, match=r"^decay must be a number from 0 to below 1, got '0\.9'$"):
        optim.EMA("0.9")


def test_an_average_of_ones_own_needs_only_a_rate():
    class Mean(optim.Average):
        def rate(self):
            return 1.0 / tf.cast(self.updates + 1, tf.float64)

    x, mean = tf.Variable(100.0, dtype=tf.float64), Mean()
    mean.init([x])
    for value in (1.0, 2.0, 6.0):
        x.assign(value)
        mean.update()
    np.testing.assert_allclose(mean.averages["0"], 3.0, rtol=1e-15)
    average = optim.Average()
    average.init([x])
    with pytest.raises(NotImplementedError, match=r"Average must define rate\(\)"):
        average.update()
