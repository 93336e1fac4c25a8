"""The whole loop as one XLA program, on one device: batches are stacked, and step, optimizer and rows are compiled."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from engine.columns import Columns
from engine.replicas import Slice
from engine.stacks import Stacks, capacity


class WholeLoop:
    """What `engine.loop.training_loop` makes, `(iterator, count) -> (rows, stopped, halted)`, by XLA.

    Batches of one shape are stacked, `[capacity, batch, …]`, and one program takes some of them, from a tensor's number
    on and as many as a tensor says: that changes neither program nor bits. The capacity depends on the model's size,
    `numbers` to train, and a batch's shape alone, and XLA compiles once for each shape that a batch has: for the short
    last batch of an epoch a second time. The iterator is one over batches, which are stacked here, or `Stacks`, which
    the pipeline has made. While one stack is computed, the next is filled. `stop` is looked at between stacks.
    """

    def __init__(
        self,
        one_step: Callable,
        columns: Columns,
        stop: tf.Variable,
        *,
        numbers: int,
        on_trace: Callable[[], None],
    ):
        self.numbers = numbers
        steps = _program(one_step, columns, on_trace)
        self._over_batches = _over_batches(steps, columns, stop, numbers)
        self._over_stacks = _over_stacks(steps, columns, stop)
        self._traced: Callable | None = None

    def __call__(self, iterator: Any, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Rows of up to `count` steps, whether a stop was asked for, whether the last step halted."""
        if not isinstance(iterator, Stacks):
            return self._over_batches(iterator, count)
        if self._traced is None:
            # Once for stacks of all shapes.
            specs = (*iterator.iterator.element_spec, tf.TensorSpec([], tf.int64))
            self._traced = self._over_stacks.get_concrete_function(
                iterator.iterator, tf.TensorSpec([], tf.int32), specs
            )
        *found, iterator.left = self._traced(iterator.iterator, count, iterator.left)
        return tuple(found)

    def experimental_get_tracing_count(self) -> int:
        """How often it was traced."""
        loops = (self._over_batches, self._over_stacks)
        return sum(loop.experimental_get_tracing_count() for loop in loops)


def _program(one_step: Callable, columns: Columns, on_trace: Callable[[], None]) -> Callable:
    """The steps of a stack's batches from `first` on, `number` of them; `last` is the number of the last step due."""

    @tf.function(autograph=False, jit_compile=True)
    def steps(stack, first, number, last):
        on_trace()
        leaves = tf.nest.flatten(stack)
        rows = tf.TensorArray(tf.float64, size=tf.shape(leaves[0])[0], element_shape=[columns.width])

        # The place is carried along: XLA takes a number that stays what it is for a constant, where it says what is
        # sliced, and compiles once for each.
        def body(done, place, _, rows):
            batch = tf.nest.map_structure(lambda leaf: leaf[place], stack)
            row, halted = one_step([Slice(batch, tf.zeros([], tf.int64), ())], tf.equal(done, last))
            return done + 1, place + 1, halted, rows.write(done, row)

        done, _, halted, rows = tf.while_loop(
            lambda done, _place, halted, _rows: (done < number) & ~halted, body, (0, first, tf.constant(False), rows)
        )
        return rows.stack(), done, halted

    return steps


def _over_stacks(steps: Callable, columns: Columns, stop: tf.Variable) -> Any:
    @tf.function(autograph=False)
    def loop(iterator, count, left):
        def body(done, _stopped, _halted, rows, stack, number, first):
            stack, number, first = tf.cond(
                first < number,
                lambda: (stack, number, first),
                lambda: (*next(iterator), tf.zeros([], tf.int64)),
            )
            due = tf.minimum(tf.cast(number - first, tf.int32), count - done)
            found, made, halted = steps(stack, tf.cast(first, tf.int32), due, count - done - 1)
            return *_noted(stop, rows, done, found, made, halted), stack, number, first + tf.cast(made, tf.int64)

        stacks = tf.nest.map_structure(lambda spec: spec.shape, iterator.element_spec[0])
        scalar = tf.TensorShape([])
        done, stopped, halted, rows, *left = _while(columns, stop, count, body, left, (stacks, scalar, scalar))
        return rows[:done], stopped, halted, tuple(left)

    return loop


