"""Every metric with examples for it and an oracle: Keras' metric of probabilities, or the definition in NumPy."""

import keras
import numpy as np

from engine import losses, metrics


def sigmoid(z):
    return np.exp(-np.logaddexp(0, -z))


def softmax(z):
    return np.exp(z - np.logaddexp.reduce(z, axis=-1, keepdims=True))


def sparse(rng, rows):
    return rng.integers(0, 5, rows), rng.normal(size=(rows, 5))


def one_hot(rng, rows):
    return np.eye(5)[rng.integers(0, 5, rows)], rng.normal(size=(rows, 5))


def binary(rng, rows):
    return rng.integers(0, 2, (rows, 3)), rng.normal(size=(rows, 3))


def single(rng, rows):
    # Scores in quarters tie.
    return rng.integers(0, 2, rows), np.round(4 * rng.normal(size=rows)) / 4 + 0.01


def continuous(rng, rows):
    return rng.normal(size=(rows, 3)), rng.normal(size=(rows, 3))


def tokens(rng, rows):
    return rng.integers(0, 5, (rows, 2)), rng.normal(size=(rows, 2, 5))


def same(z):
    return z


def peer(build, squash=same, indices=False):
    """The result of a metric of Keras, whose labels are one-hot unless it wants indices."""

    def oracle(labels, outputs, weights):
        metric = build()
        if indices:
            labels, outputs = labels, outputs.argmax(axis=-1)
        metric.update_state(labels, squash(outputs).astype(np.float32), sample_weight=weights)
        return float(metric.result())

    return oracle


def mean_of(value):
    """Σ w·v / Σ w, 0 for no weight."""

    def oracle(labels, outputs, weights):
        values = value(labels, outputs)
        return np.average(values, weights=weights) if np.sum(weights) else 0.0

    return oracle


def surprise(labels, outputs):
    """−log p(label)."""
    return -np.log(np.take_along_axis(softmax(outputs), labels[..., np.newaxis], axis=-1)[..., 0])


def calibration(labels, outputs, weights):
    """Bins one after the other."""
    shares, total = softmax(outputs), 0.0
    top, hits = shares.max(axis=-1), shares.argmax(axis=-1) == labels
    for b in range(4):
        inside = (top > b / 4) & (top <= (b + 1) / 4)
        weight = weights[inside].sum()
        if weight:
            total += abs(weights[inside] @ hits[inside] - weights[inside] @ top[inside])
    return total / weights.sum() if weights.sum() else 0.0


def confusions(labels, outputs, weights):
    matrix = np.zeros((5, 5))
    for label, scores, weight in zip(labels, outputs, weights, strict=True):
        matrix[label, scores.argmax()] += weight
    return np.trace(matrix) / matrix.sum() if matrix.sum() else 0.0


def explained(labels, outputs, weights):
    """R² of each output by its definition; labels that do not vary are not met."""
    scores = []
    for y, z in zip(labels.T, outputs.T, strict=True):
        if np.sum(weights) == 0:
            scores.append(1.0)
        else:
            variation = weights @ (y - np.average(y, weights=weights)) ** 2
            # One example has none, but for rounding.
            scores.append(1 - weights @ (y - z) ** 2 / variation if np.count_nonzero(weights) > 1 else 0.0)
    return np.mean(scores)


CASES = {
    "SparseCategoricalAccuracy": (
        metrics.SparseCategoricalAccuracy(), sparse, peer(keras.metrics.SparseCategoricalAccuracy)),
    "CategoricalAccuracy": (metrics.CategoricalAccuracy(), one_hot, peer(keras.metrics.CategoricalAccuracy)),
    "BinaryAccuracy": (
        metrics.BinaryAccuracy(0.4), binary, peer(lambda: keras.metrics.BinaryAccuracy(threshold=0.4), sigmoid)),
    "SparseTopKCategoricalAccuracy": (
        metrics.SparseTopKCategoricalAccuracy(3), sparse, peer(lambda: keras.metrics.SparseTopKCategoricalAccuracy(3))),
    "TopKCategoricalAccuracy": (
        metrics.TopKCategoricalAccuracy(2), one_hot, peer(lambda: keras.metrics.TopKCategoricalAccuracy(2))),
    "Mean": (
        metrics.Mean(losses.sparse_categorical_crossentropy), tokens,
        lambda y, z, w: mean_of(surprise)(y, z, np.repeat(w, 2).reshape(-1, 2))),
    "Sum": (metrics.Sum(lambda y, z: z[:, 0]), sparse, lambda y, z, w: w @ z[:, 0]),
    "MeanSquaredError": (metrics.MeanSquaredError(), continuous, peer(keras.metrics.MeanSquaredError)),
    "RootMeanSquaredError": (
        metrics.RootMeanSquaredError(), continuous,
        lambda y, z, w: np.sqrt(mean_of(lambda y, z: np.mean((y - z) ** 2, axis=-1))(y, z, w))),
    "MeanAbsoluteError": (metrics.MeanAbsoluteError(), continuous, peer(keras.metrics.MeanAbsoluteError)),
    "CosineSimilarity": (metrics.CosineSimilarity(), continuous, peer(keras.metrics.CosineSimilarity)),
    "R2Score": (metrics.R2Score(3), continuous, explained),
    "Perplexity": (metrics.Perplexity(), sparse, lambda y, z, w: np.exp(mean_of(surprise)(y, z, w))),
    "BitsPerToken": (metrics.BitsPerToken(), sparse, lambda y, z, w: mean_of(surprise)(y, z, w) / np.log(2)),
    "BrierScore": (
        metrics.BrierScore(), sparse, mean_of(lambda y, z: ((softmax(z) - np.eye(5)[y]) ** 2).sum(axis=-1))),
    "BrierScore-single": (metrics.BrierScore(), single, mean_of(lambda y, z: (sigmoid(z) - y) ** 2)),
    "ExpectedCalibrationError": (metrics.ExpectedCalibrationError(4), sparse, calibration),
    "ConfusionMatrix": (metrics.ConfusionMatrix(5), sparse, confusions),
    "IoU": (metrics.IoU(5, [0, 3]), sparse, peer(lambda: keras.metrics.IoU(5, [0, 3], dtype="float32"), indices=True)),
    "MeanIoU": (metrics.MeanIoU(5), sparse, peer(lambda: keras.metrics.MeanIoU(5, dtype="float32"), indices=True)),
    "Precision": (metrics.Precision(), single, peer(keras.metrics.Precision, sigmoid)),
    "Recall": (metrics.Recall(threshold=0.3), single, peer(lambda: keras.metrics.Recall(0.3), sigmoid)),
    "Precision-micro": (
        metrics.Precision(3, average="micro", threshold=0.5), binary, peer(keras.metrics.Precision, sigmoid)),
    "FBetaScore": (
        metrics.FBetaScore(5, beta=2.0), one_hot, peer(lambda: keras.metrics.FBetaScore(beta=2.0, average="macro"))),
    "F1Score": (
        metrics.F1Score(5, average="weighted"), one_hot, peer(lambda: keras.metrics.F1Score(average="weighted"))),
    "AUC": (metrics.AUC(), single, peer(keras.metrics.AUC, sigmoid)),
    "AUC-PR": (metrics.AUC(50, curve="PR"), single, peer(lambda: keras.metrics.AUC(50, curve="PR"), sigmoid)),
}  # fmt: skip
