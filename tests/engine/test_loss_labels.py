"""Labels that mean nothing, and arguments that do not fit."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from loss_cases import CASES, examples

import engine
from engine import losses

# A label that means nothing, in the second of the three rows of `examples`.
ILLEGAL = {
    "sparse_categorical_crossentropy": (-1, 4),
    "categorical_crossentropy": (-1.0,),
    "binary_crossentropy": (-1.0, 2.0),
    "categorical_focal_crossentropy": (-1.0,),
    "binary_focal_crossentropy": (-1.0, 2.0),
    "hinge": (0.5, 2),
    "squared_hinge": (-2, 0.5),
    "categorical_hinge": (-1.0,),
    "mean_squared_logarithmic_error": (-1, -0.5),
    "poisson": (-1,),
    "kl_divergence": (-0.1,),
    "ctc": (-1, 3),
    "contrastive": (-1, 0.5),
}


def spoiled(name, label):
    labels, outputs = examples(name)
    labels = labels.astype(type(label))
    labels[1, ...] = label
    return labels, outputs


@tf.function(jit_compile=True)
def compiled(batches):
    return {key: losses.get(key.split("/")[0])(*batch) for key, batch in batches.items()}


def test_xla_agrees_and_shows_illegal_labels_and_outputs_that_are_no_numbers_too():
    batches = {name: examples(name) for name in losses.LOSSES if name != "triplet"}
    illegal = {f"{name}/{label}": spoiled(name, label) for name, several in ILLEGAL.items() for label in several}
    lost = {f"{name}/lost": (y, tf.where([[False], [True], [False]], np.nan, z)) for name, (y, z) in batches.items()
            if z.shape.rank == 2}  # fmt: skip
    batches = tf.nest.map_structure(tf.convert_to_tensor, {**batches, **illegal, **lost})
    for key, found in compiled(batches).items():
        eager = losses.get(key.split("/")[0])(*batches[key])
        # XLA's exponentials differ in the last digits of float32.
        np.testing.assert_allclose(found, eager, rtol=2e-5, atol=1e-6, err_msg=key)
        np.testing.assert_array_equal(np.isnan(eager), [False, "/" in key, False], key)


@pytest.mark.parametrize("name", ILLEGAL)
def test_what_has_an_illegal_label_can_be_left_out_by_its_weight(name):
    labels, outputs = spoiled(name, ILLEGAL[name][0])
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        total = tf.reduce_sum(tf.math.multiply_no_nan(losses.get(name)(labels, outputs), [1.0, 0.0, 1.0]))
    kept = np.array([0, 2])
    expected = tf.reduce_sum(losses.get(name)(labels[kept], tf.gather(outputs, kept)))
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    gradient = tape.gradient(total, outputs).numpy()
    assert np.isfinite(gradient).all()
    assert not gradient[1].any()


def test_mixed_labels_that_round_above_1_are_labels():
    assert np.isfinite(losses.binary_crossentropy([1.0000001], [0.5]))


def test_labels_without_the_last_axis_fit_single_outputs():
    np.testing.assert_allclose(losses.mean_squared_error([1.0, 2.0], [[1.0], [4.0]]), [0, 4])
    np.testing.assert_allclose(losses.sparse_categorical_crossentropy([[1]], [[0.0, 0.0]]), [np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(losses.hinge([0, 1], [[0.5], [0.5]]), [1.5, 0.5])


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("sparse")])
def test_labels_of_another_shape_are_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"^{name}: labels of shape \(2, 3\) do not fit outputs of shape \(2, 4\)$"):
        losses.get(name)(np.zeros((2, 3)), np.zeros((2, 4)))


Z = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            partial(losses.sparse_categorical_crossentropy, [0.5], [[0.0, 1.0]]),
            TypeError,
            "integer labels, got float32",
        ),
        (partial(losses.sparse_categorical_crossentropy, [1, 1, 1], Z), ValueError, r"labels of shape \(3,\)"),
        (
            partial(losses.categorical_crossentropy, Z, Z, label_smoothing=1),
            ValueError,
            r"must lie in \[0, 1\), found 1",
        ),
        (partial(losses.binary_focal_crossentropy, Z, Z, gamma=-1), ValueError, "gamma must be at least 0, found -1"),
        (partial(losses.categorical_focal_crossentropy, Z, Z, alpha=[1, 2]), ValueError, "one factor, or 3, found 2"),
        (partial(losses.huber, Z, Z, delta=0), ValueError, "huber: delta must be above 0, found 0"),
        (partial(losses.cosine_similarity, Z[0], Z[0]), ValueError, r"needs outputs \[batch, …, features\]"),
        (partial(engine.Supervised, "mse"), ValueError, r"unknown loss 'mse'; there are sparse_cat.*"),
    ],
)
def test_wrong_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
