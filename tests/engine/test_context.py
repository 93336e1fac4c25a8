"""The step context's randomness: one stream per (seed, step, draw), read by rows."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import engine


@pytest.fixture(scope="module", params=[False, True], ids=["graph", "xla"])
def rows_of(request):
    @tf.function(jit_compile=request.param, reduce_retracing=False)
    def rows_of(seed, step, first, rows, values, draw):
        context = engine.StepContext(seed, step, first)
        context.draws = draw
        return context.uniform([rows, values])

    return rows_of


@given(
    seed=st.integers(-(2**63), 2**63 - 1),
    step=st.integers(0, 2**40),
    cut=st.integers(0, 16),
    values=st.sampled_from([1, 4, 6]),
)
def test_rows_of_a_slice_are_those_of_the_whole_batch(rows_of, seed, step, cut, values):
    def draw(first, rows):
        return rows_of(tf.constant(seed, tf.int64), tf.constant(step, tf.int64), tf.constant(first), rows, values, 0)

    whole = draw(0, 17).numpy()
    np.testing.assert_array_equal(draw(cut, 1).numpy(), whole[cut : cut + 1])
    assert whole.dtype == np.float32
    assert (whole >= 0).all()
    assert (whole < 1).all()


def test_seed_step_and_draw_each_make_another_stream():
    def draw(seed=1, step=2, number=3):
        context = engine.StepContext(seed, step)
        context.draws = number
        return tuple(context.uniform([4, 4]).numpy().ravel())

    assert len({draw(), draw(seed=2), draw(step=3), draw(number=4), draw(step=1), draw(number=2)}) == 6
    assert draw() == draw()


def test_further_dimensions_may_be_known_only_in_the_graph():
    @tf.function(input_signature=[tf.TensorSpec([None, None, 3])])
    def draw(x):
        return engine.StepContext(0, 0).uniform([tf.shape(x)[0], tf.shape(x)[1], 3])

    whole = draw(tf.zeros([5, 7, 3]))
    assert whole.shape == (5, 7, 3)
    np.testing.assert_array_equal(whole, engine.StepContext(0, 0).uniform([5, 7, 3]))


def test_values_are_uniform():
    """Kolmogorov's distance of 40,000 values stays under 1.95/√n, which chance exceeds once in a thousand."""
    values = np.sort(engine.StepContext(5, 6).uniform([400, 100]).numpy().ravel())
    distance = np.abs(values - (np.arange(values.size) + 0.5) / values.size).max()
    assert distance < 1.95 / np.sqrt(values.size)


def test_it_is_truthy_and_counts_its_draws():
    context = engine.StepContext(0, 0)
    assert context
    context.uniform([1, 1])
    context.uniform([1, 1])
    assert context.draws == 2
