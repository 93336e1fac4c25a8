"""The whole loop as one XLA program, on one device: batches are stacked, and step, optimizer and rows are compiled."""

from collections.abc import Callable

import tensorflow as tf

from engine.columns import Columns
from engine.replicas import Slice

# What is not filled of a stack is copied all the same, and a signal waits for a stack's steps: a second or two, if each
# number to train takes six operations at every position of a batch, and a processor does many more than 2³⁵ a second.
_MOST_BATCHES, _MOST_BYTES, _MOST_OPERATIONS = 64, 2**24, 2**36


def whole_loop(
    one_step: Callable, columns: Columns, stop: tf.Variable, *, numbers: int, on_trace: Callable[[], None]
) -> Callable:
    """What `engine.loop.training_loop` makes, `(iterator, count) -> (rows, stopped, halted)`, by XLA.

    Batches of one shape are stacked, `[capacity, batch, …]`, and one program takes `number` of them, a tensor: how
    many there are changes neither program nor bits. The capacity depends on the model's size, `numbers` to train, and a
    batch's shape alone, and XLA compiles once for each shape that a batch has: for the short last batch of an epoch a
    second time. While one stack is computed, the next is filled. `stop` is looked at between stacks.
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
        def filled(most, waiting, batch):
            return _stacked(iterator, waiting, batch, most, numbers)

        def body(done, _stopped, _halted, rows, stack, number, waiting, batch):
            left = count - done - number
            # Independent of the steps, hence at the same time.
            ahead = tf.cond(left > 0, lambda: filled(left, waiting, batch), lambda: (stack, 0, waiting, batch))
            found, made, halted = steps(stack, number, count - done - 1)
            places = done + tf.range(made)
            rows = tf.tensor_scatter_nd_update(rows, places[:, tf.newaxis], found[:made])
            with tf.control_dependencies([found]):
                stopped = stop.read_value()
            return done + made, stopped, halted, rows, *ahead

        empty = tf.nest.map_structure(_empty, iterator.element_spec)
        rows = tf.zeros([count, columns.width], tf.float64)
        stopped = stop.read_value()
        first = tf.cond(
            (count > 0) & ~stopped,
            lambda: filled(count, tf.constant(False), empty),
            lambda: (tf.nest.map_structure(lambda leaf: leaf[tf.newaxis], empty), 0, tf.constant(False), empty),
        )
        shapes = tf.nest.map_structure(lambda spec: spec.shape, iterator.element_spec)
        stacks = tf.nest.map_structure(lambda shape: tf.TensorShape([None]).concatenate(shape), shapes)
        scalar = tf.TensorShape([])
        done, stopped, halted, rows, *_ = tf.while_loop(
            lambda done, stopped, halted, *_: (done < count) & ~stopped & ~halted,
            body,
            (0, stopped, tf.constant(False), rows, *first),
            shape_invariants=(scalar, scalar, scalar, tf.TensorShape([None, columns.width]))
            + (stacks, scalar, scalar, shapes),
            parallel_iterations=1,
        )
        return rows[:done], stopped, halted

    return loop


def _stacked(iterator, waiting, batch, most, numbers):
    """(stack, how many batches are in it, whether one of another shape waits, that one)."""
    spec = iterator.element_spec
    first = tf.cond(waiting, lambda: batch, lambda: next(iterator))
    leaves = tf.nest.flatten(first)
    size = tf.add_n([tf.size(leaf, tf.int64) * leaf.dtype.size for leaf in leaves])
    operations = 6 * numbers * tf.reduce_max([_positions(leaf) for leaf in leaves])
    capacity = tf.minimum(_MOST_BYTES // tf.maximum(size, 1), _MOST_OPERATIONS // tf.maximum(operations, 1))
    capacity = tf.cast(tf.clip_by_value(capacity, 1, _MOST_BATCHES), tf.int32)
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


def _positions(leaf: tf.Tensor) -> tf.Tensor:
    """How often a model may use its numbers on a part of a batch: once for each row, or each token or time in one."""
    shape = tf.shape(leaf, tf.int64)
    in_time = leaf.shape.rank > 2 or (leaf.shape.rank == 2 and leaf.dtype.is_integer)
    return tf.reduce_prod(shape[: 2 if in_time else 1])
