"""Cells and stacks of them: the suite of `test_parity`, for what has states; and cells of one's own."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from parity_recurrent import agree, build, differentiated, fill, filled, normal, paired

import engine
import layers

CELLS = {"SimpleRNNCell": 1, "LSTMCell": 2, "GRUCell": 1, "StackedRNNCells": 3}


@pytest.mark.parametrize("name", CELLS)
def test_a_step_of_a_cell_is_that_of_keras(name):
    @settings(max_examples=6)
    @given(st.data())
    def law(data):
        options = {"use_bias": data.draw(st.booleans()), "activation": data.draw(st.sampled_from(["tanh", "relu"]))}
        if name == "GRUCell":
            options["reset_after"] = data.draw(st.booleans())
        ours, theirs = build(name, options, layers), build(name, options, keras.layers)
        x, states = normal(5, 3), [normal(5, size, seed=1) for size in tf.nest.flatten(ours.state_size)]
        theirs.build(x.shape)
        parts = zip(getattr(ours, "cells", [ours]), getattr(theirs, "cells", [theirs]), strict=True)
        pairs = [(getattr(mine, weight.name), weight) for mine, other in parts for weight in other.weights]
        variables, weights = fill(pairs)
        # Ours are shaped like `state_size`, a single state being a tensor; Keras' cells want lists.
        mine = tf.nest.pack_sequence_as(ours.state_size, states)
        other = [states[:2], states[2:]] if name == "StackedRNNCells" else states
        agree(
            differentiated(lambda: ours(x, mine), [x, *states, *variables]),
            differentiated(lambda: theirs(x, other), [x, *states, *weights]),
        )

    law()


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_computes_the_same_in_graphs_and_in_the_dtype_of_its_input(name):
    cell = filled(build(name, {}, layers, "float32"))
    x = normal(5, 3, dtype="float32")
    states = tf.nest.map_structure(lambda size: normal(5, size, dtype="float32"), cell.state_size)
    expected = cell(x, states)
    unknown = tf.nest.map_structure(lambda size: tf.TensorSpec([None, size]), cell.state_size)
    signature = [tf.TensorSpec([None, 3]), unknown]
    graph = tf.function(lambda x, states: cell(x, states), input_signature=signature, autograph=False)
    agree(graph(x, states), expected, 1e-6)
    assert graph.get_concrete_function().output_shapes[0].as_list() == [None, 4]
    agree(tf.function(cell, jit_compile=True, autograph=False)(x, states), expected, 1e-6)
    for dtype in ("bfloat16", "float16", "float64"):
        y = cell(*engine.precision.cast_floating((x, states), tf.as_dtype(dtype)))
        assert {each.dtype for each in tf.nest.flatten(y)} == {tf.as_dtype(dtype)}
        agree(tf.nest.map_structure(lambda each: tf.cast(each, "float32"), y), expected, 2**-5)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_built_again_from_its_arguments_has_the_same_variables(name):
    cell = build(name, {}, layers)
    again = type(cell)(*cell.arguments.args, **cell.arguments.kwargs)
    assert [v.shape for v in again.variables] == [v.shape for v in cell.variables]
    with pytest.raises(TypeError, match="computes with floats, found an input of uint8: convert it"):
        cell(tf.zeros([2, 3], tf.uint8), tf.nest.map_structure(lambda size: tf.zeros([2, size]), cell.state_size))


def test_stacks_take_masks_and_return_states_as_in_keras():
    ours = layers.RNN(build("StackedRNNCells", {}, layers), return_sequences=True, return_state=True)
    theirs = keras.layers.RNN(
        build("StackedRNNCells", {}, keras.layers), return_sequences=True, return_state=True, dtype="float64"
    )
    x, mask = normal(3, 4, 3), tf.constant([[True, False, True, True], [False, True, True, False], [True] * 4])
    states = [normal(3, size, seed=1) for size in (2, 2, 4)]
    theirs.build(x.shape)
    variables, weights = fill(paired(ours, theirs).pairs(ours))
    agree(
        differentiated(lambda: ours(x, initial_state=states, mask=mask), [x, *states, *variables]),
        differentiated(lambda: theirs(x, [states[:2], states[2:]], mask), [x, *states, *weights]),
    )
    _, *last = ours(x)
    assert tf.nest.map_structure(lambda state: state.shape[1], last) == [(2, 2), 4]
    agree(ours(x, initial_state=last), ours(x, initial_state=tf.nest.flatten(last)))


def test_a_stack_of_cells_is_a_stack_of_layers():
    below, above = layers.LSTMCell(3, 2, dtype="float64"), layers.GRUCell(2, 4, dtype="float64")
    x, mask = normal(2, 4, 3), tf.constant([[True, False, True, True], [False, True, True, False]])
    stack = filled(layers.RNN([below, above]))
    composed = layers.RNN(above)(layers.RNN(below, return_sequences=True)(x, mask=mask), mask=mask)
    agree(stack(x, mask=mask), composed)


class Counting:
    """A cell of one's own, without variables: a running sum and the number of steps; the output is the mean."""

    state_size, output_size = {"sum": 2, "steps": 1}, 2

    def __call__(self, inputs, states):
        new = {"sum": states["sum"] + inputs, "steps": states["steps"] + 1}
        return new["sum"] / new["steps"], new


