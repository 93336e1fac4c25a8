"""Long short-term memory."""

import tensorflow as tf

from layers import activations, initializers
from layers.recurrent import array, length, stacked, unstacked
from layers.recurrent_cells import Cell, CellRNN, made, scaled, through


class LSTMCell(Cell):
    """One step of an LSTM: inputs `[batch, in_features]`, states (h, c) → (h, (h, c)), all `[batch, units]`.

        (i, f, g, o) = x·kernel + hₜ₋₁·recurrent_kernel + bias
        cₜ = σ(f)·cₜ₋₁ + σ(i)·activation(g),  hₜ = σ(o)·activation(cₜ),  σ the recurrent activation

    Fields: `kernel: [in_features, 4·units]`, `recurrent_kernel: [units, 4·units]`, `bias: [4·units]` or None, gates in
    the order i, f, g, o. With `unit_forget_bias` f's part of the bias starts as 1: Jozefowicz et al. 2015, section 2.2.
    In training, `dropout` and `recurrent_dropout` drop inputs and h before their products, the same for all gates.
    Source: Hochreiter and Schmidhuber 1997; with f: Gers et al. 2000, equations 1 to 6.

    >>> y, (h, c) = LSTMCell(8, 4)(tf.zeros([32, 8]), (tf.zeros([32, 4]), tf.zeros([32, 4])))
    >>> y.shape
    TensorShape([32, 4])
    """

    def __init__(
        self,
        in_features,
        units,
        *,
        activation="tanh",
        recurrent_activation="sigmoid",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        unit_forget_bias=True,
        dropout=0.0,
        recurrent_dropout=0.0,
        dtype=tf.float32,
    ):
        starts = kernel_initializer, recurrent_initializer, _forgetting_later(bias_initializer, unit_forget_bias)
        super().__init__(in_features, units, 4, [], starts, (dropout, recurrent_dropout), use_bias, dtype)
        self.state_size = (self.units, self.units)
        self.activation = activations.get(activation)
        self.recurrent_activation = activations.get(recurrent_activation)

    def begin(self, x, training):
        """(x·kernel + bias, recurrent kernel, factor of h)."""
        kernel, recurrent, bias = (
            None if each is None else tf.cast(each, x.dtype) for each in (self.kernel, self.recurrent_kernel, self.bias)
        )
        projected, factor = self.project(x, kernel, bias, training)
        return projected, recurrent, factor

    def step(self, projected, states, recurrent, factor):
        """(hₜ, (hₜ, cₜ))."""
        h, c = states
        i, f, g, o = tf.split(projected + scaled(h, factor) @ recurrent, 4, 1)
        c = self.recurrent_activation(f) * c + self.recurrent_activation(i) * self.activation(g)
        h = self.recurrent_activation(o) * self.activation(c)
        return h, (h, c)

    def scan(self, x, states, mask, training):
        """All steps: see `layers.recurrent.scan`. With the usual activations by the gradient of `recurrence`."""
        if (self.activation, self.recurrent_activation) != (activations.tanh, activations.sigmoid):
            return super().scan(x, states, mask, training)
        projected, recurrent, factor = self.begin(x, training)
        outputs, h, c = recurrence(projected, recurrent, *states, factor, mask)
        return outputs, (h, c)


class LSTM(CellRNN):
    """`LSTMCell` along `[batch, time, in_features]` → `[batch, units]`; see there, and `RNN` for the rest.

    With tanh and sigmoid the backward pass is written by hand: along time it computes the gradients of the gates only,
    and those of the kernels in one product of all steps. They equal those of the plain loop, as do their own gradients.

    >>> y, h, c = LSTM(8, 4, return_sequences=True, return_state=True)(tf.zeros([32, 10, 8]))
    >>> y.shape, c.shape
    (TensorShape([32, 10, 4]), TensorShape([32, 4]))
    """

    def __init__(
        self,
        in_features,
        units,
        *,
        activation="tanh",
        recurrent_activation="sigmoid",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        unit_forget_bias=True,
        dropout=0.0,
        recurrent_dropout=0.0,
        return_sequences=False,
        return_state=False,
        go_backwards=False,
        zero_output_for_mask=False,
        dtype=tf.float32,
    ):
        cell = made(
            LSTMCell,
            in_features,
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            dtype=dtype,
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            zero_output_for_mask=zero_output_for_mask,
        )


