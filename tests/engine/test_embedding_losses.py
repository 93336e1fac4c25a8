"""Losses of pairs and triplets beside their definitions, and which way they pull."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from engine import losses

seeds, margins = st.integers(0, 1000), st.sampled_from([0.1, 1.0, 3.0])


@given(seed=seeds, margin=margins, rows=st.integers(1, 5))
def test_contrastive_is_its_definition(seed, margin, rows):
    rng = np.random.default_rng(seed)
    a, b, labels = rng.normal(size=(rows, 3)), rng.normal(size=(rows, 3)), rng.integers(0, 2, rows)
    expected = [
        0.5 * np.linalg.norm(x - y) ** 2 if alike else 0.5 * max(margin - np.linalg.norm(x - y), 0) ** 2
        for x, y, alike in zip(a, b, labels, strict=True)
    ]
    found = losses.contrastive(labels, np.stack([a, b], axis=1), margin=margin)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(losses.contrastive(labels[:, np.newaxis], (a, b), margin=margin), found)


@given(seed=seeds, margin=margins, rows=st.integers(1, 5))
def test_triplet_is_its_definition(seed, margin, rows):
    a, p, n = np.random.default_rng(seed).normal(size=(3, rows, 4))
    expected = [max(((x - y) ** 2).sum() - ((x - z) ** 2).sum() + margin, 0) for x, y, z in zip(a, p, n, strict=True)]
    found = losses.triplet(None, np.stack([a, p, n], axis=1), margin=margin)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(losses.triplet(None, (a, p, n), margin=margin), found)


def test_equal_embeddings_have_a_finite_gradient():
    outputs = tf.ones([2, 2, 3])
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        found = losses.contrastive([0, 1], outputs)
    np.testing.assert_allclose(found, [0.5, 0])
    np.testing.assert_array_equal(tape.gradient(found, outputs), np.zeros([2, 2, 3]))


def test_what_belongs_together_is_pulled_and_the_rest_pushed():
    outputs = tf.constant([[[0.0], [0.5]]])
    for label, sign in ((1, 1), (0, -1)):
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            found = losses.contrastive([label], outputs)
        # Against the gradient the second embedding moves to the first, or away from it.
        assert np.sign(tape.gradient(found, outputs)[0, 1, 0]) == sign


@pytest.mark.parametrize("name", ["contrastive", "triplet"])
def test_wrong_arguments_are_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"^{name}: margin must be above 0, found 0$"):
        losses.get(name)([0], np.zeros((1, 3, 2)), margin=0)
    with pytest.raises(ValueError, match=rf"^{name}: outputs must be \[batch, ., features\], found shape \(1, 4, 2\)$"):
        losses.get(name)([0], np.zeros((1, 4, 2)))


def test_labels_of_pairs_are_one_a_pair():
    with pytest.raises(ValueError, match=r"^contrastive: labels must be \[batch\], found shape \(1, 3\)$"):
        losses.contrastive([[0, 1, 1]], np.zeros((1, 2, 2)))
