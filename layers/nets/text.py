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
        seen = tf.cast(self.embedding.compute_mask(ids), x.dtype)[:, :, tf.newaxis]
        return self.dense(tf.reduce_sum(x * seen, 1) / tf.maximum(tf.reduce_sum(seen, 1), 1))


@register
class TextRNN(Layer):
    """What a recurrent layer has made of a text at its last token, then logits.

        embedding → dropout → `cell` along the tokens → dropout → dense `classes`

    `input_dim` is the size of the vocabulary; `cell` is "lstm", "gru" or "bilstm", of which each way has `units`.
    Padding is passed over, wherever it stands. Fields: `embedding`, `recurrent`, `dense`.
    Source: Hochreiter and Schmidhuber 1997; Cho et al. 2014; both ways: Graves and Schmidhuber 2005.

    >>> TextRNN(1000, 2, cell="gru", output_dim=16, units=8)(tf.constant([[4, 7, 0]])).shape
    TensorShape([1, 2])
    """

    def __init__(self, input_dim, classes, *, cell="lstm", output_dim=64, units=64, dropout=0.0, dtype=tf.float32):
        super().__init__(dtype)
        kinds = {"lstm": LSTM, "gru": GRU, "bilstm": lambda *sizes, **options: Bidirectional(LSTM(*sizes, **options))}
        if cell not in kinds:
            raise ValueError(f"{self!r}: cell must be one of {', '.join(kinds)}, found {cell!r}")
        self.embedding = Embedding(input_dim, output_dim, mask_zero=True, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.recurrent = kinds[cell](output_dim, units, dtype=dtype)
        self.dense = Dense(self.recurrent.last_dimension(output_dim), classes, dtype=dtype)

    def __call__(self, ids, training=False):
        """The logits."""
        x = self.dropout(self.embedding(ids), training=training)
        x = self.recurrent(x, mask=self.embedding.compute_mask(ids), training=training)
        return self.dense(self.dropout(x, training=training))
