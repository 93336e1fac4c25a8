"""What `engine.summary` counts is what closed forms say; models stay as they are; drawings have the model's edges."""

import json
import re
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

import engine
import layers
from layers import nets

SAME = {"padding": "same"}


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (lambda: layers.Dense(5, 7), [5], 5 * 7),
        (lambda: layers.Dense(5, 7), [4, 5], 4 * 5 * 7),
        (lambda: layers.Conv2D(3, 8, 3), [9, 11, 3], 7 * 9 * 8 * 3 * 3 * 3),
        (lambda: layers.Conv2D(3, 8, (3, 5), strides=2, **SAME), [9, 11, 3], 5 * 6 * 8 * 3 * 5 * 3),
        (lambda: layers.Conv1D(3, 6, 4), [10, 3], 7 * 6 * 4 * 3),
        (lambda: layers.Conv3D(2, 3, 2), [4, 5, 6, 2], 3 * 4 * 5 * 3 * 8 * 2),
        (lambda: layers.DepthwiseConv2D(4, 3, depth_multiplier=2), [6, 6, 4], 4 * 4 * 8 * 9),
        (lambda: layers.SeparableConv2D(4, 5, 3), [6, 6, 4], 4 * 4 * 4 * 9 + 4 * 4 * 4 * 5),
        # Each of the 4×4 inputs meets 3·3 weights of each output channel.
        (lambda: layers.Conv2DTranspose(3, 5, 3, strides=2, **SAME), [4, 4, 3], 4 * 4 * 3 * 3 * 3 * 5),
        (lambda: layers.LSTM(6, 8), [7, 6], 7 * (6 + 8) * 4 * 8),
        (lambda: layers.LSTM(6, 8, activation="relu"), [7, 6], 7 * (6 + 8) * 4 * 8),
        (lambda: layers.GRU(6, 8), [7, 6], 7 * (6 + 8) * 3 * 8),
        (lambda: layers.BatchNorm(4), [6, 6, 4], 0),
        (lambda: layers.MaxPool2D(), [6, 6, 4], 0),
    ],
)
def test_multiply_adds_are_those_of_the_closed_form(layer, shape, expected):
    assert engine.summary(layer(), tf.TensorSpec([None, *shape])).multiply_adds == expected


def test_multiply_adds_of_attention_are_those_of_the_closed_form():
    time, features = 6, 8
    found = engine.summary(layers.MultiHeadAttention(features, 2), tf.TensorSpec([None, time, features]))
    projections, products = 4 * time * features**2, 2 * time**2 * features
    assert (found.multiply_adds, found.notes) == (projections + products, ())


class Function(tf.Module):
    """A module whose call is a function of x."""

    def __init__(self, function):
        super().__init__()
        self._function = function

    def __call__(self, x):
        return self._function(x)


def test_of_grouped_filters_each_sees_its_own_channels():
    module = Function(lambda x: tf.nn.conv2d(x, tf.ones([3, 3, 2, 8]), 1, "SAME"))
    assert engine.summary(module, tf.TensorSpec([None, 5, 5, 4])).multiply_adds == 5 * 5 * 8 * 3 * 3 * 2


@pytest.mark.parametrize(
    ("equation", "other", "expected"),
    [
        ("bij,jk->bik", [5, 2], 3 * 5 * 2),
        ("bij,kj->bk", [2, 5], 3 * 5 * 2),
        ("...j,jk->...k", [5, 2], 3 * 5 * 2),
        ("bij,bkj->bik", [1, 4, 5], 3 * 5 * 4),
        ("bij->bji", None, 0),
    ],
)
def test_multiply_adds_of_an_einsum_are_the_product_of_its_letters(equation, other, expected):
    operands = [] if other is None else [tf.ones(other)]
    module = Function(lambda x: tf.einsum(equation, x, *operands))
    assert engine.summary(module, tf.TensorSpec([None, 3, 5])).multiply_adds == expected


def square(x):
    return x @ tf.ones([4, 4])


def counted(x, condition, start=0, by=1, **options):
    return tf.while_loop(lambda t, x: condition(t), lambda t, x: (t + by, square(x)), (start, x), **options)[1]


def nested(x):
    outer = tf.while_loop(
        lambda t, x, n: t < 3,
        lambda t, x, n: (t + 1, counted(x, lambda t: t < n), n),
        (0, x, tf.shape(x)[1] + 1),
        maximum_iterations=2,
    )
    return outer[1]


