"""The checker is checked: every planted mistake is caught and named, and nothing right is ever called wrong."""

import cases  # noqa: F401 (fills the registry)
import numpy as np
import planted
import planted_functions  # noqa: F401 (fills PLANTS)
import planted_layers  # noqa: F401
import pytest
import registry
import right
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import layers
from engine import testing

# Those that cost little.
SMALL = [
    case
    for name, several in registry.CASES.items()
    for case in several
    if name.startswith(("layers.activations", "engine.losses", "layers.Flatten", "optim.SGD")) and case.order == 2
]
# Plants in one layer at one point have one right gradient.
CONTROLS = {(plant.control, str(plant.options)): plant for plant in planted.PLANTS}.values()


@pytest.mark.parametrize("plant", planted.PLANTS, ids=str)
def test_a_planted_mistake_is_caught_and_named(plant):
    with pytest.raises(testing.GradientError) as caught:
        testing.check_gradients(plant.wrong(), plant.inputs, **plant.options)
    assert plant.blamed in (None, caught.value.name)
    assert plant.index in (None, caught.value.index)


@pytest.mark.parametrize("plant", CONTROLS, ids=str)
def test_without_the_mistake_the_plant_passes(plant):
    testing.check_gradients(plant.right(), plant.inputs, directions=1, **plant.options)


def test_there_are_more_than_forty_plants_and_none_stands_twice():
    assert len({plant.mistake for plant in planted.PLANTS}) == len(planted.PLANTS) > 40


class OneOff(tf.Module):
    """A function with an identity in front of its inputs, one coordinate of whose gradient is off."""

    def __init__(self, function, leaf, index, share):
        super().__init__()
        self.function, self.leaf, self.index, self.share = function, leaf, index, share

    def __call__(self, *inputs, **training):
        @tf.custom_gradient
        def off(x):
            def gradient(g):
                error = self.share * tf.reduce_max(tf.abs(g))
                return tf.tensor_scatter_nd_add(g, [self.index], [error])

            return tf.identity(x), gradient

        leaves = tf.nest.flatten(inputs)
        leaves[self.leaf] = off(leaves[self.leaf])
        return self.function(*tf.nest.pack_sequence_as(inputs, leaves), **training)


@given(data=st.data())
def test_any_coordinate_of_any_input_that_is_off_is_caught_and_named(data):
    case = data.draw(st.sampled_from(SMALL))
    function, inputs = case.make()
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    leaves = tf.nest.flatten(inputs)
    floating = [place for place, leaf in enumerate(leaves) if np.asarray(leaf).dtype.kind == "f" and np.ndim(leaf)]
    leaf = data.draw(st.sampled_from(floating))
    index = [data.draw(st.integers(0, length - 1)) for length in np.shape(leaves[leaf])]
    wrong = OneOff(function, leaf, index, data.draw(st.sampled_from([1e-4, -0.01, 1.0])))
    with pytest.raises(testing.GradientError) as caught:
        testing.check_gradients(wrong, inputs, seed=data.draw(st.integers(0, 99)), **case.options)
    assert caught.value.index == tuple(index)


@pytest.mark.parametrize(
    ("verdict", "function", "options"),
    [
        ("disconnected", lambda x, y: tf.sin(x), {}),
        ("constant", lambda x, y: (x * y, tf.ones([2])), {}),
        ("non_deterministic", lambda x, y: x * y + tf.random.normal(x.shape, dtype=x.dtype), {}),
        ("non_deterministic", lambda x, y, training: layers.Dropout(0.5)((x * y)[None], training), {"training": True}),
        ("non_finite", lambda x, y: tf.math.log(x - x) * y, {}),
        ("non_finite", lambda x, y: tf.where(x < 9, y, tf.math.log(x - 1)), {}),
    ],
    ids=["no-path", "an-output-alone", "noise", "dropout", "values", "gradients"],
)
def test_what_is_no_gradient_is_no_pass(verdict, function, options):
    with pytest.raises(testing.GradientError) as caught:
        testing.check_gradients(function, (np.linspace(0.5, 1.0, 64), np.linspace(2.0, 3.0, 64)), **options)
    assert caught.value.verdict == verdict


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("function", [lambda x: tf.exp(x) - 1, tf.nn.elu, lambda x: tf.math.log(1 + x)])
def test_digits_that_a_function_loses_are_no_mistake(function, dtype):
    # At 7e-5, exp(x) − 1 keeps 12 of float64's 16 digits: one output alone may hide that by chance.
    for seed in range(3):
        at = np.array([-7.1e-5 if dtype == "float64" else -7.1e-3])
        testing.check_gradients(function, at, seed=seed, dtype=dtype)


def alarms(seeds):
    found = []
    for seed in seeds:
        case = right.random_case(seed)
        try:
            function, inputs = case.make()
            testing.check_gradients(function, inputs, order=case.order, directions=1, seed=seed, **case.options)
        except testing.GradientError as error:
            found.append((seed, str(case), str(error)))
    return found


@pytest.mark.parametrize("part", range(20))
def test_a_random_case_of_a_right_function_raises_no_alarm(part):
    assert alarms(range(part * 50, part * 50 + 50)) == []


@pytest.mark.soak
@pytest.mark.parametrize("part", range(20))
def test_ten_thousand_random_cases_raise_no_alarm(part):
    assert alarms(range(part * 500, part * 500 + 500)) == []
