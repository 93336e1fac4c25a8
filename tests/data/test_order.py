"""An epoch's order is a permutation that is uniform, reproducible, and never the same twice."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from data import order
from data.order import shuffled

epochs = st.integers(0, 2**40)
seeds = st.integers(-(2**63), 2**64)
# Short orders are sorted, longer ones enciphered: the border, and both sides of it.
lengths = st.one_of(st.integers(1, 2000), st.sampled_from([1023, 1024, 1025, 1026, 60_000]))


@given(lengths, seeds, epochs)
def test_every_order_is_a_permutation(length, seed, epoch):
    found = shuffled(range(length), length, seed, epoch)
    assert found.dtype == tf.int64
    np.testing.assert_array_equal(np.sort(found), np.arange(length))


@given(st.one_of(lengths, st.integers(1, 2**50)), seeds, epochs, st.data())
def test_a_position_has_the_same_example_whoever_asks(length, seed, epoch, draw):
    positions = draw.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=10))
    together = shuffled(positions, length, seed, epoch).numpy()
    alone = [shuffled([position], length, seed, epoch).numpy()[0] for position in positions]
    np.testing.assert_array_equal(together, alone)
    assert np.all((together >= 0) & (together < length))


def orders(length, seed, epochs, positions=None):
    """The first `positions` (all) of the orders of `epochs`, int64 `[epochs, positions]`, in one graph."""

    @tf.function
    def all_orders(epochs):
        first = tf.range(positions or length, dtype=tf.int64)
        return tf.map_fn(lambda epoch: shuffled(first, length, seed, epoch), epochs, parallel_iterations=1)

    return all_orders(tf.constant(epochs, tf.int64)).numpy()


@pytest.mark.parametrize("length", [32, 1024, 50_000])
def test_a_thousand_epochs_of_several_seeds_have_different_orders(length):
    found = np.concatenate([orders(length, seed, range(1000), 32) for seed in (0, 1, 256, 2**32, -1)])
    # The chance that any two of 5,000 uniform orders agree in 32 places is at most 5000² / 32! = 1e-28.
    assert len(np.unique(found, axis=0)) == 5000
    assert not np.any(np.all(found == np.arange(32), axis=1))


def assert_uniform(counts, cells, freedom):
    expected = counts.sum() / cells
    chi_squared = np.sum((counts - expected) ** 2) / expected
    # Five standard deviations above chi-squared's mean: under one chance in 200, which is for 1 degree.
    assert chi_squared < freedom + 5 * math.sqrt(2 * freedom)


def assert_orders_uniform(length):
    cells = math.factorial(length)
    _, counts = np.unique(orders(length, 0, range(100 * cells)), axis=0, return_counts=True)
    assert len(counts) == cells
    assert_uniform(counts, cells, cells - 1)


@pytest.mark.parametrize("length", [2, 3, 4, 5])
def test_the_orders_of_a_few_examples_are_uniform(length):
    assert_orders_uniform(length)


@pytest.mark.soak
@pytest.mark.parametrize("length", [2, 3, 4, 5])
def test_enciphered_orders_of_a_few_examples_are_uniform(length, monkeypatch):
    monkeypatch.setattr(order, "_SORTED_UP_TO", 0)
    assert_orders_uniform(length)


@pytest.mark.parametrize("length", [50, 2500])
def test_every_position_sees_every_part_of_the_source_equally_often(length):
    found = orders(length, 7, range(2000), 50) // (length // 50)
    visits = np.stack([np.bincount(column, minlength=50) for column in found.T])
    assert_uniform(visits, visits.size, 49 * 50)


@pytest.mark.parametrize("length", [100, 5000])
def test_examples_that_meet_in_one_epoch_do_not_meet_in_the_next(length):
    found = orders(length, 0, range(1000), 50)
    # Two different numbers below n are neighbours with probability 2 / n.
    expected = 1000 * 49 * 2 / length
    assert abs(np.sum(np.abs(np.diff(found, axis=1)) == 1) - expected) < 5 * math.sqrt(expected)


def test_a_seed_must_be_an_integer():
    with pytest.raises(TypeError, match="integer"):
        shuffled([0], 1, seed=0.5, epoch=0)
