"""Classifiers of texts: `[batch, time]` token ids, of which 0 is padding, → `[batch, classes]`, logits."""

import tensorflow as tf

from layers.base import Layer
from layers.bidirectional import Bidirectional
from layers.dense import Dense
from layers.dropout import Dropout
from layers.embedding import Embedding
from layers.gru import GRU
from layers.lstm import LSTM
from layers.registry import register

POOLINGS = ("last", "mean")


@register
class TextAverage(Layer):
    """The mean of the embeddings of a text's tokens, then logits.

        embedding → dropout → mean over tokens → dense `classes`

    `input_dim` is the size of the vocabulary. Padding counts nowhere: the longer a batch, the same the logits; a text
    of padding alone has the mean 0. Fields: `embedding`, `dense`.
    Source: Joulin et al. 2016, figure 1; dropout of words' values: Iyyer et al. 2015, section 3.1.

    >>> TextAverage(1000, 2, output_dim=16)(tf.constant([[4, 7, 0]])).shape
    TensorShape([1, 2])
    """

    def __init__(self, input_dim, classes, *, output_dim=64, dropout=0.0, dtype=tf.float32):
        super().__init__(dtype)
        self.embedding = Embedding(input_dim, output_dim, mask_zero=True, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.dense = Dense(output_dim, classes, dtype=dtype)

    def __call__(self, ids, training=False):
        """The logits."""
        x = self.dropout(self.embedding(ids), training=training)
        return self.dense(_mean(x, self.embedding.compute_mask(ids)))


@register
class TextRNN(Layer):
    """What a recurrent layer has made of a text, at its last token or on average, then logits.

        embedding → dropout → `cell` along the tokens → (mean over tokens) → dropout → dense `classes`

    `input_dim` is the size of the vocabulary; `cell` is "lstm", "gru" or "bilstm", of which each way has `units`;
    `pooling` is "last", what comes out at the last token (each way at its own), or "mean" over all tokens.
    Padding is passed over, wherever it stands. Fields: `embedding`, `recurrent`, `dense`.
    Source: Hochreiter and Schmidhuber 1997; Cho et al. 2014; both ways: Graves and Schmidhuber 2005; the mean: Conneau
    et al. 2017, section 3.2.2.

    >>> TextRNN(1000, 2, cell="gru", output_dim=16, units=8)(tf.constant([[4, 7, 0]])).shape
    TensorShape([1, 2])
    """

    def __init__(
        self,
        input_dim,
        classes,
        *,
        cell="lstm",
        output_dim=64,
        units=64,
        pooling="last",
        dropout=0.0,
        dtype=tf.float32,
    ):
        super().__init__(dtype)
        kinds = {"lstm": LSTM, "gru": GRU, "bilstm": lambda *sizes, **options: Bidirectional(LSTM(*sizes, **options))}
        if cell not in kinds:
            raise ValueError(f"{self!r}: cell must be one of {', '.join(kinds)}, found {cell!r}")
        if pooling not in POOLINGS:
            raise ValueError(f"{self!r}: pooling must be one of {', '.join(POOLINGS)}, found {pooling!r}")
        self.pooling = pooling
        self.embedding = Embedding(input_dim, output_dim, mask_zero=True, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.recurrent = kinds[cell](output_dim, units, return_sequences=pooling == "mean", dtype=dtype)
        self.dense = Dense(self.recurrent.last_dimension(output_dim), classes, dtype=dtype)

    def __call__(self, ids, training=False):
        """The logits."""
        x, mask = self.dropout(self.embedding(ids), training=training), self.embedding.compute_mask(ids)
        x = self.recurrent(x, mask=mask, training=training)
        if self.pooling == "mean":
            x = _mean(x, mask)
        return self.dense(self.dropout(x, training=training))


def _mean(x, mask):
    """The mean over the tokens there are: `[batch, time, features]` → `[batch, features]`; 0 where none is."""
    there = tf.cast(mask, x.dtype)[:, :, tf.newaxis]
    return tf.reduce_sum(x * there, 1) / tf.maximum(tf.reduce_sum(there, 1), 1)
