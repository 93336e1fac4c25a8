"""Gradient cases of embeddings, positions, attention, transformer blocks and composition."""

import functools

import numpy as np
import tensorflow as tf
from points import context, layer, normal, settled
from registry import add

import layers

IDS = np.array([[1, 3, 3], [0, 2, 1]])


def embedding(label, build, **options):
    add("layers.Embedding", label, lambda: (settled(build()), tf.constant(IDS)), **options)


embedding("rows-twice", lambda: layers.Embedding(5, 3, mask_zero=True), order=2)
embedding("computed-in-float32", lambda: layers.Embedding(4, 2, compute_dtype="float32"), rtol=1e-3)

layer("layers.PositionEmbedding", "beginning", lambda: layers.PositionEmbedding(5, 4), [2, 3, 4], order=2)
layer("layers.SinusoidalPositions", "odd", lambda: layers.SinusoidalPositions(3, max_wavelength=50), [2, 4, 3], order=2)
layer("layers.RotaryPositions", "heads", lambda: layers.RotaryPositions(4, max_wavelength=50), [2, 3, 2, 4], order=2)
for name, build in (
    ("PositionEmbedding", lambda: layers.PositionEmbedding(5, 4)),
    ("SinusoidalPositions", lambda: layers.SinusoidalPositions(4)),
    ("RotaryPositions", lambda: layers.RotaryPositions(4)),
):
    add(f"layers.{name}", "later", lambda build=build: (settled(build()), (normal(2, 3, 4), tf.constant(2))))

Attention = layers.MultiHeadAttention
MASK = np.array([[True, False, True], [False, False, False], [True, True, True]])
PADDING = np.array([[True, True, False], [False, True, True]])


def attention(label, *inputs, call=None, order=1, training=None, **options):
    """A case for an attention of four features; `call` are what it is called with besides the inputs."""

    def make():
        module = settled(Attention(4, 2, **options))
        return functools.partial(module, **call) if call else module, inputs

    add("layers.MultiHeadAttention", label, make, order=order, training=training)


x, value, key = normal(2, 3, 4), normal(2, 3, 3, seed=1), normal(2, 3, 3, seed=2)
attention("self", x, order=2)
attention("causal-rotary", x, causal=True, rotary=True, order=2)
attention("across", x, value, key, value_features=3, key_dim=2, value_dim=3, use_bias=False)
attention("grouped", x, num_key_value_heads=1)
attention("masks", x, call={"attention_mask": MASK, "padding_mask": PADDING}, causal=True, order=2)
attention("weights-too", x, call={"return_attention_scores": True})
attention("dropout", x, dropout=0.3, training=context())


class Remembering(tf.Module):
    """Attention on a memory that is projected before."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def __call__(self, x, value, key):
        return self.module(x, self.module.remember(value, key))


add(
    "layers.MultiHeadAttention", "memory",
    lambda: (Remembering(settled(Attention(4, 2, value_features=3))), (x, value, key)),
)  # fmt: skip


class Decoding(tf.Module):
    """What a causal layer makes of a sequence piece by piece, with a cache."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def __call__(self, x):
        cache, results = self.module.cache(2, 5, x.dtype), []
        for start, end in ((0, 2), (2, 3)):
            y, cache = self.module(x[:, start:end], cache=cache)
            results.append(y)
        return tf.concat(results, 1)


def decoding(name, label, build, **options):
    add(name, label, lambda: (Decoding(settled(build())), x), **options)


decoding("layers.MultiHeadAttention", "cache", lambda: Attention(4, 2, causal=True, rotary=True))

Encoder, Decoder = layers.TransformerEncoderBlock, layers.TransformerDecoderBlock
block = {"activation": "tanh", "epsilon": 1e-2}
for first in (False, True):
    layer(
        "layers.TransformerEncoderBlock", f"norm-first-{first}",
        lambda first=first: Encoder(4, 2, 3, norm_first=first, **block), [2, 3, 4], order=2,
    )  # fmt: skip
layer(
    "layers.TransformerEncoderBlock", "options",
    lambda: Encoder(4, 2, 3, key_dim=4, num_key_value_heads=1, rotary=True, dropout=0.2, use_bias=False, **block),
    [2, 3, 4], training=context(),
)  # fmt: skip
layer(
    "layers.TransformerDecoderBlock", "options",
    lambda: Decoder(4, 2, 3, key_dim=4, num_key_value_heads=1, dropout=0.2, norm_first=True, use_bias=False, **block),
    [2, 3, 4], training=context(),
)  # fmt: skip
add(
    "layers.TransformerDecoderBlock", "across",
    lambda: (settled(Decoder(4, 2, 3, cross_attention=True, **block)), (x, normal(2, 5, 4))),
)  # fmt: skip
decoding("layers.TransformerDecoderBlock", "cache", lambda: Decoder(4, 2, 3, rotary=True, **block))

Dense = layers.Dense


def dense(units, features=3):
    return Dense(features, units, activation="tanh")


layer("layers.Residual", "list", lambda: layers.Residual([dense(4), dense(3, 4)]), [4, 3], order=2)
layer("layers.Residual", "shortcut", lambda: layers.Residual(dense(2), dense(2)), [4, 3])
layer("layers.Residual", "dropout", lambda: layers.Residual(layers.Dropout(0.4)), [4, 3], training=context())
for merge in ("concat", "sum", "mul", "ave"):
    layer(
        "layers.Parallel", merge,
        lambda merge=merge: layers.Parallel([dense(2), [tf.sin, dense(2)]], merge=merge), [4, 3], order=2,
    )  # fmt: skip
layer("layers.Lambda", "by-path", lambda: layers.Lambda("tensorflow.math.sin"), [4, 3], order=2)