@pytest.mark.parametrize(
    ("function", "turns"),
    [
        (lambda x: counted(x, lambda t: t < 6), 6),
        (lambda x: counted(x, lambda t: t <= 6, by=2), 4),
        (lambda x: counted(x, lambda t: t > 0, start=7, by=-3), 3),
        (lambda x: counted(x, lambda t: t >= 1, start=7, by=-3), 3),
        (lambda x: counted(x, lambda t: t < tf.shape(x)[1] + 3), 7),
        (lambda x: counted(x, lambda t: t < 6, maximum_iterations=4), 4),
        (lambda x: counted(x, lambda t: t < 0), 0),
        (nested, 10),
        (lambda x: tf.map_fn(lambda row: square(row[tf.newaxis])[0], tf.tile(x, [9, 1])), 9),
    ],
)
def test_what_is_in_a_loop_counts_as_often_as_the_loop_turns(function, turns):
    found = engine.summary(Function(function), tf.TensorSpec([None, 4]))
    assert (found.multiply_adds, found.notes) == (turns * 16, ())


def test_what_could_not_be_counted_is_said():
    def unknown(x):
        x = tf.while_loop(lambda x: tf.reduce_sum(x) < 9, lambda x: [square(x)], [x])[0]
        return tf.cast(tf.signal.fft(tf.cast(x, tf.complex64)), tf.float32)

    found = engine.summary(Function(unknown), tf.TensorSpec([None, 4]))
    assert found.multiply_adds == 16
    assert found.notes == (
        "the model itself: a loop whose number of turns is not known is counted once",
        "the model itself: FFT is not counted",
    )
    assert "Note: the model itself: FFT is not counted." in str(found)
    early = Function(lambda x: counted(x, lambda t: tf.reduce_sum(x) < 9, maximum_iterations=5))
    found = engine.summary(early, tf.TensorSpec([None, 4]))
    assert (found.multiply_adds, found.notes) == (
        80,
        ("the model itself: a loop that may end early is counted 5 times",),
    )
    found = engine.summary(layers.LSTM(6, 8), tf.TensorSpec([None, None, 6]))
    assert any("MatMul of a shape that is not known" in note for note in found.notes)


def test_of_a_branch_the_dearer_side_counts():
    module = Function(lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: square(square(x)), lambda: square(x)))
    assert engine.summary(module, tf.TensorSpec([None, 4])).multiply_adds == 32