def _over_batches(steps: Callable, columns: Columns, stop: tf.Variable, numbers: int) -> Any:
    @tf.function(autograph=False)
    def loop(iterator, count):
        def filled(most, waiting, batch):
            return _stacked(iterator, waiting, batch, most, numbers)

        def body(done, _stopped, _halted, rows, stack, number, waiting, batch):
            left = count - done - number
            # Independent of the steps, hence at the same time.
            ahead = tf.cond(left > 0, lambda: filled(left, waiting, batch), lambda: (stack, 0, waiting, batch))
            found, made, halted = steps(stack, tf.constant(0), number, count - done - 1)
            return *_noted(stop, rows, done, found, made, halted), *ahead

        empty = tf.nest.map_structure(_empty, iterator.element_spec)
        first = tf.cond(
            (count > 0) & ~stop.read_value(),
            lambda: filled(count, tf.constant(False), empty),
            lambda: (tf.nest.map_structure(lambda leaf: leaf[tf.newaxis], empty), 0, tf.constant(False), empty),
        )
        shapes = tf.nest.map_structure(lambda spec: spec.shape, iterator.element_spec)
        stacks = tf.nest.map_structure(lambda shape: tf.TensorShape([None]).concatenate(shape), shapes)
        scalar = tf.TensorShape([])
        done, stopped, halted, rows, *_ = _while(columns, stop, count, body, first, (stacks, scalar, scalar, shapes))
        return rows[:done], stopped, halted

    return loop


def _while(columns, stop, count, body, state, shapes):
    """Calls `body(done, stopped, halted, rows, *state)` until `count` steps are done, or it is stopped or halted."""
    scalar = tf.TensorShape([])
    return tf.while_loop(
        lambda done, stopped, halted, *_: (done < count) & ~stopped & ~halted,
        body,
        (0, stop.read_value(), tf.constant(False), tf.zeros([count, columns.width], tf.float64), *state),
        shape_invariants=(scalar, scalar, scalar, tf.TensorShape([None, columns.width]), *shapes),
        parallel_iterations=1,
    )


def _noted(stop, rows, done, found, made, halted):
    """(steps done, whether to stop, whether one halted, the rows) after `made` more steps, whose rows are `found`."""
    places = done + tf.range(made)
    rows = tf.tensor_scatter_nd_update(rows, places[:, tf.newaxis], found[:made])
    with tf.control_dependencies([found]):
        stopped = stop.read_value()
    return done + made, stopped, halted, rows


def _stacked(iterator, waiting, batch, most, numbers):
    """(stack, how many batches are in it, whether one of another shape waits, that one)."""
    spec = iterator.element_spec
    first = tf.cond(waiting, lambda: batch, lambda: next(iterator))
    leaves = tf.nest.flatten(first)
    size = capacity([tf.shape(leaf, tf.int64) for leaf in leaves], [leaf.dtype for leaf in leaves], numbers)
    most = tf.minimum(most, size)
    arrays = [tf.TensorArray(leaf.dtype, size=size, element_shape=leaf.shape) for leaf in leaves]
    shapes = [tf.shape(leaf) for leaf in leaves]

    def body(number, _, batch, arrays):
        arrays = [array.write(number, leaf) for array, leaf in zip(arrays, tf.nest.flatten(batch), strict=True)]
        more = number + 1 < most
        batch = tf.cond(more, lambda: next(iterator), lambda: batch)
        same = [
            tf.reduce_all(tf.equal(tf.shape(leaf), shape))
            for leaf, shape in zip(tf.nest.flatten(batch), shapes, strict=True)
        ]
        fits = tf.reduce_all(tf.stack(same))
        return number + 1, ~fits, batch, arrays

    number, waiting, batch, arrays = tf.while_loop(
        lambda number, waiting, *_: (number < most) & ~waiting,
        body,
        (0, tf.constant(False), first, arrays),
        shape_invariants=None,
        parallel_iterations=1,
    )
    stack = tf.nest.pack_sequence_as(spec, [array.stack() for array in arrays])
    return stack, number, waiting, batch


def _empty(spec: tf.TensorSpec) -> tf.Tensor:
    return tf.zeros([size or 0 for size in spec.shape], spec.dtype)
