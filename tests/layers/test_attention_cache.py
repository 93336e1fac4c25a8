import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import layers


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def filled(*sizes, **options):
    layer = layers.MultiHeadAttention(*sizes, **{"dtype": "float64", **options})
    for number, variable in enumerate(layer.variables):
        variable.assign(normal(*variable.shape, seed=number))
    return layer


@settings(max_examples=10)
@given(st.data())
def test_decoding_with_a_cache_is_one_pass_over_the_whole(data):
    draw = data.draw
    heads, keys = draw(st.sampled_from([(2, None), (4, 2), (2, 1)]))
    layer = filled(4, heads, 2, value_dim=3, num_key_value_heads=keys, causal=True, rotary=draw(st.booleans()))
    pieces = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    time = sum(pieces)
    x, longest = normal(2, time, 4), time + draw(st.integers(0, 2))
    padding = np.random.default_rng(time).random([2, longest]) < 0.8 if draw(st.booleans()) else None
    whole = layer(x, padding_mask=None if padding is None else padding[:, :time])
    cache, found, start = layer.cache(2, longest), [], 0
    for piece in pieces:
        y, cache = layer(x[:, start : start + piece], cache=cache, padding_mask=padding)
        found.append(y)
        start += piece
        assert int(cache.length) == start
        assert cache.memory.keys.shape == [2, layer.num_key_value_heads, longest, 2]
    np.testing.assert_allclose(tf.concat(found, 1), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_step_of_decoding_is_compiled_once_and_is_loud_at_the_end_of_the_cache(jit_compile):
    layer, x = filled(4, 2, causal=True, rotary=True), normal(2, 5, 4)
    step = tf.function(lambda x, cache: layer(x, cache=cache), jit_compile=jit_compile)
    cache, found = layer.cache(2, 5), []
    for time in range(5):
        y, cache = step(tf.constant(x[:, time : time + 1]), cache)
        found.append(y)
    np.testing.assert_allclose(tf.concat(found, 1), layer(x), rtol=0, atol=1e-12)
    message = r"MultiHeadAttention\(.*\): positions must lie in \[0, 5\) for this cache, found 5 to 5"
    with pytest.raises(ValueError, match=message):
        layer(x[:, :1], cache=cache)
    if jit_compile:
        assert np.all(np.isnan(step(tf.constant(x[:, :1]), cache)[0]))
    else:
        with pytest.raises(tf.errors.InvalidArgumentError, match="positions must lie in"):
            step(tf.constant(x[:, :1]), cache)
    assert step.experimental_get_tracing_count() == 1


def test_a_cache_is_a_function_of_its_past_and_gradients_pass_through_it():
    layer, x = filled(4, 2, causal=True), tf.constant(normal(2, 4, 4))
    empty = layer.cache(2, 4)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        whole = tf.reduce_sum(tf.sin(layer(x)))
        first, cache = layer(x[:, :3], cache=empty)
        last, _ = layer(x[:, 3:], cache=cache)
        pieces = tf.reduce_sum(tf.sin(tf.concat([first, last], 1)))
    expected, found = tape.gradient(whole, x), tape.gradient(pieces, x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert int(empty.length) == 0
    assert not np.any(empty.memory.keys)


def test_a_memory_is_projected_once():
    layer = filled(4, 2, value_features=3, num_key_value_heads=1)
    x, value, key = normal(2, 3, 4), normal(2, 5, 3, seed=1), normal(2, 5, 3, seed=2)
    np.testing.assert_array_equal(layer(x, layer.remember(value)), layer(x, value))
    np.testing.assert_array_equal(layer(x, layer.remember(value, key)), layer(x, value, key))
