"""An example's random numbers depend on where it stands, and on nothing else."""

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from data.draws import Draws, philox_key

shapes = st.lists(st.integers(1, 7), max_size=3)


@given(st.integers(1, 40), st.data(), shapes, st.integers(-(2**63), 2**64), st.integers(0, 2**31 - 1))
def test_rows_of_a_batch_are_the_rows_of_the_whole_epoch(length, draw, shape, seed, epoch):
    first = draw.draw(st.integers(0, length - 1))
    rows = draw.draw(st.integers(1, length - first))
    whole, batch = Draws(seed, epoch, 0, length), Draws(seed, epoch, first, rows)
    for _ in range(2):
        np.testing.assert_array_equal(batch.uniform(*shape), whole.uniform(*shape)[first : first + rows])
        np.testing.assert_array_equal(batch.beta(0.3), whole.beta(0.3)[first : first + rows])


def test_a_graph_draws_the_same_numbers():
    traced = tf.function(lambda position, rows: Draws(3, 5, position, rows).uniform(2, 3))
    position, rows = tf.constant(11, tf.int64), tf.constant(4, tf.int64)
    np.testing.assert_array_equal(traced(position, rows), Draws(3, 5, 11, 4).uniform(2, 3))


def test_sizes_that_are_known_when_it_runs_draw_as_those_that_are_known_before():
    for shape in ((7,), (2, 5)):
        known, tensors = Draws(3, 5, 11, 4), [tf.constant(size, tf.int64) for size in shape]
        np.testing.assert_array_equal(Draws(3, 5, 11, 4).uniform(*tensors), known.uniform(*shape))


def test_no_two_seeds_epochs_rows_or_draws_share_their_numbers():
    found = []
    for seed in (0, 1, 2**32):
        for epoch in (0, 1, 2**16, 2**30):
            draws = Draws(seed, epoch, 0, 50)
            found += [draws.uniform(5), draws.uniform(5)]
    # 6,000 numbers of 23 bits: two rows of five equal with probability 1e-30.
    rows = np.concatenate(found)
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_numbers_are_uniform_in_the_half_open_unit_interval():
    numbers = Draws(0, 0, 0, 10_000).uniform(10).numpy()
    assert numbers.dtype == np.float32
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts, _ = np.histogram(numbers, bins=100, range=(0, 1))
    # Chi-squared with 99 degrees of freedom; five standard deviations above its mean.
    assert np.sum((counts - 1000) ** 2 / 1000) < 99 + 5 * np.sqrt(2 * 99)


def test_keys_of_one_seed_differ_by_purpose_and_never_change():
    assert philox_key(0, "order") != philox_key(0, "augment")
    # The first 8 bytes of `printf augment:0 | sha256sum`, little-endian: saved runs depend on it.
    assert philox_key(0, "augment").tolist() == [6306992680279747782]
