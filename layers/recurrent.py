"""Recurrence over time: any cell, step by step along a sequence."""

import copy

import tensorflow as tf

from layers import context
from layers.base import Layer
from layers.sequential import _takes_training, _waiting


class RNN(Layer):
    """outputₜ, statesₜ = cell(xₜ, statesₜ₋₁) along `[batch, time, features]` → `[batch, output_size]`, the last output.

    `return_sequences`: all outputs, `[batch, time, output_size]`. `return_state`: a tuple, (output, *states).
    `go_backwards`: from the last step to the first, and outputs come in that order.

    A cell is called by `cell(inputs, states)`, with `training=` if it takes that, and returns (output, states): inputs
    are `[batch, features]`, states `[batch, size]` in a nest like `cell.state_size` (one size, or a nest of sizes), and
    outputs `[batch, cell.output_size]`. With variables it must be a `tf.Module`. A list of cells is a
    `StackedRNNCells`. A cell that has a method `scan` (see `layers.recurrent.scan`) goes along a sequence by itself.
    Ours do: they multiply all inputs by their kernel at once, and draw one mask of dropout for a sequence. What another
    cell draws at its first step it draws again at every step: one mask there too, eagerly and in graphs.

    In a call, `initial_state` (zeros) is one state or a nest of them, as it was returned, and `mask`, bool
    `[batch, time]`, is True where a step counts. Elsewhere states are held, x may hold anything, and the output is that
    of the step before (0 at the start), or 0 with `zero_output_for_mask`.

    Compiled by XLA, it is differentiated only within the same compiled function, as any loop of TensorFlow's.

    >>> from layers import GRUCell, LSTMCell
    >>> rnn = RNN([LSTMCell(8, 16), GRUCell(16, 4)], return_state=True)
    >>> y, (h, c), g = rnn(tf.zeros([32, 10, 8]))
    >>> y.shape, c.shape, g.shape
    (TensorShape([32, 4]), TensorShape([32, 16]), TensorShape([32, 4]))
    """

    def __init__(
        self, cell, *, return_sequences=False, return_state=False, go_backwards=False, zero_output_for_mask=False
    ):
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        _check_cell(self, "cell", cell)
        super().__init__(getattr(cell, "dtype", tf.float32))
        self.cell = cell
        self.return_sequences, self.return_state = bool(return_sequences), bool(return_state)
        self.go_backwards, self.zero_output_for_mask = bool(go_backwards), bool(zero_output_for_mask)

    def last_dimension(self, size):
        """The cell's output size, of an input that fits the cell; None for a tuple of output and states."""
        expected = getattr(self.cell, "in_features", None)
        if expected is not None:
            self.expect(size, expected)
        return None if self.return_state else self.cell.output_size

    def __call__(self, x, initial_state=None, mask=None, training=False):
        """The last output or all of them, and with `return_state` the last states."""
        y, states = self.run(x, initial_state, mask, training, self.zero_output_for_mask)
        if not self.return_state:
            return y
        return (y, *states) if isinstance(states, tuple) else (y, states)

    def run(self, x, initial_state, mask, training, zero_output_for_mask):
        """(outputs, last states)."""
        x = self.take(x, rank=3)
        if x.shape[1] == 0:
            raise ValueError(f"{self!r} needs at least one step, found an input of {x.shape.as_list()}")
        if x.shape[1] is None:
            x = _provided(tf.shape(x)[1] > 0, f"{self!r} needs at least one step", x)
        states = self._states(initial_state, x)
        x, mask = tf.transpose(x, [1, 0, 2]), self._mask(mask, x)
        if mask is not None:
            # Not only for padding that is NaN: times a gradient of 0 that is NaN too.
            x = _where(mask, x)
        if self.go_backwards:
            x, mask = tf.reverse(x, [0]), None if mask is None else tf.reverse(mask, [0])
        outputs, states = scan(self.cell, x, states, mask, training)
        if mask is not None:
            shown = mask if zero_output_for_mask else tf.cumsum(tf.cast(mask, tf.int32)) > 0
            outputs = _where(shown, outputs)
        return tf.transpose(outputs, [1, 0, 2]) if self.return_sequences else outputs[-1], states

    def _states(self, given, x):
        """Initial states in x's dtype, a nest like the cell's `state_size`."""
        if given is not None:
            return fitting(self, "initial_state", given, self.cell.state_size, x)
        return tf.nest.map_structure(lambda size: tf.zeros([length(x), size], x.dtype), self.cell.state_size)

    def _mask(self, mask, x):
        """The mask as bool `[time, batch, 1]`, or None."""
        if mask is None:
            return None
        mask = tf.convert_to_tensor(mask)
        if mask.dtype != tf.bool:
            raise TypeError(f"{self!r}: mask must be bool, found {mask.dtype.name}")
        _fit(self, "mask", "[batch, time]", mask, x.shape[:2])
        if not (mask.shape.is_fully_defined() and x.shape[:2].is_fully_defined()):
            same = tf.reduce_all(tf.shape(mask) == tf.shape(x)[:2])
            mask = _provided(same, f"{self!r}: mask must be [batch, time]", mask)
            # XLA drops that. First the rows, so that it finds a transposed mask too.
            for sizes in ([length(x), tf.shape(mask)[1]], tf.shape(x)[:2]):
                mask = tf.reshape(mask, sizes, name="mask_must_be_batch_time")
        return tf.transpose(mask)[:, :, None]