@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: tf.function(f, jit_compile=True, autograph=False)])
def test_a_cell_of_ones_own_has_any_states(wrap):
    x, mask = normal(2, 4, 2), tf.constant([[True, False, True, True], [False, True, True, True]])
    layer = layers.RNN(Counting(), return_state=True)

    @wrap
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y, states = layer(x, mask=mask)
        return y, states, tape.gradient(y, x)

    y, states, to_x = run(x)
    kept = np.where(mask.numpy()[:, :, None], x, 0)
    agree(y, kept.sum(1) / 3)
    agree(states, {"sum": kept.sum(1), "steps": np.full([2, 1], 3.0)})
    agree(to_x, np.where(mask.numpy()[:, :, None], 1 / 3, 0.0) + 0 * kept)
    with pytest.raises(TypeError, match=r"Counting .* cannot be made again .*: give Bidirectional a backward_layer"):
        layers.Bidirectional(layers.RNN(Counting()))


class Noisy:
    """A cell of one's own that draws at every step, and puts out what it drew."""

    state_size, output_size = 1, 4

    def __call__(self, inputs, states, training=False):
        drawn = [layers.context.uniform(training, [inputs.shape[0], 2]) for _ in range(2)]
        return tf.concat(drawn, 1), states


@pytest.mark.parametrize("make", [lambda: engine.StepContext(seed=3, step=2), lambda: True])
def test_a_cell_of_ones_own_draws_the_same_at_all_steps_eagerly_and_in_graphs(make):
    layer, x = layers.RNN([Noisy(), layers.LSTMCell(4, 4, dropout=0.5)]), normal(2, 3, 2, dtype="float32")
    alone = layers.RNN(Noisy(), return_sequences=True)

    def run(x):
        training = make()
        y = alone(x, training=training)
        return y, *([] if training is True else [layer(x, training=training), training.draws])

    eager, graph = run(x), tf.function(run, autograph=False)(x)
    for y, *_ in (eager, graph):
        assert len(np.unique(y)) == 2 * 4
        agree(y, tf.repeat(y[:, :1], 3, 1))
    if make() is not True:
        agree(graph, eager, 1e-6)
        # Two draws each time, whatever the number of steps, and one of the LSTM's.
        assert eager[-1] == 5


LSTM_CELL, GRU_CELL, X = layers.LSTMCell(3, 4), layers.GRUCell(3, 4), tf.zeros([2, 3])


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: LSTM_CELL(X, tf.zeros([2, 4])), ValueError, r"LSTMCell\(3, 4\): states must be 2 tensors, found 1"),
        (lambda: LSTM_CELL(X, (tf.zeros([2, 4]), tf.zeros([2, 5]))), ValueError,
         r"LSTMCell\(3, 4\): states must be \[batch, size\], here \[2, 4\], found \[2, 5\]"),
        (lambda: GRU_CELL(X, [tf.zeros([2, 4])] * 2), ValueError, r"GRUCell\(3, 4\): states must be 1 tensor, found 2"),
        (lambda: GRU_CELL(X, tf.zeros([1, 4])), ValueError, r"here \[2, 4\], found \[1, 4\]"),
        (lambda: GRU_CELL(X, tf.zeros([2, 4], tf.int32)), TypeError, "states must be floating, found int32"),
        (lambda: layers.StackedRNNCells([LSTM_CELL])(X, tf.zeros([2, 4])), ValueError,
         r"StackedRNNCells\(.*\): states must be 2 tensors, found 1"),
    ],
)  # fmt: skip
def test_states_that_do_not_fit_a_cell_are_refused_by_name(build, error, message):
    with pytest.raises(error, match=message) as found:
        build()
    assert "\n" not in str(found.value)


def test_states_of_a_cell_come_in_any_nest():
    h = normal(2, 4, dtype="float32")
    agree(GRU_CELL(X, [h]), GRU_CELL(X, h))
    agree(layers.StackedRNNCells([LSTM_CELL])(X, [h, h]), layers.StackedRNNCells([LSTM_CELL])(X, ((h, h),)))


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_names_and_defaults_are_those_of_keras(name):
    for kind in (name, f"{name}Cell"):
        ours, theirs = (inspect.signature(getattr(package, kind)).parameters for package in (layers, keras.layers))
        shared = set(ours) - {"in_features", "units", "zero_output_for_mask", "dtype"}
        assert shared <= set(theirs)
        assert {key: ours[key].default for key in shared} == {key: theirs[key].default for key in shared}
    built = keras.layers.LSTMCell(4)
    built.build([None, 3])
    np.testing.assert_array_equal(layers.LSTMCell(3, 4).bias, built.bias)
