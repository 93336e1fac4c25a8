from functools import partial

import numpy as np
import pytest
import tensorflow as tf

import layers


def test_layers_and_functions_follow_each_other():
    first, second = layers.Dense(3, 4), layers.Dense(4, 2)
    x = tf.random.stateless_normal([5, 3], [1, 2])
    model = layers.Sequential([first, tf.nn.relu, lambda x: x * 2, second])
    np.testing.assert_allclose(model(x), second(tf.nn.relu(first(x)) * 2))


def test_training_reaches_those_that_take_it(step_context):
    seen = []

    def spy(x, training="absent"):
        seen.append(training)
        return x

    context = step_context()
    inner = layers.Sequential([spy, layers.Dropout(0.5)])
    model = layers.Sequential([tf.nn.relu, inner, spy])
    assert np.any(model(tf.ones([8, 9]), training=context) == 0)
    model(tf.ones([8, 9]))
    assert seen == [context, context, False, False]


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        (
            [layers.Dense(3, 120), layers.Dense(100, 10)],
            r"^layer 1 Dense\(100, 10\) cannot take \[..., 120\] from layer 0 Dense\(3, 120\): .* 100, found 120",
        ),
        (
            [layers.Conv2D(1, 8, 3), layers.MaxPool2D(), layers.Dropout(0.1), layers.BatchNorm(9)],
            r"layer 3 BatchNorm\(9\) cannot take \[..., 8\] from layer 2 Dropout\(0.1\)",
        ),
        (
            [layers.Sequential([layers.Dense(3, 4)]), layers.Sequential([layers.Dense(5, 4)])],
            r"layer 1 Sequential\(.*\) cannot take \[..., 4\] from layer 0 Sequential.*: layer 0 Dense\(5, 4\)",
        ),
    ],
)  # fmt: skip
def test_neighbours_whose_sizes_are_known_are_checked_at_construction(stack, message):
    with pytest.raises(ValueError, match=message):
        layers.Sequential(stack)


@pytest.mark.parametrize("wrap", [lambda model: model, tf.function], ids=["eager", "graph"])
def test_other_neighbours_are_named_when_the_first_tensor_passes(wrap):
    model = layers.Sequential([tf.nn.relu, layers.Flatten(), layers.Dense(100, 10)])
    expected = r"layer 2 Dense\(100, 10\) cannot take \[2, 120\] from layer 1 Flatten\(\): .* of 100, found 120"
    with pytest.raises(ValueError, match=expected):
        wrap(model)(tf.zeros([2, 12, 10]))
    with pytest.raises(ValueError, match=r"layer 0 Dense\(3, 4\) cannot take \[2, 5\] from the input"):
        wrap(layers.Sequential([layers.Dense(3, 4)]))(tf.zeros([2, 5]))


def test_integers_are_a_type_error_that_names_the_layer():
    with pytest.raises(TypeError, match=r"layer 0 Dense\(3, 4\) .*uint8: convert it first"):
        layers.Sequential([layers.Dense(3, 4)])(tf.zeros([2, 3], tf.uint8))


@pytest.mark.parametrize("item", [3, None, layers.Flatten, partial(layers.Dense, units=3)])
def test_what_is_neither_layer_nor_function_is_refused(item):
    with pytest.raises(TypeError, match="layer 1 must be a layer or a function, found"):
        layers.Sequential([layers.Flatten(), item])


def test_only_a_list_or_tuple_is_taken_and_a_slice_of_the_layers_is_one():
    with pytest.raises(TypeError, match=r"Sequential takes a list of layers, found Dense\(3, 4\)"):
        layers.Sequential(layers.Dense(3, 4))
    model = layers.Sequential([layers.Dense(3, 4), layers.Dense(4, 2)])
    for part in (model.layers, model.layers[:-1]):
        again = layers.Sequential(part)
        assert again.layers[0] is model.layers[0]
        assert again.arguments.arguments["layers"][0] is model.layers[0]


def test_chain_sizes_a_stack_of_layers_functions_partials_and_classes():
    model = layers.chain(
        (12, 10, 2),
        partial(layers.Conv2D, filters=4, kernel_size=3),
        layers.BatchNorm,
        tf.nn.relu,
        partial(layers.MaxPool2D, pool_size=2),
        partial(layers.Dropout, rate=0.25),
        lambda x: tf.concat([x, x], -1),
        partial(partial(layers.Conv2D, filters=3), kernel_size=(2, 1)),
        layers.Flatten,
        layers.Dense(4 * 4 * 3, 7),
        partial(layers.Dense, units=5),
    )
    assert model(tf.zeros([3, 12, 10, 2])).shape == [3, 5]
    assert [layer.kernel.shape for layer in model.layers if hasattr(layer, "kernel")] == [
        [3, 3, 2, 4], [2, 1, 8, 3], [48, 7], [7, 5],
    ]  # fmt: skip


def test_chain_gives_the_input_size_to_the_argument_that_is_one_wherever_it_stands():
    model = layers.chain((10, 6), partial(layers.PositionEmbedding, max_length=12), partial(layers.LSTM, units=3))
    assert repr(model) == "Sequential([PositionEmbedding(max_length=12, features=6), LSTM(6, units=3)])"


def test_chain_computes_and_moves_nothing():
    norm = layers.BatchNorm(3)
    layers.chain((4, 3), norm)
    np.testing.assert_array_equal(norm.moving_mean, np.zeros(3))


@pytest.mark.parametrize(
    ("shape", "items", "kind", "message"),
    [
        (784, [], TypeError, r"input_shape must be one example's, such as \(28, 28, 1\), found 784"),
        ((4,), [partial(layers.Dense, 3)], TypeError, r"item 0 partial\(Dense.*: give keywords only"),
        ((4,), [partial(layers.Dense, in_features=4)], TypeError, r"item 0 .*units"),
        ((4,), [layers.Dense], TypeError, "item 0 Dense: .*units"),
        ((4,), [tf.nn.relu, partial(layers.Dense, units=0)], ValueError,
         r"item 1 partial\(Dense, units=0\): Dense\(4, units=0\): units must be a positive integer"),
        # The length of a sentence is no vocabulary, and the number of features no noise.
        ((20,), [partial(layers.Embedding, output_dim=8)], TypeError, "item 0 .* 'input_dim'"),
        ((10,), [layers.GaussianNoise], TypeError, "item 0 GaussianNoise: .*'stddev'"),
        ((None,), [partial(layers.Dense, units=2)], ValueError, "item 0 .* last dimension .* is unknown"),
        ((8,), [layers.Flatten(), layers.Dense(9, 2)], ValueError,
         r"layer 1 Dense\(9, 2\) cannot take \[None, 8\] from layer 0 Flatten\(\)"),
        ((4, 4, 1), [layers.MaxPool2D(3), layers.MaxPool2D()], ValueError,
         r"layer 1 MaxPool2D\(\) cannot take \[None, 1, 1, 1\] from layer 0 MaxPool2D\(3\): .* exceeds"),
    ],
)  # fmt: skip
def test_chain_names_the_item_that_does_not_fit(shape, items, kind, message):
    with pytest.raises(kind, match=message) as caught:
        layers.chain(shape, *items)
    assert "\n" not in str(caught.value)