class StackedRNNCells(Layer):
    """cellsₙ(… cells₀(x)): several cells as one, each fed with the output of the one below.

    `state_size` and states: a tuple, one entry a cell.

    >>> from layers import GRUCell, LSTMCell
    >>> StackedRNNCells([LSTMCell(8, 16), GRUCell(16, 4)]).state_size
    ((16, 16), 4)
    """

    def __init__(self, cells):
        if not isinstance(cells, (list, tuple)) or not cells:
            raise TypeError(f"StackedRNNCells takes a list of cells, found {cells!r}")
        for cell in cells:
            _check_cell(self, "cells", cell)
        super().__init__(getattr(cells[0], "dtype", tf.float32))
        self.cells = tuple(cells)
        self.last_dimension(None)

    @property
    def in_features(self):
        """The first cell's, None if it does not say."""
        return getattr(self.cells[0], "in_features", None)

    @property
    def state_size(self):
        """The cells' state sizes."""
        return tuple(cell.state_size for cell in self.cells)

    @property
    def output_size(self):
        """The last cell's."""
        return self.cells[-1].output_size

    def last_dimension(self, size):
        """The last cell's output size, or a ValueError that names two cells that cannot follow each other."""
        for index, cell in enumerate(self.cells):
            expected = getattr(cell, "in_features", None)
            if None not in (size, expected) and size != expected:
                source = f"cell {index - 1}" if index else "the input"
                raise ValueError(f"{self!r}: cell {index} {cell!r} cannot take {size} features from {source}")
            size = cell.output_size
        return size

    def __call__(self, inputs, states, training=False):
        """One step: (the last cell's output, all states)."""
        new, states = [], _packed(self, "states", states, self.state_size)
        for cell, state in zip(self.cells, states, strict=True):
            inputs, state = _stepper(cell, training)(inputs, state)
            new.append(state)
        return inputs, tuple(new)

    def scan(self, x, states, mask, training):
        """All steps, cell by cell: a cell's outputs over time are all that the next one sees."""
        new = []
        for cell, state in zip(self.cells, states, strict=True):
            x, state = scan(cell, x, state, mask, training)
            new.append(state)
        return x, tuple(new)


def scan(cell, x, states, mask, training):
    """(outputs `[time, batch, output_size]`, last states) of a cell along x `[time, batch, features]`.

    mask: bool `[time, batch, 1]` or None; where it is False states and output are those of the step before. What an
    output is before its first step is open.
    """
    if hasattr(cell, "scan"):
        return cell.scan(x, states, mask, training)
    # A graph traces a step once, and all steps draw the same there: so they do eagerly. The first moves the draws on.
    training = context.repeatable(training)
    contexts = iter([training])
    again = copy.copy(training)

    def step(inputs, states):
        return _stepper(cell, next(contexts, None) or copy.copy(again))(inputs, states)

    return loop(step, x, states, mask, cell.output_size)


