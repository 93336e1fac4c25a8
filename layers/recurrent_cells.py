"""What our recurrent cells share, and the simplest of them."""

import inspect
import operator

import tensorflow as tf

from layers import activations, checks, context
from layers.base import Layer
from layers.recurrent import RNN, fitting, length, loop


class Cell(Layer):
    """The base of cells with gates: fields `kernel`, `recurrent_kernel` and `bias`, and dropout of inputs and of state.

    A cell says in `begin` what it computes once for all steps, and in `step` what it computes at each.
    """

    def __init__(self, in_features, units, gates, bias_shape, initializers, rates, use_bias, dtype):
        super().__init__(dtype)
        self.in_features = checks.positive(self, "in_features", in_features)
        self.units = self.output_size = self.state_size = checks.positive(self, "units", units)
        self.dropout, self.recurrent_dropout = (
            checks.fraction(self, name, rate)
            for name, rate in zip(("dropout", "recurrent_dropout"), rates, strict=True)
        )
        of_kernel, of_recurrent, of_bias = initializers
        width = gates * self.units
        self.kernel = self.variable("kernel", [self.in_features, width], of_kernel)
        self.recurrent_kernel = self.variable("recurrent_kernel", [self.units, width], of_recurrent)
        self.bias = self.variable("bias", [*bias_shape, width], of_bias) if use_bias else None

    def last_dimension(self, size):
        """`units`, of an input of `in_features`."""
        self.expect(size, self.in_features)
        return self.units

    def __call__(self, inputs, states, training=False):
        """One step: (output, states). In training every call draws masks of its own."""
        inputs = self.take(inputs, rank=2)
        states = fitting(self, "states", states, self.state_size, inputs)
        projected, *constants = self.begin(inputs, training)
        return self.step(projected, states, *constants)

    def scan(self, x, states, mask, training):
        """All steps: see `layers.recurrent.scan`."""
        projected, *constants = self.begin(x, training)
        return loop(lambda x, states: self.step(x, states, *constants), projected, states, mask, self.units)

    def project(self, x, kernel, bias, training):
        """(x·kernel + bias, what to multiply recurrent states by, or None): `[…, batch, in_features]` → `[…, width]`.

        Masks are `[batch, …]`: the same at all steps and for all gates (Gal and Ghahramani 2016, section 4).
        """
        rows = tf.shape(x)[-2] if x.shape[-2] is None else x.shape[-2]
        if training and self.dropout:
            keep = context.uniform(training, [rows, self.in_features]) >= self.dropout
            x = tf.where(keep, x / (1 - self.dropout), tf.zeros([], x.dtype))
        factor = None
        if training and self.recurrent_dropout:
            keep = context.uniform(training, [rows, self.units]) >= self.recurrent_dropout
            factor = tf.where(keep, tf.constant(1 / (1 - self.recurrent_dropout), x.dtype), tf.zeros([], x.dtype))
        # Flat, so that TensorFlow fuses product and bias.
        y = tf.reshape(x, [-1, self.in_features]) @ kernel
        y = y if bias is None else tf.nn.bias_add(y, bias)
        if x.shape.rank == 3:
            y = tf.reshape(y, [length(x), rows, y.shape[1]])
        return y, factor


def scaled(h, factor):
    """h·factor, or h for None."""
    return h if factor is None else h * factor


def through(operation):
    """δy ↦ δx by the fused operation for y = sigmoid(x) or y = tanh(x), a function of (y, δy)."""
    return lambda y, dy: operation(y=y, dy=dy)


def made(cell, in_features, units, **options):
    """A cell of that class, given only the options that are not its defaults: short in errors and summaries."""
    defaults = inspect.signature(cell).parameters
    given = {name: value for name, value in options.items() if repr(value) != repr(defaults[name].default)}
    return cell(in_features, units, **given)


class SimpleRNNCell(Cell):
    """hₜ = activation(xₜ·kernel + hₜ₋₁·recurrent_kernel + bias), the output and the state, `[batch, units]`.

    Fields: `kernel: [in_features, units]`, `recurrent_kernel: [units, units]`, `bias: [units]` or None.
    In training, `dropout` and `recurrent_dropout` drop inputs and states before their products.
    Source: Elman 1990, "Finding structure in time".

    >>> y, h = SimpleRNNCell(8, 4)(tf.zeros([32, 8]), tf.zeros([32, 4]))
    >>> y.shape
    TensorShape([32, 4])
    """

    def __init__(
        self,
        in_features,
        units,
        *,
        activation="tanh",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        dropout=0.0,
        recurrent_dropout=0.0,
        dtype=tf.float32,
    ):
        initializers = kernel_initializer, recurrent_initializer, bias_initializer
        super().__init__(in_features, units, 1, [], initializers, (dropout, recurrent_dropout), use_bias, dtype)
        self.activation = activations.get(activation)

    def begin(self, x, training):
        """(x·kernel + bias, recurrent kernel, factor of states)."""
        kernel, recurrent, bias = (
            None if each is None else tf.cast(each, x.dtype) for each in (self.kernel, self.recurrent_kernel, self.bias)
        )
        projected, factor = self.project(x, kernel, bias, training)
        return projected, recurrent, factor

    def step(self, projected, h, recurrent, factor):
        """(hₜ, hₜ)."""
        h = self.activation(projected + scaled(h, factor) @ recurrent)
        return h, h


class CellRNN(RNN):
    """An `RNN` that makes its own cell, whose fields are its fields."""

    kernel, recurrent_kernel, bias, in_features, units = (
        property(operator.attrgetter(f"cell.{name}"))
        for name in ("kernel", "recurrent_kernel", "bias", "in_features", "units")
    )


class SimpleRNN(CellRNN):
    """`SimpleRNNCell` along `[batch, time, in_features]` → `[batch, units]`; see there, and `RNN` for the rest.

    >>> SimpleRNN(8, 4, return_sequences=True)(tf.zeros([32, 10, 8])).shape
    TensorShape([32, 10, 4])
    """

    def __init__(
        self,
        in_features,
        units,
        *,
        activation="tanh",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        dropout=0.0,
        recurrent_dropout=0.0,
        return_sequences=False,
        return_state=False,
        go_backwards=False,
        zero_output_for_mask=False,
        dtype=tf.float32,
    ):
        cell = made(
            SimpleRNNCell,
            in_features,
            units,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
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
