"""Mixed examples: two pictures, two labels and two weights, in the same shares."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from augment_parts import Given, assert_rounded, noise, pictures, uniforms
from hypothesis import given, settings
from hypothesis import strategies as st

from data import augment
from data.augment.mixing import partners
from data.draws import Draws

CLASSES = 5


def batch_of(images, seed, weights=None):
    labels = np.random.default_rng(seed).integers(0, CLASSES, len(images)).astype(np.int32)
    batch = {"inputs": tf.constant(images), "labels": tf.constant(labels)}
    return batch if weights is None else {**batch, "weights": tf.constant(weights)}


def in_the_cycle(uniform):
    """Who comes after each in the order of the numbers; of equal ones the first in the batch comes first."""
    order = sorted(range(len(uniform)), key=lambda row: (uniform[row], row))
    return np.array([order[(order.index(row) + 1) % len(order)] for row in range(len(order))])


@given(uniforms(7))
def test_partners_are_a_cycle_through_the_batch(uniform):
    found = partners(tf.constant(uniform)).numpy()
    np.testing.assert_array_equal(found, in_the_cycle(uniform.tolist()))
    at, seen = 0, []
    for _ in range(7):
        seen.append(at)
        at = found[at]
    assert sorted(seen) == list(range(7))
    assert at == 0


@given(pictures(("uint8", "float16", "float32", "float64")), st.data())
def test_mixup_is_its_formula(images, draw):
    order, share = draw.draw(uniforms(len(images))), draw.draw(uniforms(len(images)))
    batch, partner = batch_of(images, 0), in_the_cycle(order.tolist())
    found = augment.mixup(0.3, CLASSES)(batch, Given(order, share))
    values, parts = np.float64(images), np.float64(share)[:, None, None, None]
    assert found["inputs"].dtype == images.dtype
    assert_rounded(found["inputs"].numpy(), parts * values + (1 - parts) * values[partner])
    rows, parts = np.eye(CLASSES)[batch["labels"]], np.float64(share)[:, None]
    assert found["labels"].dtype == tf.float32
    np.testing.assert_allclose(found["labels"], parts * rows + (1 - parts) * rows[partner], atol=1e-6)
    # Labels that are rows already are mixed the same.
    again = augment.mixup(0.3)({**batch, "labels": tf.constant(rows)}, Given(order, share))
    np.testing.assert_array_equal(again["labels"], found["labels"])


def test_mixup_is_keras():
    images, labels = noise([6, 4, 5, 3], "float32"), np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 1, 2]]
    layer = keras.layers.MixUp(0.4, seed=3)
    drawn = layer.get_random_transformation({"images": tf.constant(images), "labels": tf.constant(labels)})
    order = np.random.default_rng(0).random(6)
    drawn["permutation_order"] = tf.constant(in_the_cycle(order.tolist()))
    found = augment.mixup(0.4)(
        {"inputs": tf.constant(images), "labels": tf.constant(labels)}, Given(order, drawn["mix_weight"])
    )
    np.testing.assert_allclose(found["inputs"], layer.transform_images(images, drawn), atol=1e-6)
    np.testing.assert_allclose(found["labels"], layer.transform_labels(tf.constant(labels), drawn), atol=1e-6)


@given(pictures(("uint8", "int32", "float32")), st.data())
def test_cutmix_pastes_a_window_and_its_labels_count_pixels(images, draw):
    count, (height, width) = len(images), images.shape[1:3]
    order, share, centre = draw.draw(uniforms(count)), draw.draw(uniforms(count)), draw.draw(uniforms(count, 2))
    partner, batch = in_the_cycle(order.tolist()), batch_of(images, 1)
    found = augment.cutmix(1.0, CLASSES)(batch, Given(order, share, centre))
    rows = np.eye(CLASSES)[batch["labels"]]
    for row in range(count):
        length = np.sqrt(np.float32(1) - share[row])
        size, middle = length * np.float32([height, width]), centre[row] * np.float32([height, width])
        first = middle - size / 2
        inside = np.zeros([height, width], bool)
        for y, x in np.ndindex(height, width):
            inside[y, x] = np.all((first <= [y + 0.5, x + 0.5]) & ([y + 0.5, x + 0.5] < first + size))
        expected = np.where(inside[..., None], images[partner[row]], images[row])
        np.testing.assert_array_equal(found["inputs"][row], expected)
        part = inside.mean()
        np.testing.assert_allclose(found["labels"][row], (1 - part) * rows[row] + part * rows[partner[row]], atol=1e-6)


@settings(max_examples=10)
@pytest.mark.parametrize("make", [augment.mixup, augment.cutmix])
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=6, max_size=6), st.integers(0, 99))
def test_a_loss_that_is_linear_in_the_label_is_the_mean_of_both_losses_under_their_weights(make, weights, seed):
    images = noise([6, 4, 4, 1], "float32", seed)
    plain = make(1.0, CLASSES)(batch_of(images, seed), Draws(seed, 0, 0, 6))
    batch = batch_of(images, seed, np.float32(weights))
    found = make(1.0, CLASSES)(batch, Draws(seed, 0, 0, 6))
    np.testing.assert_array_equal(found["inputs"], plain["inputs"])
    partner = in_the_cycle(Draws(seed, 0, 0, 6).uniform().numpy().tolist())
    logs = np.random.default_rng(seed).normal(size=[6, CLASSES])
    rows = np.eye(CLASSES)[batch["labels"]]
    own, other, weights = np.sum(rows * logs, 1), np.sum(rows[partner] * logs, 1), np.array(weights)
    # Where both have one label, the shares cannot be seen in it; any will do.
    share = np.sum(plain["labels"].numpy() * rows, 1)
    share = np.where(batch["labels"].numpy() == batch["labels"].numpy()[partner], np.nan, share)
    expected = share * weights * own + (1 - share) * weights[partner] * other
    mixed = found["weights"].numpy() * np.sum(found["labels"].numpy() * logs, 1)
    np.testing.assert_allclose(mixed[~np.isnan(share)], expected[~np.isnan(share)], atol=1e-5)
    np.testing.assert_allclose(np.sum(found["labels"], 1), 1, atol=1e-6)
    alike = np.isnan(share) & (weights == weights[partner])
    np.testing.assert_allclose(found["weights"].numpy()[alike], weights[alike], atol=1e-6)


@pytest.mark.parametrize("make", [augment.mixup, augment.cutmix])
def test_no_strength_mixes_nothing_and_one_example_is_its_own_partner(make):
    for images in (noise([5, 6, 7, 3]), noise([1, 6, 7, 3], "float32")):
        alpha = 0 if len(images) > 1 else 1
        batch = batch_of(images, 0)
        found = make(alpha, CLASSES)(batch, Draws(0, 0, 0, len(images)))
        np.testing.assert_allclose(found["inputs"], images, atol=1e-7)
        np.testing.assert_allclose(found["labels"], np.eye(CLASSES)[batch["labels"]], atol=1e-6)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 4.0])
def test_shares_are_of_the_beta_distribution(alpha):
    found = Draws(0, 0, 0, 20_000).beta(alpha).numpy()
    assert found.dtype == np.float32
    # Apart from the tails, where float32 has no room: what is within 6e-8 of 1 is 1.
    inner = np.float64(found[(found > 1e-3) & (found < 1 - 1e-3)])
    cdf = scipy.stats.beta(alpha, alpha).cdf
    low, high = cdf(1e-3), cdf(1 - 1e-3)
    assert scipy.stats.kstest(inner, lambda x: (cdf(x) - low) / (high - low)).pvalue > 1e-4
    for tail in (found <= 1e-3, found >= 1 - 1e-3):
        assert scipy.stats.binomtest(int(tail.sum()), len(found), low).pvalue > 1e-4


def test_they_say_that_they_need_the_whole_batch_and_so_does_what_they_are_part_of():
    for make in (augment.mixup, augment.cutmix):
        for function in (make(1.0), augment.compose(augment.flip_left_right(), make(1.0))):
            assert function.whole_batch
            assert function.soft_labels
    assert not augment.compose(augment.flip_left_right(), augment.random_crop(1)).whole_batch


@pytest.mark.parametrize(
    ("batch", "classes", "reason"),
    [
        ({}, 3, "mixup: there are no labels to mix"),
        ({"labels": tf.constant([1, 2])}, None, "mixup: class numbers need classes=…"),
        ({"labels": tf.zeros([2, 4])}, 3, r"float labels must have shape \[batch, 3\], found \(2, 4\)"),
    ],
)
def test_labels_that_cannot_be_mixed_are_refused(batch, classes, reason):
    with pytest.raises(ValueError, match=reason):
        augment.mixup(0.2, classes)({"inputs": tf.zeros([2, 3, 3, 1]), **batch}, Draws(0, 0, 0, 2))
