"""Cases of the parity suite: attention, blocks of a transformer, composition."""

import keras
from hypothesis import strategies as st

import layers

small = st.integers(1, 4)
# Keras (3.x) casts 1 / √key_dim through float32: only where that is exact can float64 agree. Its biases [heads, 1] are
# added along time if that is as long. Other sizes are compared with a closed form in test_attention.py.
KEY_DIM = 4
several = st.integers(2, 4)
heads = st.sampled_from([(1, 1), (2, 2), (2, 1), (4, 2)])


class SelfAttention(keras.layers.Layer):
    """Keras' attention of one input on itself."""

    def __init__(self, attention, **options):
        super().__init__(dtype=attention.dtype)
        self.attention, self.options = attention, options

    def build(self, shape):
        self.attention.build(shape, shape)
        self.built = True

    def call(self, x):
        return self.attention(x, x, **self.options)

    def pairs(self, ours):
        return attention_pairs(ours, self.attention)


def attention_pairs(ours, theirs):
    """Pairs of our variables and Keras', of an attention."""
    parts = ("query_dense", "key_dense", "value_dense", "output_dense")
    # Keras' grouped attention has them under private names only.
    return [pair for part in parts for pair in dense_pairs(getattr(ours, part), getattr(theirs, f"_{part}"))]


def dense_pairs(ours, theirs):
    """Pairs of a kernel and maybe a bias."""
    pairs = [(ours.kernel, theirs.kernel), (ours.bias, theirs.bias)]
    assert [mine is None for mine, _ in pairs] == [other is None for _, other in pairs]
    return [pair for pair in pairs if pair[0] is not None]


def multi_head_attention(draw, dtype):
    features, (queries, keys) = draw(small), draw(heads)
    shared = {"use_bias": draw(st.booleans()), "dtype": dtype}
    causal = draw(st.booleans())
    if draw(st.booleans()):
        options = {"value_dim": draw(several)}
        theirs = keras.layers.MultiHeadAttention(queries, KEY_DIM, **options, **shared)
    else:
        options = {"num_key_value_heads": keys}
        theirs = keras.layers.GroupQueryAttention(KEY_DIM, queries, keys, **shared)
    ours = layers.MultiHeadAttention(features, queries, KEY_DIM, causal=causal, **options, **shared)
    return ours, SelfAttention(theirs, use_causal_mask=causal), [draw(small), features]


class Block(keras.layers.Layer):
    """A block of a transformer, composed of Keras' layers."""

    def __init__(self, features, heads, units, key_dim, activation, norm_first, epsilon, causal, use_bias, dtype):
        super().__init__(dtype=dtype)
        self.features, self.norm_first, self.causal = features, norm_first, causal
        self.attention = keras.layers.MultiHeadAttention(heads, key_dim, use_bias=use_bias, dtype=dtype)
        self.norms = [keras.layers.LayerNormalization(epsilon=epsilon, dtype=dtype) for _ in range(2)]
        self.dense = [
            keras.layers.Dense(units, activation, use_bias, dtype=dtype),
            keras.layers.Dense(features, use_bias=use_bias, dtype=dtype),
        ]

    def build(self, shape):
        self.attention.build(shape, shape)
        for layer in (*self.norms, self.dense[0]):
            layer.build(shape)
        self.dense[1].build([*shape[:-1], self.dense[0].units])
        self.built = True

    def call(self, x):
        def attend(x):
            return self.attention(x, x, use_causal_mask=self.causal)

        def network(x):
            return self.dense[1](self.dense[0](x))

        for sublayer, norm in zip((attend, network), self.norms, strict=True):
            x = x + sublayer(norm(x)) if self.norm_first else norm(x + sublayer(x))
        return x

    def pairs(self, ours):
        norms = [
            (getattr(mine, name), getattr(other, name))
            for mine, other in zip((ours.self_attention_norm, ours.feedforward_norm), self.norms, strict=True)
            for name in ("gamma", "beta")
        ]
        dense = zip((ours.hidden_dense, ours.output_dense), self.dense, strict=True)
        return [
            *attention_pairs(ours.self_attention, self.attention),
            *norms,
            *(pair for each in dense for pair in dense_pairs(*each)),
        ]


def block(kind, causal):
    def case(draw, dtype):
        heads, units = draw(st.integers(1, 2)), draw(small)
        features = heads * draw(st.sampled_from([1, KEY_DIM]))
        options = {
            "key_dim": KEY_DIM if features == heads else None, "activation": draw(st.sampled_from(["relu", "tanh"])),
            "norm_first": draw(st.booleans()), "epsilon": draw(st.sampled_from([1e-5, 1e-2])),
            "use_bias": draw(st.booleans()), "dtype": dtype,
        }  # fmt: skip
        ours = kind(features, heads, units, **options)
        keyed = {**options, "key_dim": options["key_dim"] or features // heads}
        return ours, Block(features, heads, units, causal=causal, **keyed), [draw(small), features]

    return case


class Branches(keras.layers.Layer):
    """Dense layers beside each other, merged; None is the input itself."""

    def __init__(self, branches, merge):
        super().__init__(dtype=merge.dtype)
        self.branches, self.merge = branches, merge

    def build(self, shape):
        for branch in filter(None, self.branches):
            branch.build(shape)
        self.built = True

    def call(self, x):
        results = [x if branch is None else branch(x) for branch in self.branches]
        return self.merge(results) if len(results) > 1 else results[0]

    def pairs(self, ours):
        mine = ours.branches if isinstance(ours, layers.Parallel) else (ours.block, ours.shortcut)
        both = [each for each in zip(mine, self.branches, strict=True) if each[1] is not None]
        return [pair for branch, other in both for pair in dense_pairs(branch.layers[0], other)]


def two_dense(features, units, activation, dtype):
    ours = layers.Dense(features, units, activation=activation, dtype=dtype)
    return ours, keras.layers.Dense(units, activation, dtype=dtype)


def residual(draw, dtype):
    features, units = draw(small), draw(small)
    projected = draw(st.booleans())
    block, other = two_dense(features, units if projected else features, "tanh", dtype)
    shortcut, beside = two_dense(features, units, None, dtype) if projected else (None, None)
    add = keras.layers.Add(dtype=dtype)
    return layers.Residual(block, shortcut), Branches([other, beside], add), [draw(small), features]


def parallel(draw, dtype):
    merges = {
        "concat": keras.layers.Concatenate,
        "sum": keras.layers.Add,
        "mul": keras.layers.Multiply,
        "ave": keras.layers.Average,
    }
    merge = draw(st.sampled_from(list(merges)))
    features, units = draw(small), draw(small)
    both = [two_dense(features, units, name, dtype) for name in ["tanh", None, "sigmoid"][: draw(st.integers(1, 3))]]
    ours = layers.Parallel([mine if index else [mine] for index, (mine, _) in enumerate(both)], merge)
    return ours, Branches([other for _, other in both], merges[merge](dtype=dtype)), [features]


CASES = {
    layers.MultiHeadAttention: multi_head_attention,
    layers.TransformerEncoderBlock: block(layers.TransformerEncoderBlock, causal=False),
    layers.TransformerDecoderBlock: block(layers.TransformerDecoderBlock, causal=True),
    layers.Residual: residual,
    layers.Parallel: parallel,
}

ELSEWHERE = {
    layers.Embedding: "test_embedding.py",
    layers.Lambda: "test_composition.py",
    layers.PositionEmbedding: "test_positions.py",
    layers.SinusoidalPositions: "test_positions.py",
    layers.RotaryPositions: "test_positions.py",
}
