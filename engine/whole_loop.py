"""The whole loop as one XLA program, on one device: batches are stacked, and step, optimizer and rows are compiled."""

from collections.abc import Callable

import tensorflow as tf

from engine.columns import Columns
from engine.replicas import Slice

# A signal waits for a stack's steps, and what is not filled of a stack is copied all the same.
_MOST_BATCHES, _MOST_BYTES = 8, 2**24


def whole_loop(one_step: Callable, columns: Columns, stop: tf.Variable, *, on_trace: Callable[[], None]) -> Callable:
    """What `engine.loop.training_loop` makes, `(iterator, count) -> (rows, stopped, halted)`, by XLA.

    Batches of one shape are stacked, `[capacity, batch, …]`, and one program takes `number` of them, a tensor: how
    many there are changes neither program nor bits. The capacity depends on a batch's bytes alone, and XLA compiles
    once for each shape that a batch has: for the short last batch of an epoch a second time.
    `stop` is looked at between stacks.
    """

    @tf.function(autograph=False, jit_compile=True)
    def steps(stack, number, last):
        on_trace()
        leaves = tf.nest.flatten(stack)
        rows = tf.TensorArray(tf.float64, size=tf.shape(leaves[0])[0], element_shape=[columns.width])

        def body(done, _, rows):
            batch = tf.nest.map_structure(lambda leaf: leaf[done], stack)
            row, halted = one_step([Slice(batch, tf.zeros([], tf.int64), ())], tf.equal(done, last))
            return done + 1, halted, rows.write(done, row)

        done, halted, rows = tf.while_loop(
            lambda done, halted, _: (done < number) & ~halted, body, (0, tf.constant(False), rows)
        )
        return rows.stack(), done, halted

    @tf.function(autograph=False)
    def loop(iterator, count):
        def body(done, _stopped, _halted, rows, waiting, batch):
            stack, number, waiting, batch = _stacked(iterator, waiting, batch, count - done)
            found, number, halted = steps(stack, number, count - done - 1)
            places = done + tf.range(number)
            rows = tf.tensor_scatter_nd_update(rows, places[:, tf.newaxis], found[:number])
            with tf.control_dependencies([found]):
                stopped = stop.read_value()
            return done + number, stopped, halted, rows, waiting, batch

        empty = tf.nest.map_structure(_empty, iterator.element_spec)
        rows = tf.zeros([count, columns.width], tf.float64)
        start = (0, stop.read_value(), tf.constant(False), rows, tf.constant(False), empty)
        shapes = tf.nest.map_structure(lambda spec: spec.shape, iterator.element_spec)
        scalar = tf.TensorShape([])
        done, stopped, halted, rows, _, _ = tf.while_loop(
            lambda done, stopped, halted, *_: (done < count) & ~stopped & ~halted,
            body,
            start,
            shape_invariants=(scalar, scalar, scalar, tf.TensorShape([None, columns.width]), scalar, shapes),
            parallel_iterations=1,
        )
        return rows[:done], stopped, halted

    return loop


def _stacked(iterator, waiting, batch, most):
    """(stack, how many batches are in it, whether one of another shape waits, that one)."""
    spec = iterator.element_spec
    first = tf.cond(waiting, lambda: batch, lambda: next(iterator))
    leaves = tf.nest.flatten(first)
    size = tf.add_n([tf.size(leaf, tf.int64) * leaf.dtype.size for leaf in leaves])
    capacity = tf.cast(tf.clip_by_value(_MOST_BYTES // tf.maximum(size, 1), 1, _MOST_BATCHES), tf.int32)
    most = tf.minimum(most, capacity)
    arrays = [tf.TensorArray(leaf.dtype, size=capacity, element_shape=leaf.shape) for leaf in leaves]
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
