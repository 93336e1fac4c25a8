"""Gated recurrent units."""

import tensorflow as tf

from layers import activations
from layers.recurrent import array, length, stacked, unstacked
from layers.recurrent_cells import Cell, CellRNN, made, scaled, through


class GRUCell(Cell):
    """One step of a GRU: inputs `[batch, in_features]`, the state h → (h, h), `[batch, units]`.

        (p, q, a) = x·kernel + bias[0],  (u, v, w) = hₜ₋₁·recurrent_kernel + bias[1]
        z = σ(p + u),  r = σ(q + v),  σ the recurrent activation
        hₜ = z·hₜ₋₁ + (1 − z)·activation(a + r·w)

    With `reset_after=False` r comes before the product: w = (r·hₜ₋₁)·(the last third of recurrent_kernel), and there is
    one bias. Fields: `kernel: [in_features, 3·units]`, `recurrent_kernel: [units, 3·units]`, `bias: [2, 3·units]`, or
    `[3·units]`, or None; gates in the order z, r, a.
    In training, `dropout` and `recurrent_dropout` drop inputs and h before their products, the same for all gates.
    Source: Cho et al. 2014, equations 5 to 8, with r before the product; after it: Chung et al. 2014 as in cuDNN.

    >>> y, h = GRUCell(8, 4)(tf.zeros([32, 8]), tf.zeros([32, 4]))
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
        dropout=0.0,
        recurrent_dropout=0.0,
        reset_after=True,
        dtype=tf.float32,
    ):
        starts, rates = (kernel_initializer, recurrent_initializer, bias_initializer), (dropout, recurrent_dropout)
        super().__init__(in_features, units, 3, [2] if reset_after else [], starts, rates, use_bias, dtype)
        self.activation = activations.get(activation)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.reset_after = bool(reset_after)

    def begin(self, x, training):
        """(x·kernel and all biases but w's, recurrent kernel, w's bias, factor of h)."""
        recurrent, bias = tf.cast(self.recurrent_kernel, x.dtype), None
        of_w = tf.zeros([self.units], x.dtype)
        if self.bias is not None:
            bias = tf.cast(self.bias, x.dtype)
            if self.reset_after:
                first, second = tf.unstack(bias)
                of_w = second[2 * self.units :]
                bias = first + tf.concat([second[: 2 * self.units], tf.zeros_like(of_w)], 0)
        projected, factor = self.project(x, tf.cast(self.kernel, x.dtype), bias, training)
        return projected, recurrent, of_w, factor

    def step(self, projected, h, recurrent, bias, factor):
        """(hₜ, hₜ)."""
        p, q, a = tf.split(projected, 3, 1)
        past = scaled(h, factor)
        if self.reset_after:
            u, v, w = tf.split(past @ recurrent, 3, 1)
        else:
            u, v = tf.split(past @ recurrent[:, : 2 * self.units], 2, 1)
        z, r = self.recurrent_activation(p + u), self.recurrent_activation(q + v)
        w = r * (w + bias) if self.reset_after else (r * past) @ recurrent[:, 2 * self.units :]
        h = z * h + (1 - z) * self.activation(a + w)
        return h, h

    def scan(self, x, states, mask, training):
        """All steps: see `layers.recurrent.scan`. With the usual activations by the gradient of `recurrence`."""
        if (self.activation, self.recurrent_activation) != (activations.tanh, activations.sigmoid):
            return super().scan(x, states, mask, training)
        projected, recurrent, bias, factor = self.begin(x, training)
        return recurrence(projected, recurrent, bias, states, factor, mask, self.reset_after)


class GRU(CellRNN):
    """`GRUCell` along `[batch, time, in_features]` → `[batch, units]`; see there, and `RNN` for the rest.

    With tanh and sigmoid the backward pass is written by hand, as that of `LSTM`.

    >>> GRU(8, 4, return_sequences=True)(tf.zeros([32, 10, 8])).shape
    TensorShape([32, 10, 4])
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
        dropout=0.0,
        recurrent_dropout=0.0,
        reset_after=True,
        return_sequences=False,
        return_state=False,
        go_backwards=False,
        zero_output_for_mask=False,
        dtype=tf.float32,
    ):
        cell = made(
            GRUCell,
            in_features,
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            reset_after=reset_after,
            dtype=dtype,
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            zero_output_for_mask=zero_output_for_mask,
        )


