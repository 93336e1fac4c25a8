import math

import keras
import numpy as np
import parity_attention
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
import layers

small = st.integers(1, 4)
Attention = layers.MultiHeadAttention


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def filled(*sizes, seed=0, **options):
    layer = Attention(*sizes, **{"dtype": "float64", **options})
    for number, variable in enumerate(layer.variables):
        variable.assign(normal(*variable.shape, seed=seed + number))
    return layer


def turned(x, start=0):
    """Su et al. 2021: pairs of features as complex numbers, times the power of a position."""
    pairs, time = x[..., 0::2] + 1j * x[..., 1::2], np.arange(start, start + x.shape[1])
    angles = time[:, None, None] * 10000.0 ** (-np.arange(0, x.shape[-1], 2) / x.shape[-1])
    pairs = pairs * np.exp(1j * angles)
    return np.stack([pairs.real, pairs.imag], -1).reshape(x.shape)


def closed_form(layer, query, value, key, seen):
    """(result, weights) by the paper's formula, one head after the other; seen: bool [batch, heads, query, key]."""

    def product(part, x):
        dense = getattr(layer, f"{part}_dense")
        y = np.einsum("btf,fhd->bthd", x, dense.kernel.numpy())
        return y if dense.bias is None else y + dense.bias.numpy()

    queries, keys, values = product("query", query), product("key", key), product("value", value)
    if layer.rotary is not None:
        queries, keys = turned(queries), turned(keys)
    results, weights = [], []
    for head in range(layer.num_heads):
        shared = head // (layer.num_heads // layer.num_key_value_heads)
        scores = queries[:, :, head] @ keys[:, :, shared].transpose(0, 2, 1) / math.sqrt(layer.key_dim)
        powers = np.exp(scores) * seen[:, head]
        total = powers.sum(-1, keepdims=True)
        weights.append(np.divide(powers, total, out=np.zeros_like(powers), where=total > 0))
        results.append(weights[-1] @ values[:, :, shared])
    y = np.einsum("bthd,hdf->btf", np.stack(results, 2), layer.output_dense.kernel.numpy())
    bias = layer.output_dense.bias
    return y + (0 if bias is None else bias.numpy()), np.stack(weights, 1)


@settings(max_examples=30)
@given(st.data())
def test_results_and_weights_are_those_of_the_formula(data):
    draw = data.draw
    heads, keys = draw(st.sampled_from([(1, None), (2, None), (2, 1), (4, 2)]))
    rotary, across = draw(st.booleans()), draw(st.booleans())
    key_dim = draw(st.sampled_from([2, 4])) if rotary else draw(small)
    layer = filled(
        features := draw(small), heads, key_dim,
        value_dim=draw(st.one_of(st.none(), small)), num_key_value_heads=keys, rotary=rotary,
        value_features=draw(small) if across else None, causal=draw(st.booleans()), use_bias=draw(st.booleans()),
    )  # fmt: skip
    batch, time, key_time = draw(small), draw(small), draw(small)
    query = normal(batch, time, features)
    value, key = query, query
    if across:
        value = normal(batch, key_time, layer.value_features, seed=1)
        key = normal(*value.shape, seed=2) if draw(st.booleans()) else value
    key_time = value.shape[1]
    given, random = {}, np.random.default_rng(draw(st.integers(0, 99)))
    seen = np.ones([batch, heads, time, key_time], bool)
    shapes = {2: [time, key_time], 3: [batch, time, key_time], 4: [batch, heads, time, key_time]}
    if rank := draw(st.sampled_from([None, 2, 3, 4])):
        shape = [draw(st.sampled_from([1, size])) for size in shapes[rank]]
        given["attention_mask"] = mask = random.random(shape) < 0.7
        seen &= mask[:, None] if rank == 3 else mask
    if draw(st.booleans()):
        given["padding_mask"] = mask = random.random([batch, key_time]) < 0.7
        seen &= mask[:, None, None]
    if layer.causal:
        seen &= np.tri(time, key_time, dtype=bool)
    arguments = (query, value, key) if across else (query,)
    y, weights = layer(*arguments, **given, return_attention_scores=True)
    expected = closed_form(layer, query, value, key, seen)
    np.testing.assert_allclose(y, expected[0], rtol=0, atol=1e-12 * (1 + np.abs(expected[0]).max()))
    np.testing.assert_allclose(weights, expected[1], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(layer(*arguments, **given), y)


@settings(max_examples=10)
@given(st.data())
def test_masked_cross_attention_and_its_gradients_are_those_of_keras(data):
    draw = data.draw
    heads, size, causal = draw(st.integers(1, 2)), parity_attention.KEY_DIM, draw(st.booleans())
    theirs = keras.layers.MultiHeadAttention(heads, size, value_dim=3, dtype="float64")
    ours = filled(3, heads, size, value_dim=3, value_features=2, causal=causal)
    query, value, key = normal(2, 3, 3), normal(2, 4, 2, seed=1), normal(2, 4, 2, seed=2)
    theirs.build(query.shape, value.shape, key.shape)
    pairs = parity_attention.attention_pairs(ours, theirs)
    for mine, other in pairs:
        other.assign(mine)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    mask, padding = random.random([2, 3, 4]) < 0.6, random.random([2, 4]) < 0.6
    # Where a position sees nothing, Keras sees everything.
    mask[..., 0] = padding[:, 0] = True
    inputs = [tf.constant(x) for x in (query, value, key)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        mine = ours(*inputs, attention_mask=mask, padding_mask=padding)
        other = theirs(*inputs, attention_mask=mask, value_mask=padding, use_causal_mask=causal)
        totals = [tf.reduce_sum(tf.sin(y)) for y in (mine, other)]
    np.testing.assert_allclose(mine, other, rtol=0, atol=1e-12 * (1 + np.abs(other).max()))
    found = tape.gradient(totals[0], [*inputs, *(pair[0] for pair in pairs)])
    expected = tape.gradient(totals[1], [*inputs, *(pair[1].value for pair in pairs)])
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-11 * (1 + np.abs(two).max()))


def test_kernels_start_as_the_matrices_that_they_are():
    layer = Attention(64, 8, 16)
    # Glorot and Bengio 2010, equation 16, for 64 to 8·16 and back.
    limit = math.sqrt(6 / (64 + 8 * 16))
    for dense in (layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense):
        largest = np.abs(dense.kernel.numpy()).max()
        assert 0.99 * limit < largest <= limit
        assert not np.any(dense.bias)
    matrix = Attention(6, 2, kernel_initializer="orthogonal").query_dense.kernel.numpy().reshape(6, 6)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(6), atol=1e-5)


