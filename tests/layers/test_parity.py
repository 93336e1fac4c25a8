"""One suite for all layers: Keras' values and gradients, graphs, XLA, dtypes, bad input."""

import copy
import inspect
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import CASES, ELSEWHERE
from parity_windows import ARRANGING, grouped_conv_2d

import layers

# Keras warns of a softmax over a single channel, which is among the cases.
pytestmark = pytest.mark.filterwarnings("ignore:You are using a softmax over axis")

every_layer = pytest.mark.parametrize("case", CASES.values(), ids=[layer.__name__ for layer in CASES])


def problem(draw, case, dtype="float64"):
    """(our layer, Keras' layer with equal random weights, an input, `training`)."""
    ours, theirs, shape = case(draw, dtype)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = random.normal(size=[draw(st.integers(2, 5)), *shape]).astype(dtype)
    theirs.build(x.shape)
    for mine, other in variables(ours, theirs):
        value = random.normal(size=mine.shape)
        value = np.exp(value) if "variance" in other.name else value
        mine.assign(value.astype(dtype))
        other.assign(value.astype(dtype))
    draws = getattr(ours, "rate", 0) or getattr(ours, "stddev", 0)
    training = draw(st.booleans()) and not draws
    return ours, theirs, x, training


def variables(ours, theirs):
    """Pairs of our variables and Keras', by the names of the fields."""
    if isinstance(ours, layers.Sequential):
        inner = zip(ours.layers, theirs.layers, strict=True)
        return [pair for layer, other in inner for pair in variables(layer, other)]
    if hasattr(theirs, "pairs"):
        return theirs.pairs(ours)
    assert len(ours.variables) == len(theirs.weights)
    return [(getattr(ours, other.name), other) for other in theirs.weights]


def call(layer, x, training):
    takes = "training" in inspect.signature(getattr(layer, "call", layer)).parameters
    return layer(x, training=training) if takes else layer(x)


