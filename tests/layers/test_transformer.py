from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from parity_attention import KEY_DIM, Block, attention_pairs

import engine
import layers

Encoder, Decoder = layers.TransformerEncoderBlock, layers.TransformerDecoderBlock


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def filled(kind, *sizes, seed=0, **options):
    layer = kind(*sizes, **{"dtype": "float64", **options})
    for number, variable in enumerate(layer.variables):
        variable.assign(normal(*variable.shape, seed=seed + number))
    return layer


class CrossBlock(Block):
    """Keras' layers in the order of a decoder's block, with attention across."""

    def __init__(self, features, heads, units, *options):
        super().__init__(features, heads, units, *options)
        self.cross = keras.layers.MultiHeadAttention(heads, KEY_DIM, dtype="float64")
        self.cross_norm = keras.layers.LayerNormalization(epsilon=1e-3, dtype="float64")

    def build(self, shape):
        super().build(shape)
        self.cross.build(shape, shape)
        self.cross_norm.build(shape)

    def call(self, x, memory, padding, memory_mask):
        sublayers = [
            (self.norms[0], lambda x: self.attention(x, x, value_mask=padding, use_causal_mask=True)),
            (self.cross_norm, lambda x: self.cross(x, memory, value_mask=memory_mask)),
            (self.norms[1], lambda x: self.dense[1](self.dense[0](x))),
        ]
        for norm, sublayer in sublayers:
            x = x + sublayer(norm(x)) if self.norm_first else norm(x + sublayer(x))
        return x

    def pairs(self, ours):
        mine, other = ours.cross_attention_norm, self.cross_norm
        norm = [(mine.gamma, other.gamma), (mine.beta, other.beta)]
        return [*super().pairs(ours), *attention_pairs(ours.cross_attention, self.cross), *norm]


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_decoder_that_looks_across_and_its_gradients_are_those_of_keras(norm_first):
    ours = filled(Decoder, 3, 2, 5, cross_attention=True, key_dim=KEY_DIM, epsilon=1e-3, norm_first=norm_first)
    theirs = CrossBlock(3, 2, 5, KEY_DIM, "relu", norm_first, 1e-3, True, True, "float64")
    theirs.build((2, 4, 3))
    pairs = theirs.pairs(ours)
    assert len(pairs) == len(ours.variables)
    for mine, other in pairs:
        other.assign(mine)
    inputs = [tf.constant(normal(2, 4, 3)), tf.constant(normal(2, 5, 3))]
    padding = np.array([[True, True, False, True], [True, True, True, True]])
    mask = np.array([[True, False, True, True, False], [False, True, True, True, True]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        mine, other = ours(*inputs, padding_mask=padding, memory_mask=mask), theirs(*inputs, padding, mask)
        totals = [tf.reduce_sum(tf.sin(y)) for y in (mine, other)]
    np.testing.assert_allclose(mine, other, rtol=0, atol=1e-11)
    found = tape.gradient(totals[0], [*inputs, *(pair[0] for pair in pairs)])
    expected = tape.gradient(totals[1], [*inputs, *(pair[1].value for pair in pairs)])
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-10 * (1 + np.abs(two).max()))


@settings(max_examples=5)
@given(order=st.permutations(range(4)))
def test_an_encoder_block_does_not_know_the_order(order):
    block, x = filled(Encoder, 4, 2, 3), normal(2, 4, 4)
    np.testing.assert_allclose(block(x[:, order]), block(x).numpy()[:, order], rtol=0, atol=1e-11)


@settings(max_examples=8)
@given(kept=st.lists(st.integers(0, 3), min_size=1, unique=True).map(sorted), norm_first=st.booleans())
def test_a_padding_mask_is_the_absence_of_the_padded_positions(kept, norm_first):
    block, x = filled(Encoder, 4, 2, 3, norm_first=norm_first), normal(2, 4, 4)
    masked = block(x, padding_mask=np.isin(np.arange(4), kept)[None])
    np.testing.assert_allclose(masked.numpy()[:, kept], block(x[:, kept]), rtol=0, atol=1e-11)
    pairs = np.isin(np.arange(4), kept)[None, :] & np.ones([4, 1], bool)
    np.testing.assert_array_equal(block(x, attention_mask=pairs), masked)


@settings(max_examples=6)
@given(time=st.integers(1, 3), norm_first=st.booleans())
def test_a_decoder_block_does_not_know_what_comes_later(time, norm_first):
    block, x = filled(Decoder, 4, 2, 3, norm_first=norm_first, rotary=True), normal(2, 4, 4)
    np.testing.assert_allclose(block(x[:, :time]), block(x)[:, :time], rtol=0, atol=1e-11)


@settings(max_examples=8)
@given(st.data())
def test_generation_with_a_cache_is_one_pass_over_the_whole(data):
    draw = data.draw
    across = draw(st.booleans())
    block = filled(
        Decoder, 4, 4, 3, cross_attention=across, key_dim=2, num_key_value_heads=2, rotary=True,
        norm_first=draw(st.booleans()), activation="gelu",
    )  # fmt: skip
    pieces = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    x, cache, found, start = normal(2, sum(pieces), 4), block.cache(2, 12), [], 0
    given_memory = {"memory": normal(2, 3, 4, seed=1), "memory_mask": [[True, False, True]] * 2} if across else {}
    once = {**given_memory, "memory": block.remember(given_memory["memory"])} if across else {}
    for piece in pieces:
        y, cache = block(x[:, start : start + piece], cache=cache, **once)
        found.append(y)
        start += piece
    np.testing.assert_allclose(tf.concat(found, 1), block(x, **given_memory), rtol=0, atol=1e-11)


class Language(layers.Layer):
    """The smallest language model: words, places, a block, logits."""

    def __init__(self, words, features, max_length):
        super().__init__()
        self.words = layers.Embedding(words, features)
        self.places = layers.PositionEmbedding(max_length, features)
        self.block = Decoder(features, 2, 8, norm_first=True)
        self.head = layers.Sequential([layers.LayerNorm(features), layers.Dense(features, words)])

    def __call__(self, ids, cache=None):
        x = self.places(self.words(ids), 0 if cache is None else cache.length)
        if cache is None:
            return self.head(self.block(x))
        x, cache = self.block(x, cache=cache)
        return self.head(x), cache


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_whole_generation_is_one_program_whose_words_are_those_of_passes_over_the_whole(jit_compile):
    model = engine.cast(Language(7, 4, 6), "float64")
    for number, variable in enumerate(model.trainable_variables):
        variable.assign(normal(*variable.shape, seed=number))

    @tf.function(jit_compile=jit_compile, autograph=False)
    def generate(prompt):
        def step(time, ids, word, cache):
            logits, cache = model(word, cache)
            word = tf.argmax(logits[:, -1:], -1, tf.int32)
            return time + 1, tf.where(tf.range(6) == time, word, ids), word, cache

        ids = tf.pad(prompt, [[0, 0], [0, 4]])
        _, ids, word, cache = step(2, ids, prompt, model.block.cache(2, 6, "float64"))
        return tf.while_loop(lambda time, *_: time < 6, step, (3, ids, word, cache))[1]

    ids = prompt = tf.constant([[1, 4], [6, 0]])
    for _ in range(4):
        ids = tf.concat([ids, tf.argmax(model(ids)[:, -1:], -1, tf.int32)], 1)
    np.testing.assert_array_equal(generate(prompt), ids)


def test_a_graph_of_unknown_batch_and_time_computes_the_same():
    block = filled(Decoder, 4, 2, 3, cross_attention=True, rotary=True, num_key_value_heads=1)
    graph = tf.function(block, input_signature=[tf.TensorSpec([None, None, 4], tf.float64)] * 2)
    x, memory = tf.constant(normal(2, 3, 4)), tf.constant(normal(2, 5, 4, seed=1))
    np.testing.assert_allclose(graph(x, memory), block(x, memory), rtol=0, atol=1e-11)
    assert graph.get_concrete_function().output_shapes == [None, None, 4]


@pytest.mark.parametrize("kind", [Encoder, Decoder])
def test_dropout_depends_neither_on_how_the_batch_is_cut_nor_on_recomputation(kind):
    block, x = filled(kind, 4, 2, 3, dropout=0.3), tf.constant(normal(6, 3, 4))

    def run(function, rows, first_row):
        with tf.GradientTape() as tape:
            y = function(x[rows], training=engine.StepContext(3, 5, first_row))
            total = tf.reduce_sum(tf.sin(y))
        return [y, *tape.gradient(total, block.trainable_variables)]

    whole = run(block, slice(None), 0)
    first, second = run(block, slice(2), 0), run(block, slice(2, None), 2)
    parts = [tf.concat([first[0], second[0]], 0), *(a + b for a, b in zip(first[1:], second[1:], strict=True))]
    for other in (parts, run(layers.recompute(block), slice(None), 0)):
        for found, expected in zip(other, whole, strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
    assert np.any(whole[0] != block(x))


def test_three_draws_are_made_by_an_encoder_block_and_four_values_in_ten_are_dropped():
    context = engine.StepContext(3, 5)
    filled(Encoder, 4, 2, 3, dropout=0.4)(normal(2, 3, 4), training=context)
    assert context.draws == 3  # attention's weights, and the results of both sublayers
    block = filled(Encoder, 8, 2, 3, dropout=0.4, norm_first=True)
    block.output_dense.kernel.assign(tf.zeros_like(block.output_dense.kernel))
    block.output_dense.bias.assign(tf.ones([8], tf.float64))
    block.self_attention.output_dense.kernel.assign(tf.zeros_like(block.self_attention.output_dense.kernel))
    block.self_attention.output_dense.bias.assign(tf.zeros([8], tf.float64))
    x = tf.zeros([20, 25, 8], tf.float64)
    kept = block(x, training=engine.StepContext(3, 5)).numpy()
    assert set(np.round(kept, 12).ravel()) == {0.0, round(1 / 0.6, 12)}
    # Six standard deviations of the mean of 4,000 Bernoulli variables.
    assert abs((kept == 0).mean() - 0.4) < 6 * np.sqrt(0.4 * 0.6 / 4000)


def test_blocks_are_sized_by_chain_and_stand_in_sequential():
    model = layers.chain(
        (None, 4), layers.SinusoidalPositions, partial(Encoder, num_heads=2, units=8, dropout=0.5),
        partial(Decoder, num_heads=2, units=8), partial(layers.Dense, units=3),
    )  # fmt: skip
    x = tf.constant(normal(2, 5, 4), tf.float32)
    assert model(x).shape == [2, 5, 3]
    assert np.any(model(x) != model(x, training=True))
    with pytest.raises(ValueError, match=r"layer 1 TransformerEncoderBlock\(5, 5, 2\) cannot take \[..., 4\]"):
        layers.Sequential([layers.Dense(3, 4), Encoder(5, 5, 2)])


def test_low_precision_stays():
    tf.random.set_seed(0)
    block = Decoder(4, 2, 8, cross_attention=True, rotary=True)
    x = tf.constant(normal(2, 3, 4), tf.bfloat16)
    y, cache = block(x, x, cache=block.cache(2, 3, "bfloat16"))
    assert y.dtype == cache.memory.values.dtype == tf.bfloat16
    wide = block(tf.cast(x, tf.float32), tf.cast(x, tf.float32))
    # bfloat16 keeps 8 bits, and six products follow each other.
    np.testing.assert_allclose(tf.cast(y, tf.float32), wide, rtol=0, atol=2**-4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Encoder(0, 2, 3), "features must be a positive integer, found 0"),
        (lambda: Encoder(4, 3, 3), "num_heads must divide features, or key_dim be given, found 3"),
        (lambda: Encoder(4, 2, 0), r"TransformerEncoderBlock\(4, 2, 0\): units must be a positive integer, found 0"),
        (lambda: Encoder(4, 2, 3, num_key_value_heads=4), "num_key_value_heads must divide num_heads, found 4"),
        (lambda: Encoder(4, 2, 3, dropout=1), r"dropout must lie in \[0, 1\), found 1"),
        (lambda: Encoder(4, 2, 3, activation="rellu"), "unknown activation 'rellu'"),
        (lambda: Encoder(4, 2, 3, epsilon=0), "epsilon must be positive, found 0"),
        (lambda: Decoder(4, 4, 3, rotary=True), "key_dim must be even for rotary positions, found 1"),
        (lambda: Encoder(4, 2, 3)(tf.zeros([2, 4])), r"TransformerEncoderBlock\(4, 2, 3\) expects an input of rank 3"),
        (lambda: Encoder(4, 2, 3)(tf.zeros([2, 3, 5])), "expects a last dimension of 4, found 5"),
        (lambda: Decoder(4, 2, 3)(X, X), "takes no memory and no memory_mask without cross_attention=True"),
        (lambda: Decoder(4, 2, 3)(X, memory_mask=[[True]]), "takes no memory and no memory_mask"),
        (lambda: Decoder(4, 2, 3).remember(X), "takes no memory"),
        (lambda: Decoder(4, 2, 3, cross_attention=True)(X), r"needs a memory \[batch, time, 4\]"),
        (lambda: Decoder(4, 2, 3, cross_attention=True)(X, tf.zeros([2, 3, 5])), r"a value \[batch, time, 4\], found"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(build, message):
    with pytest.raises(ValueError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


X = tf.zeros([2, 3, 4])
