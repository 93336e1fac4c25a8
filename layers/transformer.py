"""Blocks of a transformer: attention and a network for each position, with residual connections."""

import tensorflow as tf

from layers import checks
from layers.attention import MultiHeadAttention
from layers.base import Layer
from layers.dense import Dense
from layers.dropout import Dropout
from layers.layer_norm import LayerNorm


class TransformerEncoderBlock(Layer):
    """Self-attention, then a network of two dense layers at each position: `[batch, time, features]` → the same.

    Each of the two is a sublayer f with a residual connection, with the normalisation behind or before f:

        x = norm(x + dropout(f(x)))    or, with norm_first,    x = x + dropout(f(norm(x)))

    The network is activation(x·W + b)·V + c with `units` hidden units. `key_dim`, `num_key_value_heads` and `rotary`
    are those of `MultiHeadAttention`, as are the masks. `dropout` is also that of attention's weights; `epsilon`
    is that of the norms. A stack with norm_first wants one more `LayerNorm` at its end.
    Fields: `self_attention`, `self_attention_norm`, `hidden_dense`, `output_dense`, `feedforward_norm`.
    Source: Vaswani et al. 2017, sections 3.1 and 3.3; norm_first: Xiong et al. 2020, figure 1b.

    >>> TransformerEncoderBlock(64, 8, 256)(tf.zeros([2, 10, 64])).shape
    TensorShape([2, 10, 64])
    """

    def __init__(
        self,
        features,
        num_heads,
        units,
        *,
        key_dim=None,
        num_key_value_heads=None,
        rotary=False,
        activation="relu",
        dropout=0.0,
        norm_first=False,
        epsilon=1e-5,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        dtype=tf.float32,
    ):
        super().__init__(dtype)
        dense = {
            "use_bias": use_bias,
            "kernel_initializer": kernel_initializer,
            "bias_initializer": bias_initializer,
            "dtype": dtype,
        }
        self.self_attention = MultiHeadAttention(
            features,
            num_heads,
            key_dim,
            num_key_value_heads=num_key_value_heads,
            causal=self._causal,
            rotary=rotary,
            dropout=dropout,
            **dense,
        )
        self.features, self.units = self.self_attention.features, checks.positive(self, "units", units)
        self.norm_first = bool(norm_first)
        self.dropout = Dropout(dropout)
        self.self_attention_norm = LayerNorm(features, epsilon=epsilon, dtype=dtype)
        self.hidden_dense = Dense(features, units, activation=activation, **dense)
        self.output_dense = Dense(units, features, **dense)
        self.feedforward_norm = LayerNorm(features, epsilon=epsilon, dtype=dtype)

    _causal = False

    def last_dimension(self, size):
        """`features`, of an input of `features`."""
        self.expect(size, self.features)
        return self.features

    def __call__(self, x, *, attention_mask=None, padding_mask=None, training=False):
        """x after both sublayers; masks as in `MultiHeadAttention`."""
        x = self.take(x, rank=3)
        masks = {"attention_mask": attention_mask, "padding_mask": padding_mask}
        x = self._residual(
            x, self.self_attention_norm, training, lambda x: self.self_attention(x, training=training, **masks)
        )
        return self._residual(x, self.feedforward_norm, training, self._feedforward)

    def _feedforward(self, x):
        return self.output_dense(self.hidden_dense(x))

    def _residual(self, x, norm, training, sublayer):
        """x and a sublayer of it, with the norm where `norm_first` puts it."""
        y = x + self.dropout(sublayer(norm(x) if self.norm_first else x), training=training)
        return y if self.norm_first else norm(y)


class TransformerDecoderBlock(TransformerEncoderBlock):
    """Causal self-attention, attention across to a memory if asked for, then the network of an encoder block.

    `[batch, time, features]` → the same. Without `cross_attention` it is a block of a language model such as GPT. With
    it, the memory `[batch, key time, features]`, an encoder's result, comes second, and is masked by `memory_mask:
    [batch, key time]`. Everything else is as in `TransformerEncoderBlock`; the fields `cross_attention` and
    `cross_attention_norm` are None without.

    For generation pass a cache, as to `MultiHeadAttention`; the memory can be what `block.remember(memory)` made of
    it once. Source: Vaswani et al. 2017, section 3.1; without memory: Radford et al. 2018, section 3.1.

    >>> block = TransformerDecoderBlock(64, 8, 256, norm_first=True)
    >>> cache = block.cache(2, max_length=100)
    >>> y, cache = block(tf.zeros([2, 7, 64]), cache=cache)
    >>> y, cache = block(tf.zeros([2, 1, 64]), cache=cache)
    >>> y.shape, int(cache.length)
    (TensorShape([2, 1, 64]), 8)
    """

    _causal = True

    def __init__(
        self,
        features,
        num_heads,
        units,
        *,
        cross_attention=False,
        key_dim=None,
        num_key_value_heads=None,
        rotary=False,
        activation="relu",
        dropout=0.0,
        norm_first=False,
        epsilon=1e-5,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        dtype=tf.float32,
    ):
        shared = {
            "key_dim": key_dim,
            "num_key_value_heads": num_key_value_heads,
            "dropout": dropout,
            "use_bias": use_bias,
            "kernel_initializer": kernel_initializer,
            "bias_initializer": bias_initializer,
            "dtype": dtype,
        }
        super().__init__(
            features,
            num_heads,
            units,
            rotary=rotary,
            activation=activation,
            norm_first=norm_first,
            epsilon=epsilon,
            **shared,
        )
        self.cross_attention = MultiHeadAttention(features, num_heads, **shared) if cross_attention else None
        self.cross_attention_norm = LayerNorm(features, epsilon=epsilon, dtype=dtype) if cross_attention else None

    def cache(self, batch_size, max_length, dtype=None):
        """An empty cache for `batch_size` sequences of up to `max_length` positions; dtype: None is the variables'."""
        return self.self_attention.cache(batch_size, max_length, dtype)

    def remember(self, memory):
        """What cross-attention needs of the memory, to be passed as `memory` at every step of a generation."""
        self._check_memory(memory)
        return self.cross_attention.remember(memory)

    def __call__(
        self,
        x,
        memory=None,
        *,
        attention_mask=None,
        padding_mask=None,
        memory_mask=None,
        cache=None,
        training=False,
    ):
        """x after all sublayers, and with a cache the new cache; masks as in `MultiHeadAttention`."""
        x = self.take(x, rank=3)
        self._check_memory(memory, memory_mask)
        masks = {"attention_mask": attention_mask, "padding_mask": padding_mask}
        grown = cache

        def attend(x):
            nonlocal grown
            y = self.self_attention(x, cache=cache, training=training, **masks)
            if cache is not None:
                y, grown = y
            return y

        x = self._residual(x, self.self_attention_norm, training, attend)
        if self.cross_attention is not None:
            x = self._residual(
                x,
                self.cross_attention_norm,
                training,
                lambda x: self.cross_attention(x, memory, padding_mask=memory_mask, training=training),
            )
        y = self._residual(x, self.feedforward_norm, training, self._feedforward)
        return y if cache is None else (y, grown)

    def _check_memory(self, memory, memory_mask=None):
        if self.cross_attention is None and not (memory is None and memory_mask is None):
            raise ValueError(f"{self!r} takes no memory and no memory_mask without cross_attention=True")
        if self.cross_attention is not None and memory is None:
            raise ValueError(f"{self!r} needs a memory [batch, time, {self.features}] for its cross_attention")