def differentiate(layer, x, training, sources):
    """[y, the gradients of Σ y·cotangent with respect to x and the sources]."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = call(layer, x, training)
        cotangent = np.cos(np.arange(np.prod(y.shape))).reshape(y.shape)
        total = tf.reduce_sum(y * tf.constant(cotangent, y.dtype))
    return [y, *tape.gradient(total, [x, *sources], unconnected_gradients=tf.UnconnectedGradients.ZERO)]


def agree(ours, theirs, relative):
    for mine, other in zip(ours, theirs, strict=True):
        mine, other = np.asarray(mine, np.float64), np.asarray(other, np.float64)
        np.testing.assert_allclose(mine, other, rtol=0, atol=relative * (1 + np.abs(other).max()))


# A sum of some hundred products loses about two digits beyond those of the dtype; dividing by the square
# root of a variance near epsilon, up to a factor of 300 more.
TOLERANCE = {"float64": 1e-12, "float32": 2e-4}


def test_every_public_layer_has_a_case():
    public = {getattr(layers, name) for name in layers.__all__}
    public = {thing for thing in public if isinstance(thing, type) and issubclass(thing, layers.Layer)}
    assert public - {layers.Layer} == {*CASES, *ELSEWHERE}
    assert all((pathlib.Path(__file__).parent / file).exists() for file in ELSEWHERE.values())


@every_layer
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_values_gradients_and_moving_statistics_are_those_of_keras(case, dtype):
    @settings(max_examples=10)
    @given(st.data())
    def law(data):
        ours, theirs, x, training = problem(data.draw, case, dtype)
        pairs = variables(ours, theirs)
        mine = differentiate(ours, x, training, [pair[0] for pair in pairs])
        other = differentiate(theirs, x, training, [pair[1].value for pair in pairs])
        agree(mine, other, TOLERANCE[dtype])
        agree([pair[0] for pair in pairs], [pair[1] for pair in pairs], TOLERANCE[dtype])
        assert mine[0].dtype == dtype

    law()


def test_grouped_convolutions_are_those_of_keras():
    # Two examples: Keras compiles each of its grouped convolutions with XLA.
    @settings(max_examples=2)
    @given(st.data())
    def law(data):
        ours, theirs, x, _ = problem(data.draw, grouped_conv_2d)
        pairs = variables(ours, theirs)
        mine = differentiate(ours, x, False, [pair[0] for pair in pairs])
        other = differentiate(theirs, x, False, [pair[1].value for pair in pairs])
        agree(mine, other, TOLERANCE["float64"])

    law()


@every_layer
def test_a_graph_with_an_unknown_batch_size_computes_the_same(case):
    @settings(max_examples=3)
    @given(st.data())
    def law(data):
        ours, _, x, training = problem(data.draw, case, "float32")
        model = tf.function(lambda x: call(ours, x, training), input_signature=[tf.TensorSpec([None, *x.shape[1:]])])
        eager = call(copy.deepcopy(ours), x, training)
        # TensorFlow may reorder or fuse float32 sums in a graph.
        agree([model(x)], [eager], 1e-5)
        assert model.get_concrete_function().output_shapes[1:] == eager.shape[1:]

    law()


@every_layer
def test_xla_computes_the_same(case):
    @settings(max_examples=2)
    @given(st.data())
    def law(data):
        ours, _, x, training = problem(data.draw, case)
        sources = ours.trainable_variables
        xla = tf.function(lambda x: differentiate(ours, x, training, sources), jit_compile=True, autograph=False)
        eager = differentiate(copy.deepcopy(ours), x, training, [])
        agree(xla(x)[:2], eager, 1e-12)

    law()


@every_layer
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_layer_computes_in_the_dtype_of_its_input(case, dtype):
    @settings(max_examples=3)
    @given(st.data())
    def law(data):
        ours, _, x, training = problem(data.draw, case, "float32")
        x = tf.cast(x, dtype)
        expected = call(copy.deepcopy(ours), tf.cast(x, tf.float32), training)
        y = call(ours, x, training)
        assert y.dtype == dtype
        # bfloat16 keeps 8 bits; some tens of products and a softmax cost three of them.
        agree([tf.cast(y, tf.float32)], [expected], 2**-5)

    law()


@every_layer
def test_integers_are_refused_with_a_hint(case):
    @settings(max_examples=1)
    @given(st.data())
    def law(data):
        ours, _, x, _ = problem(data.draw, case)
        if not isinstance(ours, ARRANGING):
            with pytest.raises(TypeError, match="computes with floats, found an input of uint8: convert it"):
                ours(x.astype(np.uint8))

    law()


@every_layer
def test_a_layer_built_again_from_its_arguments_has_the_same_arguments_and_variables(case):
    @settings(max_examples=5)
    @given(st.data())
    def law(data):
        ours = problem(data.draw, case)[0]
        again = type(ours)(*ours.arguments.args, **ours.arguments.kwargs)
        assert again.arguments.arguments == ours.arguments.arguments
        assert [v.shape for v in again.variables] == [v.shape for v in ours.variables]

    law()


@pytest.mark.parametrize("layer", [layers.Dense(3, 2), layers.BatchNorm(3), layers.Conv2D(3, 2, 1)])
def test_an_unfitting_last_dimension_is_refused_by_name(layer):
    with pytest.raises(ValueError, match=r"(Dense|BatchNorm|Conv2D)\(3.* last dimension of 3, found 4"):
        layer(tf.zeros([2, 5, 5, 4]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: layers.Dense(0, 3), r"Dense\(0, 3\): in_features must be a positive integer, found 0"),
        (lambda: layers.Dense(3, 2.0), "units must be a positive integer, found 2.0"),
        (lambda: layers.Dense(3, True), "units must be a positive integer, found True"),
        (lambda: layers.Dense(3, 2, activation="rellu"), "unknown activation 'rellu'.*elu, .*gelu, .*tanh"),
        (lambda: layers.Dense(3, 2, kernel_initializer="he"), "unknown initializer 'he'.*constant, .*zeros"),
        (lambda: layers.Dense(3, 2, dtype="int32"), "dtype must be a floating type, found int32"),
        (lambda: layers.Conv2D(3, 2, 0), "kernel_size must be a positive integer, found 0"),
        (lambda: layers.Conv2D(3, 2, (3, 3, 3)), "kernel_size must be a positive integer"),
        (lambda: layers.Conv2D(3, 2, 3, strides=(1, 0)), "strides must be a positive integer, found 0"),
        (lambda: layers.Conv2D(3, 2, 3, padding="full"), "padding must be 'valid' or 'same', found 'full'"),
        (lambda: layers.Conv2D(3, 2, 3, groups=2), "groups must divide in_channels and filters, found 2"),
        (lambda: layers.MaxPool2D(0), r"MaxPool2D\(0\): pool_size must be a positive integer"),
        (lambda: layers.AveragePool2D(strides=-1), "strides must be a positive integer, found -1"),
        (lambda: layers.Dropout(1.0), r"Dropout\(1.0\): rate must lie in \[0, 1\), found 1.0"),
        (lambda: layers.Dropout("half"), r"rate must lie in \[0, 1\), found 'half'"),
        (lambda: layers.BatchNorm(0), "channels must be a positive integer, found 0"),
        (lambda: layers.BatchNorm(3, momentum=1.5), r"momentum must lie in \[0, 1\], found 1.5"),
        (lambda: layers.BatchNorm(3, epsilon=0), "epsilon must be positive, found 0"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_at_construction(build, message):
    with pytest.raises(ValueError, match=message):
        build()