def test_a_position_that_sees_nothing_gets_weights_of_zero_and_passes_no_gradient():
    layer, x = filled(4, 2), tf.constant(normal(2, 3, 4))
    padding = tf.constant([[True, True, False], [False, False, False]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, weights = layer(x, padding_mask=padding, return_attention_scores=True)
        total = tf.reduce_sum(tf.sin(y))
    gradient = tape.gradient(total, x).numpy()
    assert not np.any(weights[1])
    np.testing.assert_array_equal(y[1], np.broadcast_to(layer.output_dense.bias, [3, 4]))
    assert not np.any(gradient[1])
    assert np.all(np.isfinite(gradient))
    assert np.all(gradient[0])


@settings(max_examples=8)
@given(st.permutations(range(5)))
def test_self_attention_without_positions_does_not_know_the_order(order):
    layer, x = filled(4, 2), normal(2, 5, 4)
    np.testing.assert_allclose(layer(x[:, order]), layer(x).numpy()[:, order], rtol=0, atol=1e-12)
    turning = filled(4, 2, rotary=True)
    moved = order != sorted(order)
    assert np.allclose(turning(x[:, order]), turning(x).numpy()[:, order], rtol=0, atol=1e-9) != moved


@pytest.mark.parametrize("rotary", [False, True])
@given(time=st.integers(1, 4))
def test_causal_results_do_not_depend_on_what_comes_later(rotary, time):
    layer, x = filled(4, 2, causal=True, rotary=rotary), normal(2, 5, 4)
    later = np.concatenate([x[:, :time], normal(2, 5 - time, 4, seed=7)], 1)
    np.testing.assert_allclose(layer(later)[:, :time], layer(x)[:, :time], rtol=0, atol=1e-12)
    np.testing.assert_allclose(layer(x[:, :time]), layer(x)[:, :time], rtol=0, atol=1e-12)
    assert np.all(np.abs(layer(later)[:, time:] - layer(x)[:, time:]).max(-1) > 1e-6)


@settings(max_examples=10)
@given(kept=st.lists(st.integers(0, 4), min_size=1, unique=True).map(sorted))
def test_a_padding_mask_is_the_absence_of_the_padded_positions(kept):
    layer, x = filled(4, 2, num_key_value_heads=1), normal(2, 5, 4)
    padding = np.isin(np.arange(5), kept)[None]
    masked = layer(x, padding_mask=padding).numpy()[:, kept]
    np.testing.assert_allclose(masked, layer(x[:, kept]), rtol=0, atol=1e-12)


@given(before=st.integers(0, 3))
def test_rotary_attention_depends_only_on_how_far_apart_positions_are(before):
    layer, x = filled(4, 2, rotary=True), normal(2, 4, 4)
    shifted = np.concatenate([normal(2, before, 4, seed=3), x], 1)
    padding = np.arange(before + 4)[None] >= before
    np.testing.assert_allclose(layer(shifted, padding_mask=padding)[:, before:], layer(x), rtol=0, atol=1e-12)


def test_a_batch_is_its_examples_one_after_the_other():
    layer, x, value = filled(4, 2, causal=True), normal(3, 5, 4), normal(3, 6, 4, seed=1)
    singles = [layer(x[i : i + 1], value[i : i + 1]) for i in range(3)]
    np.testing.assert_allclose(tf.concat(singles, 0), layer(x, value), rtol=0, atol=1e-12)


def test_graphs_of_unknown_batch_and_time_and_xla_compute_the_same():
    layer = filled(4, 4, 2, num_key_value_heads=2, value_features=3, value_dim=3, causal=True, rotary=True)

    def run(query, value, mask, padding):
        return layer(query, value, attention_mask=mask, padding_mask=padding, return_attention_scores=True)

    signature = [
        tf.TensorSpec([None, None, 4], tf.float64), tf.TensorSpec([None, None, 3], tf.float64),
        tf.TensorSpec([None, None, None], tf.bool), tf.TensorSpec([None, None], tf.bool),
    ]  # fmt: skip
    graph, xla = tf.function(run, input_signature=signature), tf.function(run, jit_compile=True)
    assert graph.get_concrete_function().output_shapes == ([None, None, 4], [None, 4, None, None])
    for batch, time, key_time in [(2, 3, 5), (1, 4, 1)]:
        random = np.random.default_rng(time)
        inputs = (
            normal(batch, time, 4), normal(batch, key_time, 3),
            random.random([batch, time, key_time]) < 0.7, random.random([batch, key_time]) < 0.7,
        )  # fmt: skip
        eager = run(*inputs)
        for compiled in (graph, xla) if time == 3 else (graph,):
            for found, expected in zip(compiled(*map(tf.constant, inputs)), eager, strict=True):
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_softmax_is_taken_in_float32_where_the_input_is_narrower():
    layer = filled(4, 2, dtype="float32")
    x = tf.constant(normal(1, 64, 4), tf.bfloat16)
    y, weights = layer(x, return_attention_scores=True)
    assert (y.dtype, weights.dtype) == (tf.bfloat16, tf.float32)
    # In bfloat16 a sum of 64 weights would be off by about 2^-8.
    np.testing.assert_allclose(tf.reduce_sum(weights, -1), 1, rtol=0, atol=1e-5)


def test_a_product_that_overflows_where_nothing_is_looked_at_does_not_matter():
    layer = filled(4, 1, dtype="float16")
    for dense in (layer.query_dense, layer.key_dense):
        dense.kernel.assign(tf.reshape(tf.eye(4, dtype=tf.float16), dense.kernel.shape))
    query, value = tf.fill([1, 1, 4], tf.constant(300, tf.float16)), tf.constant([[[1] * 4, [300] * 4]], tf.float16)
    assert np.all(np.isinf(tf.matmul(query, value, transpose_b=True)[0, 0, 1:]))
    y, weights = layer(query, value, padding_mask=tf.constant([[True, False]]), return_attention_scores=True)
    assert weights.numpy().ravel().tolist() == [1, 0]
    np.testing.assert_array_equal(y, layer(query, value[:, :1]))


@given(cut=st.integers(1, 5), shape=st.sampled_from([(3, 3), (2, 5)]))
@settings(max_examples=10)
def test_dropout_does_not_depend_on_how_the_batch_is_cut(cut, shape):
    layer = filled(4, 2, dropout=0.4)
    query, value = normal(6, shape[0], 4), normal(6, shape[1], 4, seed=1)

    def run(rows, first_row):
        return layer(query[rows], value[rows], training=engine.StepContext(3, 5, first_row))

    whole = run(slice(None), 0)
    parts = [run(slice(cut), 0), run(slice(cut, None), cut)]
    np.testing.assert_allclose(tf.concat([part for part in parts if len(part)], 0), whole, rtol=0, atol=1e-12)
    assert np.any(whole != layer(query, value))


def test_dropout_drops_weights_after_they_are_returned():
    layer, x = filled(4, 2, dropout=0.4), normal(2, 3, 4)
    y, weights = layer(x, return_attention_scores=True, training=engine.StepContext(3, 5))
    np.testing.assert_array_equal(weights, layer(x, return_attention_scores=True)[1])
    keep = engine.StepContext(3, 5).uniform([2, 2, 3, 3]).numpy() >= 0.4
    values = np.einsum("btf,fhd->bhtd", x, layer.value_dense.kernel) + layer.value_dense.bias.numpy()[:, None]
    expected = np.einsum("bhqk,bhkd,hdf->bqf", weights * keep / 0.6, values, layer.output_dense.kernel)
    np.testing.assert_allclose(y, expected + layer.output_dense.bias.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Attention(0, 1), r"MultiHeadAttention\(0, 1\): features must be a positive integer, found 0"),
        (lambda: Attention(4, 0), "num_heads must be a positive integer, found 0"),
        (lambda: Attention(4, 3), "num_heads must divide features, or key_dim be given, found 3"),
        (lambda: Attention(4, 2, 0), "key_dim must be a positive integer, found 0"),
        (lambda: Attention(4, 2, value_dim=1.5), "value_dim must be a positive integer, found 1.5"),
        (lambda: Attention(4, 4, num_key_value_heads=3), "num_key_value_heads must divide num_heads, found 3"),
        (lambda: Attention(4, 2, value_features=-1), "value_features must be a positive integer, found -1"),
        (lambda: Attention(4, 2, 3, rotary=True), "key_dim must be even for rotary positions, found 3"),
        (lambda: Attention(4, 2, dropout=1.0), r"MultiHeadAttention\(.*: dropout must lie in \[0, 1\), found 1.0"),
        (lambda: Attention(4, 2).cache(0, 3), "batch_size must be a positive integer, found 0"),
        (lambda: Attention(4, 2).cache(2, 0), "max_length must be a positive integer, found 0"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_at_construction(build, message):
    with pytest.raises(ValueError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


X = tf.zeros([2, 3, 4])


@pytest.mark.parametrize(
    ("options", "call", "kind", "message"),
    [
        ({}, lambda f: f(tf.zeros([2, 4])), ValueError, r"expects an input of rank 3, found \[2, 4\]"),
        ({}, lambda f: f(tf.zeros([2, 3, 5])), ValueError, r"Attention\(4, 2\) expects a last dim.* 4, found 5"),
        ({}, lambda f: f(X, tf.zeros([2, 3, 5])), ValueError, r"a value \[batch, time, 4\], found \(2, 3, 5\)"),
        ({}, lambda f: f(X, X, tf.zeros([2, 3])), ValueError, r"a key \[batch, time, 4\], found \(2, 3\)"),
        ({}, lambda f: f(X, X, tf.zeros([2, 5, 4])), ValueError, "key must be as long as value"),
        ({}, lambda f: f(X, X[:1]), ValueError, "value must be of as many examples as query, found 1"),
        ({}, lambda f: f(X, tf.zeros([2, 3, 4], tf.int32)), TypeError, "with floats, found a value of int32"),
        ({}, lambda f: f(X, tf.zeros([2, 3, 4], tf.float64)), TypeError, "value must be float32 .* found float64"),
        ({"value_features": 3}, lambda f: f(X), ValueError, "needs a value of 3 features"),
        ({}, lambda f: f(X, padding_mask=tf.ones([2, 3])), TypeError, "padding_mask must be bool, .* found float32"),
        ({}, lambda f: f(X, padding_mask=[[True] * 4] * 2), ValueError,
         r"padding_mask must be of rank 2 and broadcast to \[2, 3\], found \(2, 4\)"),
        ({}, lambda f: f(X, padding_mask=[True] * 3), ValueError, "padding_mask must be of rank 2"),
        ({}, lambda f: f(X, attention_mask=[True] * 3), ValueError, "attention_mask must be of rank 2 or 3 or 4"),
        ({}, lambda f: f(X, attention_mask=tf.ones([3, 3, 3], tf.bool)), ValueError,
         r"attention_mask must be .* broadcast to \[2, 3, 3\], found \(3, 3, 3\)"),
        ({}, lambda f: f(X, attention_mask=tf.ones([3, 2], tf.bool)), ValueError, r"to \[3, 3\], found \(3, 2\)"),
        ({}, lambda f: f(X, cache=f.cache(2, 5)), ValueError, "a cache needs causal=True"),
        ({"causal": True}, lambda f: f(X, X, cache=f.cache(2, 5)), ValueError, "leave out value and key"),
        ({"causal": True}, lambda f: f(X, cache=f.cache(3, 5)), ValueError, "the cache is of batch size 3 and float32"),
        ({"causal": True}, lambda f: f(X, cache=f.cache(2, 5, "float16")), ValueError, "cache is of .* 2 and float16"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(options, call, kind, message):
    layer = Attention(4, 2, **options)
    with pytest.raises(kind, match=message) as caught:
        call(layer)
    assert "\n" not in str(caught.value)
    with pytest.raises(kind, match=message):
        tf.function(lambda: call(layer), autograph=False)()