def recurrence(projected, recurrent, bias, h, factor, mask, reset_after):
    """(all h, the last h) of a GRU, time first, with a backward pass of its own.

    projected: x·kernel and biases, `[time, batch, 3·units]`; recurrent: `[units, 3·units]`; bias: w's, `[units]`;
    factor: of h before its products, `[batch, units]` or None; mask: bool `[time, batch, 1]` or None.

    Backwards, for z, r and g = tanh(a + r·w), from the gradient δh of a step's state:

        δa = δh·(1 − z)·(1 − g²),  δp = δh·(hₜ₋₁ − g)·z·(1 − z),  δq = δr·r·(1 − r)
        δhₜ₋₁ = δh·z + (δp, δq, δw)·recurrentᵀ

    where δw = δa·r and δr = δa·w if r comes after the product. Before it, w = (r·hₜ₋₁)·W: there δr = (δa·Wᵀ)·hₜ₋₁, and
    r·(δa·Wᵀ) takes the place of δw·Wᵀ. After all steps δrecurrent is one product over them.
    """
    steps, units = length(projected), recurrent.shape[0]
    to_sigmoid, to_tanh = through(tf.raw_ops.SigmoidGrad), through(tf.raw_ops.TanhGrad)

    @tf.custom_gradient
    def run(projected, recurrent, bias, h):
        inputs, counts = unstacked(projected), None if mask is None else unstacked(mask)
        of_gates, of_w = recurrent[:, : 2 * units], recurrent[:, 2 * units :]

        def forward(t, h, hs, gates):
            (p, q, a), past = tf.split(inputs.read(t), 3, 1), scaled(h, factor)
            u, v, *w = tf.split(past @ (recurrent if reset_after else of_gates), 3 if reset_after else 2, 1)
            z, r = tf.sigmoid(p + u), tf.sigmoid(q + v)
            w = w[0] + bias if reset_after else (r * past) @ of_w
            g = tf.tanh(a + (r * w if reset_after else w))
            new = z * h + (1 - z) * g
            if mask is not None:
                new = tf.where(counts.read(t), new, h)
            gates = [all_steps.write(t, gate) for all_steps, gate in zip(gates, (z, r, g, w), strict=True)]
            return t + 1, new, hs.write(t + 1, new), gates

        start = (
            0,
            h,
            array(projected, steps + 1, units).write(0, h),
            [array(projected, steps, units) for _ in range(4)],
        )
        _, last, hs, gates = tf.while_loop(lambda t, *_: t < steps, forward, start, maximum_iterations=steps)
        # Tensors: neither a SavedModel nor tape.jacobian can take over TensorArrays from here into the gradient.
        states, all_gates = hs.stack(), [gate.stack() for gate in gates]

        def gradient(to_outputs, to_h):
            arrived = array(projected, steps, units).unstack(to_outputs)
            hs, gates = unstacked(states), [unstacked(gate) for gate in all_gates]
            counts = None if mask is None else unstacked(mask)
            transposed, from_gates, from_w = (tf.transpose(each) for each in (recurrent, of_gates, of_w))

            def backward(t, dh, dps, dws):
                dh += arrived.read(t)
                h, (z, r, g, w) = hs.read(t), (gate.read(t) for gate in gates)
                new = dh if mask is None else tf.where(counts.read(t), dh, tf.zeros([], dh.dtype))
                da, dp = to_tanh(g, new * (1 - z)), to_sigmoid(z, new * (h - g))
                if reset_after:
                    dw, dq = da * r, to_sigmoid(r, da * w)
                    dpast = tf.concat([dp, dq, dw], 1) @ transposed
                else:
                    dw, dproduct = da, da @ from_w
                    dq = to_sigmoid(r, dproduct * scaled(h, factor))
                    dpast = tf.concat([dp, dq], 1) @ from_gates + dproduct * r
                before = new * z + scaled(dpast, factor)
                if mask is not None:
                    before += dh - new
                return t - 1, before, dps.write(t, tf.concat([dp, dq, da], 1)), dws.write(t, dw)

            start = (steps - 1, to_h, array(projected, steps, 3 * units), array(projected, steps, units))
            _, dh, dps, dws = tf.while_loop(lambda t, *_: t >= 0, backward, start, maximum_iterations=steps)
            dp, dw = stacked(dps, projected.shape[0]), tf.reshape(dws.stack(), [-1, units])
            past = tf.reshape(scaled(states[:-1], factor), [-1, units])
            multiplied = past if reset_after else past * tf.reshape(all_gates[1], [-1, units])
            of_both = tf.matmul(past, tf.reshape(dp[:, :, : 2 * units], [-1, 2 * units]), transpose_a=True)
            drecurrent = tf.concat([of_both, tf.matmul(multiplied, dw, transpose_a=True)], 1)
            return dp, drecurrent, tf.reduce_sum(dw, 0) if reset_after else tf.zeros_like(bias), dh

        return (states[1:], last), gradient

    outputs, last = run(projected, recurrent, bias, h)
    outputs.set_shape([projected.shape[0], None, None])
    return outputs, last
