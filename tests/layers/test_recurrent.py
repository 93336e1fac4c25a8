"""Recurrent layers: Keras' masks, states and directions, laws of sequences, bad input."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from parity_recurrent import agree, build, cells, differentiated, fill, filled, kinds, normal, paired, recurrent, small

import layers

# Keras warns of a softmax over a single unit, which is among the cases.
pytestmark = pytest.mark.filterwarnings("ignore:You are using a softmax over axis")


def layers_with_states(draw):
    """(ours, Keras', x, initial states or None, mask or None), with equal weights."""
    bidirectional = draw(st.booleans())
    options = {"return_state": True, "zero_output_for_mask": draw(st.booleans())}
    if bidirectional:
        options |= {"go_backwards": False}
    ours, theirs = recurrent(draw, "float64", draw(kinds), **options)
    if bidirectional:
        mode = draw(st.sampled_from(["concat", "mul", None]))
        ours, theirs = layers.Bidirectional(ours, mode), keras.layers.Bidirectional(theirs, mode, dtype="float64")
    inner = cells(ours)
    batch, time = draw(small), draw(small)
    x = normal(batch, time, inner[0].in_features)
    theirs.build(x.shape)
    seed = draw(st.integers(0, 2**16))
    sizes = [size for cell in inner for size in tf.nest.flatten(cell.state_size)]
    states = [normal(batch, size, seed=seed) for size in sizes] if draw(st.booleans()) else None
    rng = np.random.default_rng(seed)
    mask = draw(st.sampled_from([None, tf.constant(rng.random((batch, time)) < 0.6)]))
    return ours, paired(ours, theirs), x, states, mask


@settings(max_examples=40)
@given(st.data())
def test_masks_and_states_are_those_of_keras(data):
    ours, theirs, x, states, mask = layers_with_states(data.draw)
    variables, weights = fill(theirs.pairs(ours))
    sources = [x, *(states or [])]
    mine = differentiated(lambda: ours(x, initial_state=states, mask=mask), [*sources, *variables])
    other = differentiated(lambda: theirs(x, initial_state=states, mask=mask), [*sources, *weights])
    agree(mine, other)


LAYERS = {
    "SimpleRNN": functools.partial(layers.SimpleRNN, 3, 4, dtype="float64"),
    "LSTM": functools.partial(layers.LSTM, 3, 4, dtype="float64"),
    "GRU": functools.partial(layers.GRU, 3, 4, dtype="float64"),
    "GRU-before": functools.partial(layers.GRU, 3, 4, reset_after=False, dtype="float64"),
    "RNN": lambda **options: layers.RNN(build("StackedRNNCells", {}, layers), **options),
    "Bidirectional": lambda **options: layers.Bidirectional(layers.LSTM(3, 2, dtype="float64", **options)),
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=list(LAYERS))
one_way = pytest.mark.parametrize("make", list(LAYERS.values())[:-1], ids=list(LAYERS)[:-1])


@every_layer
def test_a_masked_sequence_is_the_sequence_without_its_padding(make):
    layer, x, lengths = filled(make(return_state=True)), normal(3, 5, 3), (2, 5, 1)
    mask = tf.sequence_mask(lengths, 5)
    # Padding may hold anything, and its gradient is 0.
    padded = tf.where(mask[:, :, None], x, np.nan)
    sources = [padded, *layer.variables]
    outputs, (to_x, *to_variables) = differentiated(lambda: layer(padded, mask=mask), sources)
    np.testing.assert_array_equal(to_x[~mask.numpy()], 0.0)
    assert all(np.isfinite(gradient).all() for gradient in to_variables)
    for row, length in enumerate(lengths):
        alone = layer(x[row : row + 1, :length])
        agree([y[row : row + 1] for y in outputs], alone)


@every_layer
def test_masked_outputs_are_held_or_zero(make):
    x, mask = normal(1, 4, 3), tf.constant([[False, True, False, True]])
    for zero in (False, True):
        layer = filled(make(return_sequences=True, zero_output_for_mask=zero))
        # Before its first step an output is 0, whatever the state.
        states = [normal(1, size) for cell in cells(layer) for size in tf.nest.flatten(cell.state_size)]
        y = layer(x, initial_state=states, mask=mask).numpy()[0]
        kept = layer(tf.gather(x, [1, 3], axis=1), initial_state=states).numpy()[0]
        held = 0 * kept[0] if zero or isinstance(layer, layers.Bidirectional) else kept[0]
        agree(list(y), [0 * kept[0], kept[0], held, kept[1]])


@one_way
def test_backwards_is_forwards_on_the_reversed_sequence(make):
    x, mask = normal(2, 4, 3), tf.constant([[True, True, False, True], [False, True, True, True]])
    options = {"return_sequences": True, "return_state": True}
    back, there = filled(make(go_backwards=True, **options)), filled(make(**options))
    agree(back(x, mask=mask), there(x[:, ::-1], mask=mask[:, ::-1]))


@one_way
def test_a_sequence_in_two_parts_with_the_states_carried_is_the_whole(make):
    layer, x = filled(make(return_sequences=True, return_state=True)), normal(2, 5, 3)
    whole, *last = layer(x)
    first, *states = layer(x[:, :2])
    second, *carried = layer(x[:, 2:], initial_state=states)
    agree([tf.concat([first, second], 1), carried], [whole, last])


def test_a_bidirectional_layer_is_two_layers():
    forward = filled(layers.LSTM(3, 2, return_sequences=True, dtype="float64"))
    both = layers.Bidirectional(forward, None)
    filled(both.backward_layer, seed=1)
    x = normal(2, 4, 3)
    there, back = both(x)
    agree([there, back], [forward(x), both.backward_layer(x)[:, ::-1]])
    for mode, merge in {"sum": np.add, "mul": np.multiply, "ave": lambda a, b: (a + b) / 2}.items():
        agree(layers.Bidirectional(forward, mode, both.backward_layer)(x), merge(there, back))
    swapped = layers.Bidirectional(both.backward_layer, None, forward)
    agree(swapped(x), (back, there))


def test_the_way_back_has_weights_of_its_own():
    both = layers.Bidirectional(layers.RNN([layers.GRUCell(3, 2), layers.LSTMCell(2, 2, use_bias=False)]))
    assert len({id(variable) for variable in both.variables}) == 2 * 5
    kernels = [each.cell.cells[0].kernel for each in (both.forward_layer, both.backward_layer)]
    assert np.any(kernels[0] != kernels[1])
    assert repr(both.backward_layer.cell) == repr(both.forward_layer.cell)


@every_layer
@pytest.mark.parametrize("masked", [False, True])
def test_unknown_batch_size_and_time_in_a_graph(make, masked):
    layer, x = filled(make(return_sequences=True)), normal(2, 5, 3)
    mask = [tf.sequence_mask([3, 5], 5)] * masked
    spec = [tf.TensorSpec([None, None, 3], tf.float64), tf.TensorSpec([None, None], tf.bool)][: 1 + masked]

    @tf.function(input_signature=spec, autograph=False)
    def graph(x, mask=None):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, mask=mask)
            total = tf.reduce_sum(y * y)
        return y, tape.gradient(total, x)

    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, mask=mask[0] if masked else None)
        total = tf.reduce_sum(y * y)
    agree(graph(x, *mask), [y, tape.gradient(total, x)])
    assert graph.get_concrete_function().output_shapes[0].as_list() == [None, None, 4]


