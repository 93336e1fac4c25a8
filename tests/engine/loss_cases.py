"""Labels, outputs and options for every loss."""

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st


def softmax(z):
    return np.exp(z - z.max(-1, keepdims=True)) / np.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True)


def sigmoid(z):
    return np.exp(-np.logaddexp(0, -z))


def indices(rng, shape):
    return rng.integers(0, shape[-1], shape[:-1])


def one_hot(rng, shape):
    return np.eye(shape[-1])[indices(rng, shape)]


def distributions(rng, shape):
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1])


def zeros_and_ones(rng, shape):
    return rng.integers(0, 2, shape)


def shares(rng, shape):
    return rng.random(shape)


def numbers(rng, shape):
    return rng.normal(size=shape)


def counts(rng, shape):
    return rng.poisson(2.0, shape)


def same(z):
    return z


logits, smoothed = {"from_logits": st.just(True)}, {"label_smoothing": st.sampled_from([0.0, 0.1, 0.5])}
powers = {"gamma": st.sampled_from([0.0, 1.0, 2.0, 3.5])}
# By name: labels, outputs from numbers, the largest scale of these, options of ours and of Keras'.
CASES = {
    "sparse_categorical_crossentropy": (indices, same, 100, logits),
    "categorical_crossentropy": (distributions, same, 100, logits | smoothed),
    "binary_crossentropy": (shares, same, 100, logits | smoothed),
    # Keras clips to [1e-7, 1 − 1e-7] even what it gets as logits.
    "categorical_focal_crossentropy": (
        distributions, same, 1, logits | smoothed | powers | {"alpha": st.sampled_from([0.25, 1.0])},
    ),
    "binary_focal_crossentropy": (
        shares, same, 1,
        logits | smoothed | powers | {"apply_class_balancing": st.booleans(), "alpha": st.sampled_from([0.25, 0.9])},
    ),
    "hinge": (zeros_and_ones, same, 100, {}),
    "squared_hinge": (zeros_and_ones, same, 100, {}),
    "categorical_hinge": (one_hot, same, 100, {}),
    "mean_squared_error": (numbers, same, 100, {}),
    "mean_absolute_error": (numbers, same, 100, {}),
    "mean_absolute_percentage_error": (numbers, same, 100, {}),
    "mean_squared_logarithmic_error": (counts, same, 100, {}),
    "huber": (numbers, same, 100, {"delta": st.sampled_from([0.5, 1.0, 20.0])}),
    "log_cosh": (numbers, same, 100, {}),
    "cosine_similarity": (numbers, same, 100, {}),
    "poisson": (counts, np.abs, 100, {}),
    "kl_divergence": (distributions, softmax, 3, {}),
}  # fmt: skip
PROBABILITIES = {
    "sparse_categorical_crossentropy": softmax,
    "categorical_crossentropy": softmax,
    "binary_crossentropy": sigmoid,
    "categorical_focal_crossentropy": softmax,
    "binary_focal_crossentropy": sigmoid,
}


def examples(name, dtype="float32"):
    """Labels and outputs of three rows, for any loss."""
    rng = np.random.default_rng(3)
    special = {
        "ctc": (np.array([[1, 2], [2, 0], [0, 0]]), rng.normal(size=[3, 4, 3])),
        "contrastive": (np.array([0, 1, 0]), rng.normal(size=[3, 2, 4])),
        "triplet": (None, rng.normal(size=[3, 3, 4])),
    }
    if name in special:
        labels, outputs = special[name]
    else:
        make, squash, _, _ = CASES[name]
        labels, outputs = make(rng, [3, 4]), squash(rng.normal(size=[3, 4]))
    return labels, tf.constant(outputs, dtype)
