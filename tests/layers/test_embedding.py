import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
import layers

small = st.integers(1, 5)


def filled(seed=0, **options):
    layer = layers.Embedding(5, 3, **options)
    layer.embeddings.assign(np.random.default_rng(seed).normal(size=[5, 3]))
    return layer


@settings(max_examples=10)
@given(rows=small, size=small, shape=st.lists(small, max_size=3), ids=st.sampled_from(["int32", "int64", "uint8"]))
def test_vectors_and_their_gradients_are_those_of_keras(rows, size, shape, ids):
    ours, theirs = layers.Embedding(rows, size, dtype="float64"), keras.layers.Embedding(rows, size, dtype="float64")
    theirs.build(None)
    theirs.embeddings.assign(ours.embeddings)
    x = np.random.default_rng(rows).integers(0, rows, shape).astype(ids)
    with tf.GradientTape(persistent=True) as tape:
        y, other = ours(x), theirs(x)
        totals = [tf.reduce_sum(tf.sin(each)) for each in (y, other)]
    np.testing.assert_array_equal(y, other)
    mine, other = tape.gradient(totals[0], ours.embeddings), tape.gradient(totals[1], theirs.embeddings.value)
    assert isinstance(mine, tf.IndexedSlices)
    np.testing.assert_allclose(tf.convert_to_tensor(mine), tf.convert_to_tensor(other), rtol=0, atol=1e-12)


def test_vectors_start_as_those_of_keras_do():
    draws = layers.Embedding(200, 50).embeddings.numpy()
    # 10,000 uniform numbers come within 1e-4 of both ends, and six standard deviations of the mean are 0.0018.
    assert -0.05 <= draws.min() < -0.0499 < 0.0499 < draws.max() <= 0.05
    assert abs(draws.mean()) < 0.0018


@pytest.mark.parametrize("compute", [None, "bfloat16", "float64"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_gradient_is_of_rows_in_the_variables_dtype_whatever_is_computed_in(compute, jit_compile):
    layer, ids = filled(compute_dtype=compute), tf.constant([[1, 4], [4, 4]])

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)] if not jit_compile else None,
                 jit_compile=jit_compile)  # fmt: skip
    def step(ids):
        with tf.GradientTape() as tape:
            y = layer(ids)
            total = tf.reduce_sum(y)
        gradient = tape.gradient(total, layer.embeddings)
        assert isinstance(gradient, tf.IndexedSlices)
        return y, gradient

    y, gradient = step(ids)
    assert y.dtype == (compute or "float32")
    assert gradient.values.dtype == "float32"
    np.testing.assert_array_equal(y, tf.cast(tf.gather(layer.embeddings, ids), y.dtype))
    np.testing.assert_array_equal(tf.convert_to_tensor(gradient)[:, 0], [0, 1, 0, 0, 3])


@pytest.mark.parametrize("outside", [-1, 5, 2**31 - 1, -(2**31)])
def test_an_index_outside_the_vocabulary_is_an_error_and_nan_under_xla(outside):
    layer, ids = filled(), tf.constant([[1, outside], [4, 0]])
    expected = r"Embedding\(5, 3\): ids must lie in \[0, 5\), found"
    with pytest.raises(ValueError, match=expected) as caught:
        layer(ids)
    assert "\n" not in str(caught.value)
    assert str(outside) in str(caught.value)
    with pytest.raises(tf.errors.InvalidArgumentError, match=expected):
        tf.function(layer)(ids)
    y = tf.function(layer, jit_compile=True)(ids).numpy()
    np.testing.assert_array_equal(np.isnan(y), [[[False] * 3, [True] * 3], [[False] * 3, [False] * 3]])
    np.testing.assert_array_equal(y[1], tf.gather(layer.embeddings, [4, 0]))


def test_it_is_an_error_inside_a_compiled_loop_too():
    layer = filled()

    @tf.function
    def loop(ids):
        total = 0.0
        for row in ids:
            total += tf.reduce_sum(layer(row))
        return total

    assert np.isfinite(loop(tf.constant([[1, 2], [4, 0]])))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Embedding\(5, 3\): ids must lie"):
        loop(tf.constant([[1, 2], [4, 5]]))


def test_a_large_index_is_not_cut_to_a_small_one():
    with pytest.raises(ValueError, match=r"Embedding\(5, 3\): ids must lie"):
        filled()(tf.constant([2**32 + 1], tf.uint64))


def test_the_mask_is_false_at_zero_and_there_is_none_without():
    ids = [[3, 0, 0], [0, 1, 2]]
    mask = layers.Embedding(5, 3, mask_zero=True).compute_mask(ids)
    np.testing.assert_array_equal(mask, [[True, False, False], [False, True, True]])
    assert layers.Embedding(5, 3).compute_mask(ids) is None


def test_no_ids_are_looked_up_to_no_vectors():
    assert filled()(tf.zeros([0, 4], tf.int32)).shape == [0, 4, 3]


def test_a_cast_model_looks_up_in_its_dtype():
    assert engine.cast(filled(), "float64")(tf.constant([1])).dtype == "float64"


def test_a_stack_that_begins_with_it_is_sized_by_chain():
    words = layers.Embedding(9, 4)
    model = layers.chain((None,), words, layers.SinusoidalPositions, layers.Dense(4, 2), dtype="int32")
    assert model(tf.constant([[1, 2, 8]])).shape == [1, 3, 2]
    assert model.last_dimension(17) == 2
    with pytest.raises(ValueError, match=r"layer 1 Dense\(5, 2\) cannot take \[..., 4\] from layer 0 Embedding"):
        layers.Sequential([words, layers.Dense(5, 2)])


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda: layers.Embedding(0, 3), ValueError, r"Embedding\(0, 3\): input_dim must be a positive"),
        (lambda: layers.Embedding(5, 2.5), ValueError, "output_dim must be a positive integer, found 2.5"),
        (lambda: layers.Embedding(5, 3, compute_dtype="int32"), ValueError, "compute_dtype must be a floating type"),
        (lambda: filled()(tf.zeros([2])), TypeError, r"Embedding\(5, 3\) looks up integers, found ids of float32"),
        (lambda: filled()(tf.constant([True])), TypeError, "found ids of bool"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(build, kind, message):
    with pytest.raises(kind, match=message):
        build()
