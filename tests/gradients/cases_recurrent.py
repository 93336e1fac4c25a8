"""Gradient cases of recurrent layers and their cells."""

import functools

import numpy as np
from points import context, layer, normal, settled
from registry import add

import layers

LSTM, GRU, SimpleRNN = layers.LSTM, layers.GRU, layers.SimpleRNN
LSTMCell, GRUCell, SimpleRNNCell = layers.LSTMCell, layers.GRUCell, layers.SimpleRNNCell

h, c = normal(2, 2, seed=1), normal(2, 2, seed=2)
x = normal(2, 3, 2)
mask = np.array([[True, False, True], [False, True, True]])
STATES = {LSTM: [h, c], GRU: [h], SimpleRNN: [h]}
CELL_STATES = {LSTMCell: (h, c), GRUCell: h, SimpleRNNCell: h}
whole = {"return_sequences": True, "return_state": True}
dropout = {"dropout": 0.3, "recurrent_dropout": 0.4}


def called(name, label, build, *inputs, **options):
    """A case for what `build()` constructs, with other arguments than one input."""
    add(f"layers.{name}", label, lambda: (settled(build()), inputs), **options)


for kind, states in CELL_STATES.items():
    name, activations = kind.__name__, {"activation": "softplus"}
    if kind is not SimpleRNNCell:
        activations["recurrent_activation"] = "tanh"
    called(name, "plain", lambda kind=kind: kind(2, 2), normal(2, 2), states)
    called(name, "activations", lambda kind=kind, a=activations: kind(2, 2, use_bias=False, **a), normal(2, 2), states)
    dropped = functools.partial(kind, 2, 2, **dropout)
    called(name, "dropout", dropped, normal(2, 2), states, training=context())
called("LSTMCell", "no-unit-forget-bias", lambda: LSTMCell(2, 2, unit_forget_bias=False), normal(2, 2), (h, c))
called("GRUCell", "reset-before", lambda: GRUCell(2, 2, reset_after=False), normal(2, 2), h)
two = functools.partial(layers.StackedRNNCells, [LSTMCell(2, 2), GRUCell(2, 3)])
called("StackedRNNCells", "two", two, normal(2, 2), ((h, c), normal(2, 3)))

for kind, states in STATES.items():
    name, activations = kind.__name__, {"activation": "softplus"}
    if kind is not SimpleRNN:
        activations["recurrent_activation"] = "tanh"
    layer(f"layers.{name}", "last", lambda kind=kind: kind(2, 2), [2, 3, 2], order=2)
    layer(f"layers.{name}", "float32", lambda kind=kind: kind(2, 2), [2, 3, 2], dtype="float32")
    unbiased = functools.partial(kind, 2, 2, use_bias=False, go_backwards=True, **whole, **activations)
    called(name, "activations-backwards", unbiased, x, states)
    masked = functools.partial(kind, 2, 2, **whole)
    called(name, "mask-and-states", masked, x, states, mask, order=2)
    zero = functools.partial(kind, 2, 2, zero_output_for_mask=True, go_backwards=True, **whole, **dropout)
    called(name, "dropout-and-zeros", zero, x, states, mask, training=context())
layer("layers.LSTM", "no-unit-forget-bias", lambda: LSTM(2, 2, unit_forget_bias=False, use_bias=False), [2, 3, 2])
before = functools.partial(GRU, 2, 2, reset_after=False, **whole, **dropout)
called("GRU", "reset-before", before, x, [h], mask, training=context(), order=2)

stack = functools.partial(layers.RNN, [LSTMCell(2, 2), SimpleRNNCell(2, 3)], **whole)
called("RNN", "stack", stack, x, [(h, c), normal(2, 3)], mask)
options = {"go_backwards": True, "zero_output_for_mask": True}
called("RNN", "cell", lambda: layers.RNN(SimpleRNNCell(2, 2), return_sequences=True, **options), x, h, mask)

for mode in ("concat", "sum", "mul", "ave", None):
    both = functools.partial(layers.Bidirectional, LSTM(2, 2, return_sequences=True), mode)
    layer("layers.Bidirectional", f"merge-{mode}", both, [2, 3, 2])
pair = functools.partial(
    layers.Bidirectional, LSTM(2, 2, **whole), backward_layer=GRU(2, 3, go_backwards=True, **whole)
)
called("Bidirectional", "mask-and-states", pair, x, [h, c, normal(2, 3)], mask)
