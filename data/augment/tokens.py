"""Augmentation of text that is already numbers."""

import tensorflow as tf

from data.augment.checks import number, whole
from data.marks import by_example


def token_dropout(rate, unknown):
    """Replace each token of `inputs`, integers `[batch, time]`, by `unknown` with probability `rate`.

    0 is padding and stays. The draws of an example depend on how long its batch is padded.
    Iyyer et al., "Deep unordered composition rivals syntactic methods for text classification", ACL 2015, section 3.3.
    """
    rate = number("token_dropout", "rate", rate, 0, 1)
    unknown = whole("token_dropout", "unknown", unknown, 0)

    @by_example
    def drop(batch, draws):
        tokens = batch["inputs"]
        if not tokens.dtype.is_integer or tokens.shape.rank != 2:
            raise TypeError(
                f"token_dropout: inputs must be integers [batch, time], found {tokens.dtype.name} {tokens.shape}"
            )
        dropped = draws.uniform(tokens.shape[1] or tf.shape(tokens, tf.int64)[1]) < rate
        replaced = tf.where(dropped & (tokens != 0), tf.cast(unknown, tokens.dtype), tokens)
        return {**batch, "inputs": tf.ensure_shape(replaced, tokens.shape)}

    return drop