class Half(tf.Module):
    """Foreign: its call branches by AutoGraph."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable(tf.ones([4, 2]))

    def __call__(self, x):
        if tf.reduce_sum(x) > 0:
            x = -x
        return x @ self.w


class Foreign(tf.Module):
    """A model without any class of `layers`, compiled by itself, one of whose modules serves twice."""

    def __init__(self):
        super().__init__()
        self.parts = {"half": Half()}
        self.scale = tf.Variable(2.0)
        self.unused = Half()

    @tf.function
    def __call__(self, x, training=False):
        return self.parts["half"](x) * self.scale + self.parts["half"](2.0 * x)


def test_a_foreign_model_is_seen_through_and_left_as_it_was():
    model = Foreign()
    x = tf.ones([3, 4])
    before, calls = model(x), (vars(Foreign)["__call__"], vars(Half)["__call__"])
    weights, names = engine.weights_sha256(model), {*vars(model)}
    found = engine.summary(model, x)
    assert [(row.path, row.layer, row.calls, row.output) for row in found.rows] == [
        ("", "Foreign", 1, [1, 2]),
        ("unused", "Half", 0, None),
        ("parts.half", "Half", 2, [1, 2]),
    ]
    assert [(row.parameters, row.multiply_adds) for row in found.rows] == [(1, 0), (8, 0), (8, 2 * 4 * 2)]
    assert (vars(Foreign)["__call__"], vars(Half)["__call__"]) == calls
    assert (engine.weights_sha256(model), {*vars(model)}) == (weights, names)
    np.testing.assert_array_equal(model(x), before)
    assert model(tf.ones([2, 4])).shape == [2, 2]


def test_classes_are_put_back_when_the_model_fails():
    original = vars(layers.Dense)["__call__"]
    with pytest.raises(ValueError, match="expects a last dimension of 3, found 4"):
        engine.summary(layers.Dense(3, 2), tf.TensorSpec([None, 4]))
    assert vars(layers.Dense)["__call__"] is original


def model():
    return layers.Sequential(
        [
            layers.Conv2D(1, 4, 3, activation="relu"),
            layers.Residual(layers.Sequential([layers.BatchNorm(4), layers.Conv2D(4, 4, 1)])),
            layers.Flatten(),
            layers.Dense(36 * 4, 10),
        ]
    )


def test_columns_add_up_at_every_depth_and_records_are_json():
    made = model()
    made.layers[0].trainable = False
    found = engine.summary(made, tf.TensorSpec([None, 8, 8, 1]))
    assert found.parameters == engine.parameter_count(made)
    assert found.trainable == sum(int(np.prod(v.shape)) for v in engine.trainable_variables(made))
    assert found.bytes == 4 * found.parameters
    records = {record["path"]: record for record in json.loads(json.dumps(found.records()))}
    assert records["layers.0"]["state"] == "frozen"
    assert records["layers.3"]["state"] == "trainable"
    assert records["layers.0"]["output"] == [1, 6, 6, 4]
    assert records["layers.0"]["multiply_adds"] == 36 * 4 * 9
    for depth in (0, 1, 2, None):
        lines = [line for line in found.text(depth).splitlines() if re.match(r"\(model\)|layers|total", line)]
        assert len({len(line) for line in found.text(depth).splitlines()[2:4]}) <= 2
        sums = [sum(int(n.replace(",", "")) for n in re.findall(r"(?<=  )[\d,]+(?=$)", line)) for line in lines]
        assert sum(sums[:-1]) == sums[-1] == found.bytes
    assert len([line for line in found.text(1).splitlines() if line.startswith("layers")]) == 4


def test_drawings_have_the_flow_of_the_model():
    found = engine.summary(model(), tf.TensorSpec([None, 8, 8, 1]))
    norm, conv = (
        next(r.path for r in found.rows if r.layer == kind and r.depth > 1) for kind in ("BatchNorm", "Conv2D")
    )
    edges = set(found.drawing.edges)
    (meeting,) = [name for name, node in found.drawing.nodes.items() if node.meets]
    assert found.drawing.nodes[meeting].lines == ("Add",)
    assert edges == {
        ("input", "layers.0"), ("layers.0", norm), (norm, conv), (conv, meeting), ("layers.0", meeting),
        (meeting, "layers.2"), ("layers.2", "layers.3"), ("layers.3", "output"),
    }  # fmt: skip
    dot, mermaid = found.dot(), found.mermaid()
    assert dot.count("{") == dot.count("}") == 1 + dot.count("subgraph")
    assert dot.count(" -> ") == mermaid.count(" --> ") == len(edges)
    assert mermaid.count("subgraph") == mermaid.count("\n    end") + mermaid.count("\n        end") >= 1
    assert f'"{norm}" [label="{norm}\\nBatchNorm\\n[1, 6, 6, 4]"];' in dot
    assert '["layers.2<br/>Flatten<br/>[1, 144]"]' in mermaid


def test_the_parameters_of_resnet50_are_those_that_keras_publishes():
    found = engine.summary(nets.resnet50(), tf.TensorSpec([None, 64, 64, 3]))
    assert (found.parameters, found.trainable) == (25_636_712, 25_583_592)
    assert not found.notes


def test_any_nest_of_inputs_will_do():
    both = Function(lambda x: x["a"] @ tf.ones([3, 2]) + x["b"])
    found = engine.summary(both, {"a": np.ones([5, 3], np.float32), "b": tf.TensorSpec([None, 2])})
    assert found.multiply_adds == 6
    tokens = layers.Sequential([layers.Embedding(9, 4), partial(tf.reduce_mean, axis=1), layers.Dense(4, 2)])
    assert engine.summary(tokens, tf.TensorSpec([None, 7], tf.int32)).multiply_adds == 8


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((lambda x: x, tf.TensorSpec([None, 3])), TypeError, "^summary takes a tf.Module, found <function"),
        ((layers.Dense(3, 2), tf.TensorSpec([])), ValueError, "^inputs must have a batch dimension: tf.TensorSpec"),
    ],
)
def test_what_cannot_be_summarised_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        engine.summary(*arguments)
