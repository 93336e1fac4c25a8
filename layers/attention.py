"""Attention of many heads, with masks, grouped queries, and a cache for generation."""

import math
from typing import NamedTuple

import tensorflow as tf

from layers import checks, initializers
from layers.base import Layer
from layers.dropout import Dropout
from layers.enforcement import enforce
from layers.positions import RotaryPositions, lengths


class Memory(NamedTuple):
    """Keys and values of a sequence as the heads see them: `[batch, key heads, time, key_dim or value_dim]`."""

    keys: tf.Tensor
    values: tf.Tensor


class Cache(NamedTuple):
    """What a causal attention has seen: a `Memory` of a fixed longest time, of which `length` (int32) is filled."""

    memory: Memory
    length: tf.Tensor


class MultiHeadAttention(Layer):
    """softmax(Q·Kᵀ / √key_dim)·V in several heads at once: `[batch, time, features]` → the same.

    For each head h, Q, K and V are query·kernel + bias, each with its own kernel, of the arguments query, key and
    value; the heads' results, side by side, pass an output kernel. Softmax is taken in at least float32.

    - `attention(x)` looks at itself, `attention(x, value)` across at another sequence `[batch, key time,
      value_features]` (None: `features`); `key` (None: `value`) is what it is looked up by.
    - `key_dim` and `value_dim` are a head's sizes; None is features / num_heads, and key_dim.
    - `num_key_value_heads`, None for `num_heads`, must divide `num_heads`: that many heads of keys and values, each
      shared by neighbouring heads of queries.
    - `causal`: position t sees positions up to t only. `rotary`: queries and keys turn with their position, see
      `RotaryPositions`.
    - `dropout` of the weights of attention, in training.

    Masks are bool, True for what is seen; each may be left out, and all must hold:
    `attention_mask: [query time, key time]`, with batch, or batch and heads, before those; `padding_mask: [batch, key
    time]`. A size of 1 broadcasts. A position that sees nothing gets weights of 0, so its result is the output's bias.

    With `return_attention_scores` the weights `[batch, heads, query time, key time]` follow the result, as they are
    before dropout.

    A cache makes generation cheap: `y, cache = attention(x, cache=cache)` continues the sequence, be x one position or
    many, and gives the results of one call on the whole. Its size is fixed, so a step is compiled once. Masks then
    cover its `max_length`. More than that is refused as in `PositionEmbedding`. Across, `remember(value)` computes the
    keys and values once, and is passed as `value`.

    Fields, each with `kernel` and `bias` (None without `use_bias`), as Keras lays them out: `query_dense, key_dense,
    value_dense: [features, heads, size]`, `output_dense: [heads, value_dim, features]`. Unlike Keras', kernels are
    drawn as the matrices that they are, `[features, heads·size]`: their fans are those of the product.
    Source: Vaswani et al. 2017, section 3.2; grouped: Shazeer 2019, Ainslie et al. 2023; the cache: Shazeer 2019.

    >>> attention = MultiHeadAttention(64, 8, causal=True)
    >>> attention(tf.zeros([2, 10, 64])).shape
    TensorShape([2, 10, 64])
    >>> y, cache = attention(tf.zeros([2, 1, 64]), cache=attention.cache(2, max_length=100))
    >>> y.shape, int(cache.length)
    (TensorShape([2, 1, 64]), 1)
    """

    def __init__(
        self,
        features,
        num_heads,
        key_dim=None,
        *,
        value_dim=None,
        num_key_value_heads=None,
        value_features=None,
        causal=False,
        rotary=False,
        dropout=0.0,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        dtype=tf.float32,
    ):
        super().__init__(dtype)
        self.features = checks.positive(self, "features", features)
        self.num_heads = checks.positive(self, "num_heads", num_heads)
        if key_dim is None and self.features % self.num_heads:
            raise ValueError(f"{self!r}: num_heads must divide features, or key_dim be given, found {num_heads}")
        self.key_dim = checks.positive(self, "key_dim", self.features // self.num_heads if key_dim is None else key_dim)
        self.value_dim = checks.positive(self, "value_dim", self.key_dim if value_dim is None else value_dim)
        heads = self.num_heads if num_key_value_heads is None else num_key_value_heads
        self.num_key_value_heads = checks.positive(self, "num_key_value_heads", heads)
        if self.num_heads % self.num_key_value_heads:
            raise ValueError(f"{self!r}: num_key_value_heads must divide num_heads, found {num_key_value_heads}")
        self.value_features = checks.positive(
            self, "value_features", self.features if value_features is None else value_features
        )
        if rotary and self.key_dim % 2:
            raise ValueError(f"{self!r}: key_dim must be even for rotary positions, found {self.key_dim}")
        self.causal = bool(causal)
        self.rotary = RotaryPositions(self.key_dim) if rotary else None
        self.dropout = Dropout(checks.fraction(self, "dropout", dropout))
        options = (use_bias, kernel_initializer, bias_initializer, dtype)
        self.query_dense = Projection([self.features], [self.num_heads, self.key_dim], *options)
        self.key_dense = Projection([self.value_features], [self.num_key_value_heads, self.key_dim], *options)
        self.value_dense = Projection([self.value_features], [self.num_key_value_heads, self.value_dim], *options)
        self.output_dense = Projection([self.num_heads, self.value_dim], [self.features], *options)

    def last_dimension(self, size):
        """`features`, of an input of `features`."""
        self.expect(size, self.features)
        return self.features

    def cache(self, batch_size, max_length, dtype=None):
        """An empty cache for `batch_size` sequences of up to `max_length` positions; dtype: None is the variables'."""
        sizes = [checks.positive(self, "batch_size", batch_size), self.num_key_value_heads]
        sizes.append(checks.positive(self, "max_length", max_length))
        keys, values = (tf.zeros([*sizes, size], dtype or self.dtype) for size in (self.key_dim, self.value_dim))
        return Cache(Memory(keys, values), tf.zeros([], tf.int32))

    def remember(self, value, key=None):
        """The `Memory` of a sequence: `attention(x, remember(value, key))` is `attention(x, value, key)`."""
        value = self._take("value", value)
        return self._memory(value, value if key is None else self._take("key", key), 0)

    def __call__(
        self,
        query,
        value=None,
        key=None,
        *,
        attention_mask=None,
        padding_mask=None,
        return_attention_scores=False,
        cache=None,
        training=False,
    ):
        """The result; with `return_attention_scores`, the weights after it; with a cache, the new cache last."""
        query = self.take(query, rank=3)
        if cache is not None:
            query = self._fitting(cache, query, value, key)
        start = 0 if cache is None else cache.length
        if isinstance(value, Memory):
            memory = value
        elif value is None and self.value_features == self.features:
            memory = self._memory(query, query if key is None else self._take("key", key), start)
        else:
            memory = self.remember(value, key)
        if cache is not None:
            cache = memory, _ = _grown(cache, memory)
        if memory.keys.dtype != query.dtype:
            raise TypeError(f"{self!r}: value must be {query.dtype.name} as the query, found {memory.keys.dtype.name}")
        if not memory.keys.shape[:1].is_compatible_with(query.shape[:1]):
            raise ValueError(f"{self!r}: value must be of as many examples as query, found {memory.keys.shape[0]}")
        batch, time, _ = lengths(query)
        shape = [batch, self.num_heads, time, lengths(memory.keys)[2]]
        seen = self._seen(start, shape, attention_mask, padding_mask)
        # Behind a causal mask alone, each position sees at least the first.
        blind = attention_mask is not None or padding_mask is not None
        scores = _softmax(self._products(query, memory.keys, start, shape), seen, blind)
        y = self._weighted(self.dropout(scores, training=training), memory.values, shape)
        results = (y, *([scores] if return_attention_scores else []), *([] if cache is None else [cache]))
        return results if len(results) > 1 else y

    def _memory(self, value, key, start):
        """The heads' keys and values; rotary keys are turned for positions from `start` on."""
        if not key.shape[:2].is_compatible_with(value.shape[:2]):
            raise ValueError(f"{self!r}: key must be as long as value, found {key.shape} and {value.shape}")
        keys, values = self.key_dense(key), self.value_dense(value)
        keys = keys if self.rotary is None else self.rotary(keys, start)
        return Memory(*(tf.transpose(each, [0, 2, 1, 3]) for each in (keys, values)))

    def _products(self, query, keys, start, shape):
        """Q·Kᵀ / √key_dim: `[batch, heads, query time, key time]`."""
        batch, _, time, _ = shape
        queries = self.query_dense(query) * (1 / math.sqrt(self.key_dim))
        queries = queries if self.rotary is None else self.rotary(queries, start)
        # Heads that share their keys follow each other in time: one product serves them.
        groups = self.num_heads // self.num_key_value_heads
        queries = tf.reshape(queries, [batch, time, self.num_key_value_heads, groups, self.key_dim])
        queries = tf.transpose(queries, [0, 2, 3, 1, 4])
        queries = tf.reshape(queries, [batch, self.num_key_value_heads, groups * time, self.key_dim])
        return tf.reshape(tf.matmul(queries, keys, transpose_b=True), shape)

    def _weighted(self, scores, values, shape):
        """The heads' weighted sums of values through the output kernel: `[batch, query time, features]`."""
        batch, _, time, key_time = shape
        groups = self.num_heads // self.num_key_value_heads
        scores = tf.reshape(scores, [batch, self.num_key_value_heads, groups * time, key_time])
        heads = tf.reshape(tf.cast(scores, values.dtype) @ values, [batch, self.num_heads, time, self.value_dim])
        return self.output_dense(tf.transpose(heads, [0, 2, 1, 3]))

    def _seen(self, start, shape, attention_mask, padding_mask):
        """What may be seen: bool that broadcasts to `shape`, `[batch, heads, query time, key time]`; None for all."""
        batch, _, time, key_time = shape
        masks = []
        if self.causal:
            masks.append((start + tf.range(time))[:, None] >= tf.range(key_time))
        if attention_mask is not None:
            mask = self._mask("attention_mask", attention_mask, (2, 3, 4), shape)
            masks.append(mask[:, None] if mask.shape.rank == 3 else mask)
        if padding_mask is not None:
            masks.append(self._mask("padding_mask", padding_mask, (2,), [batch, key_time])[:, None, None])
        seen = None
        for mask in masks:
            seen = mask if seen is None else seen & mask
        return seen

    def _mask(self, name, mask, ranks, shape):
        """A mask of the right dtype and of a shape that broadcasts to the scores'."""
        mask = tf.convert_to_tensor(mask)
        if mask.dtype != tf.bool:
            raise TypeError(f"{self!r}: {name} must be bool, True for what is seen, found {mask.dtype.name}")
        shape = [shape[0], *shape[2:]] if mask.shape.rank == 3 else shape
        expected = [size if isinstance(size, int) else None for size in shape[-(mask.shape.rank or 0) :]]
        fits = mask.shape.rank in ranks and all(
            size == 1 or None in (size, whole) or size == whole
            for size, whole in zip(mask.shape, expected, strict=True)
        )
        if not fits:
            shown = f"of rank {' or '.join(map(str, ranks))} and broadcast to {expected}"
            raise ValueError(f"{self!r}: {name} must be {shown}, found {mask.shape}")
        return mask

    def _take(self, name, x):
        """What is looked at, `[batch, key time, value_features]`, or an error that names the argument."""
        if x is None:
            raise ValueError(f"{self!r} needs a value of {self.value_features} features")
        x = tf.convert_to_tensor(x)
        if not x.dtype.is_floating:
            raise TypeError(f"{self!r} computes with floats, found a {name} of {x.dtype.name}")
        if x.shape.rank != 3 or x.shape[-1] not in (None, self.value_features):
            raise ValueError(f"{self!r} expects a {name} [batch, time, {self.value_features}], found {x.shape}")
        return x

    def _fitting(self, cache, query, value, key):
        """The query, if the cache takes it; else an error, as loud as `enforce`."""
        if not self.causal:
            raise ValueError(f"{self!r}: a cache needs causal=True: what comes later must not change what was")
        if value is not None or key is not None:
            raise ValueError(f"{self!r}: with a cache, attention is of the query on itself: leave out value and key")
        keys = cache.memory.keys
        if keys.dtype != query.dtype or not keys.shape[:1].is_compatible_with(query.shape[:1]):
            raise ValueError(
                f"{self!r}: the cache is of batch size {keys.shape[0]} and {keys.dtype.name}, "
                f"the query of {query.shape[0]} and {query.dtype.name}"
            )
        end, longest = cache.length + lengths(query)[1], lengths(keys)[2]
        message, found = f"positions must lie in [0, {longest}) for this cache", tf.stack([cache.length, end - 1])
        return enforce(self, end <= longest, message, found, lambda: query)


class Projection(Layer):
    """x·kernel + bias over several dimensions at once: `[…, *inputs]` → `[…, *outputs]`.

    Fields: `kernel: [*inputs, *outputs]`, drawn as a matrix; `bias: [*outputs]` or None.
    """

    def __init__(self, inputs, outputs, use_bias, kernel_initializer, bias_initializer, dtype):
        super().__init__(dtype)
        self.sizes = math.prod(inputs), math.prod(outputs)
        self.outputs, self.summed = tuple(outputs), len(inputs)
        draw = initializers.get(kernel_initializer)
        self.kernel = self.variable(
            "kernel", [*inputs, *outputs], lambda shape, dtype: tf.reshape(draw(self.sizes, dtype), shape)
        )
        self.bias = self.variable("bias", outputs, bias_initializer) if use_bias else None

    def __call__(self, x):
        """x·kernel + bias."""
        kernel = tf.reshape(tf.cast(self.kernel, x.dtype), self.sizes)
        batch = lengths(x)[: -self.summed]
        y = tf.reshape(tf.reshape(x, [-1, self.sizes[0]]) @ kernel, [*batch, *self.outputs])
        return y if self.bias is None else y + tf.cast(self.bias, x.dtype)


def _grown(cache, new):
    """The cache with the `Memory` `new` after what it holds."""
    time, longest = lengths(new.keys)[2], lengths(cache.memory.keys)[2]
    # Each place takes what it holds or what is new: no size changes, and a step is compiled once.
    place = tf.range(longest) - cache.length
    fresh = ((place >= 0) & (place < time))[:, None]
    source = tf.clip_by_value(place, 0, time - 1)
    pairs = zip(cache.memory, new, strict=True)
    memory = Memory(*(tf.where(fresh, tf.gather(after, source, axis=2), before) for before, after in pairs))
    return Cache(memory, cache.length + time)


def _softmax(scores, seen, blind):
    """exp(scoreᵢ) / Σ exp(scoreⱼ) over the j that are seen, else 0, in at least float32.

    blind: whether there may be positions that see nothing.
    """
    finite = scores.dtype != tf.float16
    scores = tf.cast(scores, tf.float64 if scores.dtype == tf.float64 else tf.float32)
    if seen is None:
        return tf.nn.softmax(scores)
    # The lowest number, not −∞: where nothing is seen, ∞ − ∞ would be NaN.
    lowest = tf.constant(scores.dtype.min, scores.dtype)
    # A sum is half the time of a choice, there and back: next to the lowest number any score is nothing. In float16 a
    # product that is not seen may be infinite.
    hidden = scores + tf.where(seen, tf.zeros_like(lowest), lowest) if finite else tf.where(seen, scores, lowest)
    weights = tf.nn.softmax(hidden)
    return weights * tf.cast(tf.reduce_any(seen, -1, keepdims=True), weights.dtype) if blind else weights
