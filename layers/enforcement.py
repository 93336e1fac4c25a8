"""Errors about values, which only a running program knows: loud on every device, compiled or not."""

import tensorflow as tf


def enforce(layer, condition, message, found, compute):
    """The tensor `compute()` returns, if the bool tensor `condition` holds everywhere.

    condition: broadcasts to the result from the left, as `[batch, time]` to `[batch, time, features]`.
    Where it does not hold, eagerly a ValueError of one line, `message` and the range of the tensor `found`; in a graph
    an InvalidArgumentError with the same words. XLA drops assertions: the result is NaN there, which a loss and a
    guard of finite numbers see, while TensorFlow would go on with clamped indices (under XLA) or zeros (on a GPU).
    Integers hold no NaN: for them there is no check under XLA. The operations are in a name scope "or_nan": whoever
    asks whether a graph says the same under XLA can leave them out of account.
    """
    holds = tf.reduce_all(condition)
    low, high = tf.reduce_min(found), tf.reduce_max(found)
    if tf.executing_eagerly():
        if not holds:
            raise ValueError(f"{layer!r}: {message}, found {low} to {high}")
        return compute()
    with tf.name_scope("or_nan"):
        asserted = tf.debugging.Assert(holds, [f"{layer!r}: {message}, found", low, "to", high])
        with tf.control_dependencies([asserted]):
            values = compute()
    if not values.dtype.is_floating:
        return values
    # 0 / 1 or 0 / 0, no constant: a search for the first NaN must not end here where the condition holds.
    one = tf.cast(condition, values.dtype)
    poison = (one - one) / one
    missing = values.shape.rank - poison.shape.rank
    return values + tf.reshape(poison, tf.concat([tf.shape(poison), [1] * missing], 0))