def recurrence(projected, recurrent, h, c, factor, mask):
    """(all h, the last h, the last c) of an LSTM, time first, with a backward pass of its own.

    projected: x·kernel + bias, `[time, batch, 4·units]`; recurrent: `[units, 4·units]`; factor: of h before its
    product, `[batch, units]` or None; mask: bool `[time, batch, 1]` or None.

    Backwards, for activated gates i, f, g, o and y = tanh(cₜ), from the gradients δh and δc of a step's states:

        δc += δh·o·(1 − y²),  δz = (δc·g·i·(1 − i), δc·cₜ₋₁·f·(1 − f), δc·i·(1 − g²), δh·y·o·(1 − o))
        δhₜ₋₁ = δz·recurrentᵀ,  δcₜ₋₁ = δc·f,  and after all steps  δrecurrent = Σₜ hₜ₋₁ᵀ·δz

    Source: Graves 2012, "Supervised sequence labelling with recurrent neural networks", section 4.6.
    """
    steps, units = length(projected), recurrent.shape[0]
    to_sigmoid, to_tanh = through(tf.raw_ops.SigmoidGrad), through(tf.raw_ops.TanhGrad)

    @tf.custom_gradient
    def run(projected, recurrent, h, c):
        inputs, counts = unstacked(projected), None if mask is None else unstacked(mask)

        def forward(t, h, c, hs, cs, gates):
            i, f, g, o = tf.split(inputs.read(t) + scaled(h, factor) @ recurrent, 4, 1)
            i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
            new_c = f * c + i * g
            new_h = o * tf.tanh(new_c)
            if mask is not None:
                new_h, new_c = tf.where(counts.read(t), new_h, h), tf.where(counts.read(t), new_c, c)
            gates = [all_steps.write(t, gate) for all_steps, gate in zip(gates, (i, f, g, o), strict=True)]
            return t + 1, new_h, new_c, hs.write(t + 1, new_h), cs.write(t + 1, new_c), gates

        hs, cs = (array(projected, steps + 1, units).write(0, state) for state in (h, c))
        start = (0, h, c, hs, cs, [array(projected, steps, units) for _ in range(4)])
        _, last_h, last_c, hs, cs, gates = tf.while_loop(
            lambda t, *_: t < steps, forward, start, maximum_iterations=steps
        )
        # Tensors: neither a SavedModel nor tape.jacobian can take over TensorArrays from here into the gradient.
        states, all_c, all_gates = hs.stack(), cs.stack(), [gate.stack() for gate in gates]

        def gradient(to_outputs, to_h, to_c):
            arrived = array(projected, steps, units).unstack(to_outputs)
            cs, gates = unstacked(all_c), [unstacked(gate) for gate in all_gates]
            counts = None if mask is None else unstacked(mask)
            transposed = tf.transpose(recurrent)

            def backward(t, c, dh, dc, written):
                dh += arrived.read(t)
                i, f, g, o = (gate.read(t) for gate in gates)
                y, before = tf.tanh(c), cs.read(t)
                new_dc = dc + to_tanh(y, dh * o)
                di, df, dg = to_sigmoid(i, new_dc * g), to_sigmoid(f, new_dc * before), to_tanh(g, new_dc * i)
                dz, new_dc = tf.concat([di, df, dg, to_sigmoid(o, dh * y)], 1), new_dc * f
                if mask is None:
                    return t - 1, before, scaled(dz @ transposed, factor), new_dc, written.write(t, dz)
                here, zero = counts.read(t), tf.zeros([], dh.dtype)
                dz, held, new_dc = tf.where(here, dz, zero), tf.where(here, zero, dh), tf.where(here, new_dc, dc)
                return t - 1, before, scaled(dz @ transposed, factor) + held, new_dc, written.write(t, dz)

            start = (steps - 1, last_c, to_h, to_c, array(projected, steps, 4 * units))
            _, _, dh, dc, written = tf.while_loop(lambda t, *_: t >= 0, backward, start, maximum_iterations=steps)
            dz = stacked(written, projected.shape[0])
            flat = tf.reshape(scaled(states[:-1], factor), [-1, units])
            return dz, tf.matmul(flat, tf.reshape(dz, [-1, 4 * units]), transpose_a=True), dh, dc

        return (states[1:], last_h, last_c), gradient

    outputs, last_h, last_c = run(projected, recurrent, h, c)
    outputs.set_shape([projected.shape[0], None, None])
    return outputs, last_h, last_c


def _forgetting_later(bias_initializer, unit_forget_bias):
    """The initializer of a bias `[4·units]`, or one whose second quarter is 1."""
    start = initializers.get(bias_initializer)
    if not unit_forget_bias:
        return start

    def initializer(shape, dtype):
        i, _, g, o = tf.split(start(shape, dtype), 4)
        return tf.concat([i, tf.ones_like(i), g, o], 0)

    return initializer
