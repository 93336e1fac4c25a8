"""Recurrence in both directions."""

import tensorflow as tf

from layers.base import Layer
from layers.recurrent import RNN

_MERGED = {
    "concat": lambda there, back: tf.concat([there, back], -1),
    "sum": lambda there, back: there + back,
    "mul": lambda there, back: there * back,
    "ave": lambda there, back: (there + back) / 2,
    None: lambda there, back: (there, back),
}


class Bidirectional(Layer):
    """merge(there, back): one recurrent layer from the first step to the last, one from the last to the first.

    `[batch, time, features]` → `[batch, 2·units]`, or with the layers' `return_sequences` `[batch, time, 2·units]`, in
    the order of the input both ways. `merge_mode`: "concat", or `[…, units]` by "sum", "mul" or "ave", or None for a
    pair. With `return_state` a tuple: the output (or both), the states there, the states back.

    `layer` is the one that goes there, as it is; `backward_layer` by default one made from the same arguments, but for
    `go_backwards`, with weights of its own. Fields: `forward_layer`, `backward_layer`. `mask` and `initial_state`
    (states there, then back) are as in `RNN`, but `zero_output_for_mask` is not asked: masked steps of sequences are 0
    (one direction would hold what comes before them, the other what comes after), and a last output is held.
    Source: Schuster and Paliwal 1997; Graves and Schmidhuber 2005.

    >>> from layers import LSTM
    >>> Bidirectional(LSTM(8, 4, return_sequences=True))(tf.zeros([32, 10, 8])).shape
    TensorShape([32, 10, 8])
    """

    def __init__(self, layer, merge_mode="concat", backward_layer=None):
        for name, given in (("layer", layer), ("backward_layer", backward_layer)):
            if not isinstance(given, RNN) and (name == "layer" or given is not None):
                raise TypeError(f"{self!r}: {name} must be a recurrent layer, found {given!r}")
        if merge_mode is not None and (not isinstance(merge_mode, str) or merge_mode not in _MERGED):
            raise ValueError(
                f"{self!r}: merge_mode must be one of {', '.join(map(repr, _MERGED))}, found {merge_mode!r}"
            )
        super().__init__(layer.dtype)
        self.forward_layer, self.merge_mode = layer, merge_mode
        if backward_layer is None:
            backward_layer = _again(layer, go_backwards=not layer.go_backwards)
        self.backward_layer = backward_layer
        for name in ("return_sequences", "return_state"):
            if getattr(layer, name) != getattr(backward_layer, name):
                raise ValueError(f"{self!r}: layer and backward_layer must have the same {name}")
        if layer.go_backwards == backward_layer.go_backwards:
            raise ValueError(f"{self!r}: one of layer and backward_layer must have go_backwards, and one not")
        sizes = [each.cell.output_size for each in (layer, backward_layer)]
        if merge_mode not in ("concat", None) and sizes[0] != sizes[1]:
            raise ValueError(f"{self!r}: merge_mode {merge_mode!r} needs outputs of one size, found {sizes}")

    def last_dimension(self, size):
        """That of the merged output; None for a tuple."""
        both = [layer.last_dimension(size) for layer in (self.forward_layer, self.backward_layer)]
        if self.merge_mode is None or None in both:
            return None
        return sum(both) if self.merge_mode == "concat" else both[0]

    def __call__(self, x, initial_state=None, mask=None, training=False):
        """The merged outputs, and with the layers' `return_state` all states."""
        first = second = None
        if initial_state is not None:
            given, count = tf.nest.flatten(initial_state), len(tf.nest.flatten(self.forward_layer.cell.state_size))
            expected = count + len(tf.nest.flatten(self.backward_layer.cell.state_size))
            if len(given) != expected:
                raise ValueError(f"{self!r}: initial_state must be {expected} tensors, found {len(given)}")
            first, second = given[:count], given[count:]
        layer, sequences = self.forward_layer, self.forward_layer.return_sequences
        there, states_there = layer.run(x, first, mask, training, sequences)
        back, states_back = self.backward_layer.run(x, second, mask, training, sequences)
        if sequences:
            # Each comes in its own order.
            there, back = (
                tf.reverse(y, [1]) if each.go_backwards else y
                for y, each in ((there, layer), (back, self.backward_layer))
            )
        merged = _MERGED[self.merge_mode](there, back)
        if not layer.return_state:
            return merged
        return tuple(
            part
            for each in (merged, states_there, states_back)
            for part in (each if isinstance(each, tuple) else (each,))
        )


def _again(layer, **changed):
    """A layer or cell made anew, with new variables, from its own arguments and those of all the layers in them."""
    if not isinstance(layer, Layer):
        raise TypeError(f"{layer!r} cannot be made again for the way back: give Bidirectional a backward_layer")
    made = layer.arguments
    cells = {"cell", "cells"} & set(made.arguments)
    for name in cells:
        made.arguments[name] = tf.nest.map_structure(_again, made.arguments[name])
    return type(layer)(*made.args, **{**made.kwargs, **changed})
