"""Connectionist temporal classification beside the sum over every alignment there is."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import losses

TIME, CLASSES = 4, 3


def collapsed(path):
    return [label for label, _ in itertools.groupby(path) if label]


def by_all_alignments(labels, logits):
    logs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    paths = itertools.product(range(CLASSES), repeat=len(logits))
    scores = [sum(logs[t, k] for t, k in enumerate(path)) for path in paths if collapsed(path) == labels]
    return -np.logaddexp.reduce(scores) if scores else np.inf


sequences = st.lists(st.integers(1, CLASSES - 1), max_size=TIME + 1)


@settings(max_examples=10)
@given(
    rows=st.lists(st.tuples(sequences, st.integers(0, TIME)), min_size=3, max_size=3),
    whole=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_loss_is_the_sum_over_all_alignments(rows, whole, seed):
    logits = np.random.default_rng(seed).normal(size=(3, TIME, CLASSES))
    padded = np.array([labels + [0] * (TIME + 1 - len(labels)) for labels, _ in rows])
    frames = [TIME if whole else count for _, count in rows]
    found = losses.ctc(padded if whole else {"labels": padded, "frames": frames}, logits)
    expected = [by_all_alignments(row[0], z[:count]) for row, z, count in zip(rows, logits, frames, strict=True)]
    # TensorFlow computes in float32.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_gaps_between_labels_and_impossible_frames_are_no_numbers():
    logits = np.zeros((3, TIME, CLASSES))
    labels = {"labels": np.array([[1, 0, 2], [1, 2, 0], [1, 2, 0]]), "frames": np.array([4, 5, -1])}
    assert np.isnan(losses.ctc(labels, logits)).all()


@pytest.mark.parametrize(
    ("labels", "shape", "message"),
    [
        (np.zeros((2, 3)), (2, 4, 3), r"labels must be integers \[batch, length\], found float64 \(2, 3\)"),
        (np.zeros(2, int), (2, 4, 3), r"labels must be integers \[batch, length\], found int64 \(2,\)"),
        (np.zeros((2, 3), int), (2, 4), r"outputs must be \[batch, time, classes\], found shape \(2, 4\)"),
        ({"labels": np.zeros((2, 3), int)}, (2, 4, 3), r"a dict of labels and frames, found \['labels'\]"),
    ],
)
def test_wrong_arguments_are_refused_by_name(labels, shape, message):
    with pytest.raises(ValueError, match="^ctc: .*" + message):
        losses.ctc(labels, np.zeros(shape))