def loop(step, x, states, mask, output_size):
    """`scan` of `output, states = step(xₜ, states)`, which TensorFlow differentiates."""
    steps, inputs = length(x), unstacked(x)
    counts = None if mask is None else unstacked(mask)
    # The output that is held, if there is a mask.
    held = () if mask is None else (tf.zeros([tf.shape(x)[1], output_size], x.dtype),)

    def body(t, outputs, states, held):
        output, new = step(inputs.read(t), states)
        new = tf.nest.pack_sequence_as(states, tf.nest.flatten(new))
        if mask is not None:
            here = counts.read(t)
            output = tf.where(here, output, held[0])
            new = tf.nest.map_structure(lambda new, old: tf.where(here, new, old), new, states)
            held = (output,)
        return t + 1, outputs.write(t, output), new, held

    variables = (0, array(x, steps, output_size), states, held)
    # XLA differentiates only loops whose number of steps it knows beforehand.
    _, outputs, states, _ = tf.while_loop(lambda t, *_: t < steps, body, variables, maximum_iterations=steps)
    return stacked(outputs, x.shape[0]), states


def fitting(layer, name, given, size, x):
    """Given states of x's batch and dtype, a nest like `size`, or an error that names the layer and the argument."""
    rows = length(x)

    def fit(state, size):
        state = tf.convert_to_tensor(state)
        if not state.dtype.is_floating:
            raise TypeError(f"{layer!r}: {name} must be floating, found {state.dtype.name}")
        _fit(layer, name, "[batch, size]", state, tf.TensorShape([x.shape[0], size]))
        # Where their batch size is known and x's is not, or the other way round, the reshape makes it one or fails.
        return tf.reshape(tf.cast(state, x.dtype), [rows, size])

    return tf.nest.map_structure(fit, _packed(layer, name, given, size), size)


def length(x):
    """The size of the first dimension, an int if it is known."""
    return tf.shape(x)[0] if x.shape[0] is None else x.shape[0]


def array(x, steps, size):
    """A TensorArray for `[batch, size]` at each of `steps`, with dtype and batch of x `[time, batch, …]`."""
    return tf.TensorArray(x.dtype, steps, element_shape=[x.shape[1], size], clear_after_read=False)


def unstacked(x):
    """x as a TensorArray: to index a tensor inside a loop would make its gradient quadratic in time."""
    return array(x, length(x), x.shape[2]).unstack(x)


def stacked(written, steps):
    """A TensorArray as a tensor, whose first size is `steps` (None: unknown)."""
    x = written.stack()
    x.set_shape([steps, None, None])
    return x


def _stepper(cell, training):
    """The cell as a function of inputs and states."""
    if _takes_training(cell):
        return lambda inputs, states: cell(inputs, states, training=training)
    return cell


def _check_cell(layer, name, cell):
    if _waiting(cell) or not callable(cell):
        raise TypeError(f"{layer!r}: {name} must be a cell or a list of cells, found {cell!r}")
    for needed in ("state_size", "output_size"):
        if not hasattr(cell, needed):
            raise TypeError(f"{layer!r}: {name} must have {needed}, {type(cell).__name__} has none")


def _packed(layer, name, given, size):
    """Given states in a nest like `size`, or an error if they are more or fewer."""
    given, count = tf.nest.flatten(given), len(tf.nest.flatten(size))
    if len(given) != count:
        raise ValueError(f"{layer!r}: {name} must be {count} tensor{'s' * (count > 1)}, found {len(given)}")
    return tf.nest.pack_sequence_as(size, given)


def _fit(layer, name, expected, tensor, shape):
    if not tensor.shape.is_compatible_with(shape):
        raise ValueError(
            f"{layer!r}: {name} must be {expected}, here {shape.as_list()}, found {tensor.shape.as_list()}"
        )


def _provided(condition, message, x):
    """x, in a graph that fails where the condition does not hold, but for XLA."""
    with tf.control_dependencies([tf.debugging.Assert(condition, [message])]):
        return tf.identity(x)


def _where(kept, x):
    return tf.where(kept, x, tf.zeros([], x.dtype))