def test_a_wide_variable_is_cast_for_a_narrow_input_and_gets_its_gradient():
    layer = layers.GRU(3, 4, return_state=True)
    with tf.GradientTape() as tape:
        y, h = layer(normal(2, 3, 3, dtype="bfloat16"), initial_state=normal(2, 4, dtype="float32"))
        total = tf.reduce_sum(y)
    assert (y.dtype, h.dtype) == (tf.bfloat16, tf.bfloat16)
    assert {gradient.dtype for gradient in tape.gradient(total, layer.variables)} == {tf.float32}


X = tf.zeros([2, 5, 3])
LSTM = layers.LSTM(3, 4)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: layers.LSTM(0, 4), ValueError, r"LSTMCell\(0, 4\): in_features must be a positive integer, found 0"),
        (lambda: layers.GRU(3, 4, dropout=1.0), ValueError, r"GRUCell\(3, 4, dropout=1.0\): dropout must lie in"),
        (lambda: layers.SimpleRNN(3, 4, recurrent_dropout=-0.1), ValueError, r"recurrent_dropout must lie in \[0, 1\)"),
        (lambda: layers.LSTM(3, 4, activation="tahn"), ValueError, "unknown activation 'tahn'"),
        (lambda: layers.RNN(layers.LSTMCell), TypeError, r"RNN\(LSTMCell\): cell must be a cell or a list of cells"),
        (lambda: layers.RNN([]), TypeError, r"StackedRNNCells takes a list of cells, found \[\]"),
        (lambda: layers.RNN(tf.tanh), TypeError, r"RNN\(tanh\): cell must have state_size, "),
        (lambda: layers.RNN([layers.GRUCell(3, 4), layers.GRUCell(3, 4)]), ValueError,
         r"StackedRNNCells\(.*\): cell 1 GRUCell\(3, 4\) cannot take 4 features from cell 0"),
        (lambda: layers.Bidirectional(layers.Dense(3, 4)), TypeError, "layer must be a recurrent layer, found Dense"),
        (lambda: layers.Bidirectional(LSTM, "add"), ValueError, "merge_mode must be one of 'concat', .* found 'add'"),
        (lambda: layers.Bidirectional(LSTM, backward_layer=LSTM), ValueError, "must have go_backwards, and one not"),
        (lambda: layers.Bidirectional(LSTM, "sum", layers.GRU(3, 2, go_backwards=True)), ValueError, r"found \[4, 2\]"),
        (lambda: layers.Bidirectional(LSTM, "sum", layers.GRU(3, 2, return_sequences=True)), ValueError,
         "must have the same return_sequences"),
        (lambda: LSTM(tf.zeros([2, 3])), ValueError, r"LSTM\(3, 4\) expects an input of rank 3, found \[2, 3\]"),
        (lambda: LSTM(tf.zeros([2, 5, 4])), ValueError, r"LSTM\(3, 4\) expects a last dimension of 3, found 4"),
        (lambda: LSTM(tf.zeros([2, 0, 3])), ValueError, "needs at least one step"),
        (lambda: LSTM(X, mask=tf.ones([2, 4], tf.bool)), ValueError, r"mask must be \[batch, time\], here \[2, 5\]"),
        (lambda: LSTM(X, mask=tf.ones([2, 5, 1], tf.bool)), ValueError, r"mask must be .* found \[2, 5, 1\]"),
        (lambda: LSTM(X, mask=tf.ones([2, 5])), TypeError, r"LSTM\(3, 4\): mask must be bool, found float32"),
        (lambda: LSTM(X, tf.zeros([2, 4])), ValueError, "initial_state must be 2 tensors, found 1"),
        (lambda: LSTM(X, [tf.zeros([2, 4]), tf.zeros([2, 3])]), ValueError,
         r"initial_state must be \[batch, size\], here \[2, 4\], found \[2, 3\]"),
        (lambda: LSTM(X, [tf.zeros([1, 4])] * 2), ValueError, r"here \[2, 4\], found \[1, 4\]"),
        (lambda: LSTM(X, [tf.zeros([2, 4], tf.int32)] * 2), TypeError, "initial_state must be floating, found int32"),
        (lambda: layers.Bidirectional(LSTM)(X, [tf.zeros([2, 4])] * 2), ValueError, "must be 4 tensors, found 2"),
    ],
)  # fmt: skip
def test_bad_arguments_and_inputs_are_refused_by_name(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_sizes_reach_a_chain():
    model = layers.chain(
        (7, 3),
        functools.partial(layers.LSTM, units=4, return_sequences=True),
        layers.Bidirectional(layers.GRU(4, 2)),
        functools.partial(layers.Dense, units=1),
    )
    assert model(tf.zeros([2, 7, 3])).shape == [2, 1]
    with pytest.raises(ValueError, match=r"layer 1 GRU\(5, 2\) cannot take \[..., 4\] from layer 0 LSTM\(3, 4\)"):
        layers.Sequential([layers.LSTM(3, 4), layers.GRU(5, 2)])


def test_what_shapes_do_not_tell_is_found_when_it_runs():
    spec = tf.TensorSpec
    signature = [spec([None, None, 3]), [spec([None, 4])] * 2, spec([None, None], tf.bool)]
    graph, compiled = (
        tf.function(
            lambda x, states, mask: LSTM(x, states, mask), input_signature=signature, autograph=False, jit_compile=jit
        )
        for jit in (False, True)
    )
    states, mask = [tf.zeros([2, 4])] * 2, tf.ones([2, 5], tf.bool)
    assert graph(X, states, mask).shape == [2, 4]
    with pytest.raises(tf.errors.InvalidArgumentError):
        graph(X, [tf.zeros([1, 4])] * 2, mask)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"LSTM\(3, 4\): mask must be \[batch, time\]"):
        graph(X, states, mask[:, :4])
    with pytest.raises(tf.errors.InvalidArgumentError, match="mask must be"):
        graph(X, states, tf.ones([2, 6], tf.bool))
    for wrong in (mask[:1], mask[:, :4], tf.transpose(mask)):
        # XLA knows all sizes when it compiles, and drops assertions.
        with pytest.raises(tf.errors.InvalidArgumentError, match="mask_must_be_batch_time"):
            compiled(X, states, wrong)


@pytest.mark.parametrize("sequences", [False, True])
def test_no_steps_of_a_sequence_of_unknown_length_are_refused_by_name(sequences):
    layer = layers.SimpleRNN(3, 4, return_sequences=sequences)
    graph = tf.function(layer, input_signature=[tf.TensorSpec([None, None, 3])], autograph=False)
    assert graph(X).shape[0] == 2
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"SimpleRNN\(3, 4.*\) needs at least one step"):
        graph(X[:, :0])
