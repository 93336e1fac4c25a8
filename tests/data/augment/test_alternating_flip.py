"""Two epochs show each image both ways, wherever they are read from."""

import numpy as np
import pytest
import tensorflow as tf
from augment_parts import noise
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import data
from data import augment
from data.draws import Draws

EXAMPLES = 23
SOURCE = data.Arrays(noise([EXAMPLES, 3, 4, 2]), np.arange(EXAMPLES, dtype=np.int32))


def flips(epoch, seed=0, count=EXAMPLES, batch_size=5, shard=None):
    """Of each example, by its number, whether the pipeline's epoch mirrors it."""
    pipeline = data.Pipeline(SOURCE, batch_size, augment=augment.alternating_flip())
    found = {}
    for batch in pipeline.training(seed, epoch, shard=shard).take(pipeline.steps_per_epoch).as_numpy_iterator():
        batch, rows = (batch[0], batch[2]) if shard else (batch, None)
        for number, image in zip(batch["labels"][:rows], batch["inputs"], strict=False):
            plain = SOURCE.arrays["inputs"][number]
            assert np.array_equal(image, plain) != np.array_equal(image, plain[:, ::-1])
            found[int(number)] = not np.array_equal(image, plain)
    return found


@settings(max_examples=3, deadline=None, phases=[Phase.generate])
@given(st.integers(0, 2**64), st.integers(0, 2**31 - 3), st.integers(1, EXAMPLES))
def test_two_epochs_show_each_image_both_ways_however_they_are_cut(seed, epoch, batch_size):
    one, two, three = (flips(epoch + e, seed, batch_size=size) for e, size in enumerate((batch_size, 7, 4)))
    assert sorted(one) == list(range(EXAMPLES))
    assert all(one[number] != two[number] for number in one)
    assert one == three


def test_each_process_mirrors_what_one_would():
    whole = flips(3)
    parts = [flips(3, shard=(number, 3)) for number in range(3)]
    assert {number: flip for part in parts for number, flip in part.items()} == whole


def test_half_of_the_images_begin_mirrored_by_a_coin_of_each_seed():
    numbers = np.arange(10_000)
    coins = [Draws(seed, 0, 0, 10_000, numbers).alternating().numpy() for seed in (0, 1, 2)]
    for coin in coins:
        # Five deviations of 10,000 coins, and of how often neighbours, and those eight apart, agree.
        assert abs(coin.sum() - 5000) < 250
        for apart in (1, 8):
            assert abs((coin[apart:] == coin[:-apart]).sum() - 5000) < 260
    assert abs((coins[0] == coins[1]).sum() - 5000) < 250
    assert abs((coins[0] == coins[2]).sum() - 5000) < 250


def test_two_draws_of_an_example_are_two_coins():
    draws = Draws(0, 0, 0, 1000, np.arange(1000))
    assert abs((draws.alternating().numpy() == draws.alternating().numpy()).sum() - 500) < 80


def test_a_stream_is_refused():
    with pytest.raises(ValueError, match="an alternating flip needs examples that have numbers, and a stream's"):
        augment.alternating_flip()({"inputs": tf.zeros([2, 3, 3, 1])}, Draws(0, 0, 0, 2))
