"""Language models: `[batch, time]` token ids → `[batch, time, input_dim]`, the logits of each next token."""

import tensorflow as tf

from layers.base import Layer
from layers.dense import Dense
from layers.dropout import Dropout
from layers.embedding import Embedding
from layers.layer_norm import LayerNorm
from layers.lstm import LSTM
from layers.registry import register
from layers.transformer import TransformerDecoderBlock


@register
class TransformerLM(Layer):
    """A stack of causal transformer blocks with the norms first.

        embedding → dropout → `blocks` × (attention, dense layers of 4·features) → layer norm → dense `input_dim`

    `input_dim` is the size of the vocabulary. Positions are rotary, so that no length is the longest.
    A cache continues texts: `logits, cache = model(ids, cache=model.cache(batch_size, max_length))` and so on.
    Fields: `embedding`, `blocks`, `norm`, `dense`.
    Source: Radford et al. 2019, section 2.3; rotary: Su et al. 2021.

    >>> model = TransformerLM(100, features=16, num_heads=2, blocks=2)
    >>> logits, cache = model(tf.constant([[4, 7]]), cache=model.cache(1, max_length=8))
    >>> logits.shape
    TensorShape([1, 2, 100])
    """

    def __init__(self, input_dim, *, features=128, num_heads=4, blocks=4, dropout=0.0, dtype=tf.float32):
        super().__init__(dtype)
        self.embedding = Embedding(input_dim, features, dtype=dtype)
        self.dropout = Dropout(dropout)
        options = {"rotary": True, "norm_first": True, "activation": "gelu", "dropout": dropout, "dtype": dtype}
        self.blocks = [TransformerDecoderBlock(features, num_heads, 4 * features, **options) for _ in range(blocks)]
        self.norm = LayerNorm(features, dtype=dtype)
        self.dense = Dense(features, input_dim, dtype=dtype)

    def cache(self, batch_size, max_length):
        """An empty cache for `batch_size` texts of up to `max_length` tokens."""
        return [block.cache(batch_size, max_length) for block in self.blocks]

    def __call__(self, ids, *, cache=None, training=False):
        """The logits, and with a cache the new cache."""
        x = self.dropout(self.embedding(ids), training=training)
        grown = []
        for number, block in enumerate(self.blocks):
            x = block(x, cache=None if cache is None else cache[number], training=training)
            if cache is not None:
                x, seen = x
                grown.append(seen)
        logits = self.dense(self.norm(x))
        return logits if cache is None else (logits, grown)


@register
class RecurrentLM(Layer):
    """A stack of LSTMs.

        embedding → dropout → `blocks` × (LSTM `units` → dropout) → dense `input_dim`

    `input_dim` is the size of the vocabulary. The cache, as in `TransformerLM`, is the states: it has no longest text.
    Fields: `embedding`, `blocks`, `dense`. Source: Graves 2013, section 2; dropout: Zaremba et al. 2014, figure 2.

    >>> model = RecurrentLM(100, features=16, units=8)
    >>> logits, cache = model(tf.constant([[4, 7]]), cache=model.cache(1))
    >>> logits.shape
    TensorShape([1, 2, 100])
    """

    def __init__(self, input_dim, *, features=128, units=256, blocks=1, dropout=0.0, dtype=tf.float32):
        super().__init__(dtype)
        self.embedding = Embedding(input_dim, features, dtype=dtype)
        self.dropout = Dropout(dropout)
        sizes = [features, *[units] * blocks]
        options = {"return_sequences": True, "return_state": True, "dtype": dtype}
        self.blocks = [LSTM(size, units, **options) for size in sizes[:-1]]
        self.dense = Dense(sizes[-1], input_dim, dtype=dtype)

    def cache(self, batch_size, max_length=None):
        """The states before the first token of `batch_size` texts."""
        return [(tf.zeros([batch_size, block.cell.units], self.dtype),) * 2 for block in self.blocks]

    def __call__(self, ids, *, cache=None, training=False):
        """The logits, and with a cache the new cache."""
        x = self.dropout(self.embedding(ids), training=training)
        grown = []
        for number, block in enumerate(self.blocks):
            x, *states = block(x, initial_state=None if cache is None else cache[number], training=training)
            x = self.dropout(x, training=training)
            grown.append(tuple(states))
        logits = self.dense(x)
        return logits if cache is None else (logits, grown)
