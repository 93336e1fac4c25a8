"""The backward passes written by hand are those of the plain loop; and masks of dropout, which both take."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from parity_recurrent import agree, differentiated, filled, normal

import engine
import layers
from layers.recurrent_cells import Cell


class PlainLSTMCell(layers.LSTMCell):
    scan = Cell.scan


class PlainGRUCell(layers.GRUCell):
    scan = Cell.scan


class Foreign:
    """A cell step by step: nothing is hoisted out of the loop."""

    def __init__(self, cell):
        self.cell, self.state_size, self.output_size = cell, cell.state_size, cell.output_size

    def __call__(self, inputs, states):
        return self.cell(inputs, states)


KINDS = {
    "LSTM": (layers.LSTMCell, PlainLSTMCell),
    "GRU": (layers.GRUCell, PlainGRUCell),
    "GRU-before": tuple(functools.partial(kind, reset_after=False) for kind in (layers.GRUCell, PlainGRUCell)),
}
every_kind = pytest.mark.parametrize(("fast", "plain"), KINDS.values(), ids=list(KINDS))
dropout = {"dropout": 0.3, "recurrent_dropout": 0.4}


def context(**options):
    return engine.StepContext(seed=3, step=2, **options)


def sharing(fast, plain, **options):
    """Two cells with the same variables."""
    fast, plain = filled(fast(3, 4, dtype="float64", **options)), plain(3, 4, dtype="float64", **options)
    plain.kernel, plain.recurrent_kernel, plain.bias = fast.kernel, fast.recurrent_kernel, fast.bias
    return fast, plain


def problem(cell, batch=3, time=5, seed=0):
    """(x, states, mask)."""
    states = [normal(batch, 4, seed=seed + 1 + number) for number in range(len(tf.nest.flatten(cell.state_size)))]
    mask = np.random.default_rng(seed).random((batch, time)) < 0.7
    return normal(batch, time, 3, seed=seed), states, tf.constant(mask)


@every_kind
def test_gradients_are_those_of_the_plain_loop(fast, plain):
    @settings(max_examples=15)
    @given(st.data())
    def law(data):
        draw, booleans = data.draw, st.booleans()
        drops = draw(booleans)
        fast_cell, plain_cell = sharing(fast, plain, use_bias=draw(booleans), **(dropout if drops else {}))
        x, states, mask = problem(fast_cell, draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(0, 99)))
        options = {"return_sequences": draw(booleans), "return_state": True, "go_backwards": draw(booleans)}
        mask, training = mask if draw(booleans) else None, context() if drops else False
        compared = [plain_cell] if drops else [plain_cell, Foreign(fast_cell)]
        sources = [x, *states, *fast_cell.variables]
        found = []
        for cell in (fast_cell, *compared):
            layer = layers.RNN(cell, **options)
            training = context() if drops else False
            found.append(differentiated(lambda layer=layer: layer(x, states, mask, training), sources))  # noqa: B023
        for other in found[1:]:
            agree(found[0], other)

    law()


@every_kind
@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradients_in_graphs_are_those_of_the_plain_loop(fast, plain, jit_compile):
    fast_cell, plain_cell = sharing(fast, plain)
    x, states, mask = problem(fast_cell)
    layer, other = (layers.RNN(cell, return_sequences=True, return_state=True) for cell in (fast_cell, plain_cell))
    expected = differentiated(lambda: other(x, states, mask), [x, *states, *fast_cell.variables])

    @tf.function(jit_compile=jit_compile, autograph=False)
    def inside(x, *states):
        return differentiated(lambda: layer(x, states, mask), [x, *states, *fast_cell.variables])

    agree(inside(x, *states), expected)
    # TensorFlow cannot hand what a loop keeps for its gradient out of what XLA compiles.
    if not jit_compile:
        outside = tf.function(layer, autograph=False)
        agree(differentiated(lambda: outside(x, states, mask), [x, *states, *fast_cell.variables]), expected)


@every_kind
@pytest.mark.parametrize("graph", [False, True])
def test_gradients_of_gradients_are_those_of_the_plain_loop(fast, plain, graph):
    fast_cell, plain_cell = sharing(fast, plain)
    x, states, mask = problem(fast_cell, time=3)
    sources = [x, *states, *fast_cell.variables]

    def second(cell):
        layer = layers.RNN(cell, return_sequences=True, return_state=True)

        def first():
            with tf.GradientTape() as tape:
                tape.watch(sources)
                total = tf.add_n([tf.reduce_sum(tf.sin(y)) for y in layer(x, states, mask)])
            return tape.gradient(total, sources)

        return differentiated(first, sources)

    mine = tf.function(lambda: second(fast_cell), autograph=False) if graph else functools.partial(second, fast_cell)
    # The second derivatives reach some hundreds of first ones.
    agree(mine(), second(plain_cell), 1e-11)


@every_kind
def test_a_saved_model_has_the_values_and_gradients(fast, plain, tmp_path):
    cell = sharing(fast, plain)[0]
    x, _, mask = problem(cell)
    module, layer = tf.Module(), layers.RNN(cell, return_sequences=True)
    # What keeps the variables must be part of what is saved.
    module.layer = layer
    spec = [tf.TensorSpec([None, None, 3], x.dtype), tf.TensorSpec([None, None], tf.bool)]
    module.run = tf.function(lambda x, mask: layer(x, mask=mask), input_signature=spec, autograph=False)
    tf.saved_model.save(module, tmp_path)
    loaded = tf.saved_model.load(tmp_path)
    expected = differentiated(lambda: module.run(x, mask), [x, *cell.variables])
    kept = loaded.layer.cell
    variables = [kept.bias, kept.kernel, kept.recurrent_kernel]
    assert [v.shape for v in variables] == [v.shape for v in cell.variables]
    agree(differentiated(lambda: loaded.run(x, mask), [x, *variables]), expected)


@every_kind
def test_the_jacobian_is_that_of_the_plain_loop(fast, plain):
    found = []
    for cell in sharing(fast, plain):
        x, states, mask = problem(cell, batch=2, time=3)
        # Without a tf.function: the gradients are first traced when the jacobian asks for all of them at once.
        with tf.GradientTape() as tape:
            tape.watch([x, *states])
            y = layers.RNN(cell)(x, states, mask)
        found.append(tape.jacobian(y, [x, *states, *cell.variables]))
    agree(*found)


@every_kind
def test_the_step_may_be_inside_a_loop_and_recomputed(fast, plain):
    fast_cell, plain_cell = sharing(fast, plain, **dropout)
    x, _, _ = problem(fast_cell)
    layer, other = layers.recompute(layers.RNN(fast_cell)), layers.RNN(plain_cell)

    @tf.function(autograph=False)
    def steps():
        def body(i, total):
            _, gradients = differentiated(lambda: layer(x, training=context()), fast_cell.variables)
            return i + 1, [old + new for old, new in zip(total, gradients, strict=True)]

        return tf.while_loop(lambda i, _: i < 2, body, (0, [tf.zeros_like(v) for v in fast_cell.variables]))[1]

    _, expected = differentiated(lambda: other(x, training=context()), fast_cell.variables)
    agree(steps(), [2 * gradient for gradient in expected])


@every_kind
def test_float32_is_as_near_to_float64_as_float32_can_be(fast, plain):
    wide = filled(fast(3, 4, dtype="float64"))
    narrow = filled(fast(3, 4))
    x = normal(3, 200, 3)
    expected = differentiated(lambda: layers.RNN(wide)(x), wide.variables)
    found = differentiated(lambda: layers.RNN(narrow)(tf.cast(x, "float32")), narrow.variables)
    agree(found, expected, 1e-4)


@pytest.mark.parametrize("kind", [layers.SimpleRNN, layers.LSTM, layers.GRU])
def test_masks_of_dropout_do_not_depend_on_how_the_batch_is_cut(kind):
    layer, x = filled(kind(3, 4, return_sequences=True, dtype="float64", **dropout)), normal(5, 4, 3)
    whole = layer(x, training=context())
    assert np.all(np.any(whole != layer(x), axis=(1, 2)))
    parts = [layer(x[:2], training=context()), layer(x[2:], training=context(first_row=2))]
    agree(tf.concat(parts, 0), whole)
    agree(layer(x, training=context()), whole)
    assert np.any(layer(x, training=True) != layer(x, training=True))


@pytest.mark.parametrize("kind", [layers.SimpleRNN, layers.LSTM, layers.GRU])
def test_dropout_is_the_identity_in_inference(kind):
    layer, x = filled(kind(3, 4, **dropout)), normal(2, 4, 3, dtype="float32")
    agree(layer(x), filled(kind(3, 4))(x))


def test_one_mask_serves_a_whole_sequence():
    # h = xₜ∘m + hₜ₋₁∘n for masks m and n: with x = 1 the states are m, m + m∘n, m + m∘n + m∘n∘n.
    layer = layers.SimpleRNN(64, 64, activation=None, return_sequences=True, dropout=0.5, recurrent_dropout=0.75)
    layer.kernel.assign(tf.eye(64))
    layer.recurrent_kernel.assign(tf.eye(64))
    first, second, third = np.moveaxis(layer(tf.ones([8, 3, 64]), training=True), 1, 0)
    assert set(np.unique(first)) == {0.0, 2.0}
    kept = (second - first)[first == 2] / 2
    assert set(np.unique(kept)) == {0.0, 4.0}
    np.testing.assert_array_equal(third - second, (second - first) ** 2 / np.where(first == 0, 1, first))
    # Six standard deviations of the mean of some hundred Bernoulli variables.
    assert abs((first == 0).mean() - 0.5) < 6 * np.sqrt(0.25 / first.size)
    assert abs((kept == 0).mean() - 0.75) < 6 * np.sqrt(0.1875 / kept.size)


def test_layers_draw_and_stacks_pass_the_context_on():
    cells = [layers.LSTMCell(3, 4, recurrent_dropout=0.5), layers.GRUCell(4, 2, dropout=0.5)]
    x, training = normal(2, 4, 3, dtype="float32"), context()
    layers.RNN(cells)(x, training=training)
    assert training.draws == 2
    layers.Bidirectional(layers.LSTM(3, 4, **dropout))(x, training=training)
    assert training.draws == 6
    cells[1](normal(2, 4, dtype="float32"), tf.zeros([2, 2]), training=training)
    layers.StackedRNNCells(cells)(x[:, 0], ((tf.zeros([2, 4]),) * 2, tf.zeros([2, 2])), training=training)
    assert training.draws == 9
