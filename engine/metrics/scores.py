"""Precision, recall and what weighs them against each other, for each class and on average."""

import numpy as np
import tensorflow as tf

from engine.metrics.metric import check_same_shape, class_indices, logit, nan_if, no_numbers, ratio, spread, tensors

_AVERAGES = ("micro", "macro", "weighted")


class ClassScores:
    """The base of scores that are a function of three counts for each class, `score(both, predicted, there)`.

    They are the weights of the examples that are of the class, for which it was predicted, and of which both is true.

    num_classes: the outputs of an example. 1 is the usual case of yes or no.
    average: of the classes' scores. "macro": their mean, classes that never occur with a score of 0 included; "micro":
        the score of all classes' counts together; "weighted": the mean weighted by how often a class is there.
    threshold: the probability above which a class is predicted, apart from all others; None: of several classes that of
        the largest output, of a single one the threshold ½.
    from_logits: False for outputs that are probabilities.

    labels: 0 or 1 for each class, [batch, …, num_classes] (or [batch, …] for one class); or integers [batch, …] that
    name the one class of an example, of which one that is no class makes the sums NaN.
    outputs: [batch, …, num_classes] (or [batch] for one class), of which one that is NaN makes the sums NaN. A score
    of 0/0 is 0.

    `per_class` has the scores of the single classes, from sums such as `trainer.metric_sums(pipeline)` has.
    """

    mode = "max"

    def __init__(
        self,
        num_classes: int = 1,
        *,
        average: str = "macro",
        threshold: float | None = None,
        from_logits: bool = True,
    ):
        name = type(self).__name__
        if num_classes < 1:
            raise ValueError(f"{name}: num_classes must be at least 1, found {num_classes}")
        if average not in _AVERAGES:
            raise ValueError(f"{name}: average must be one of {', '.join(_AVERAGES)}, found {average!r}")
        self.shape, self.average, self._edge = (3, num_classes), average, None
        if threshold is not None or num_classes == 1:
            threshold = 0.5 if threshold is None else threshold
            edge = logit(name, threshold)
            self._edge = edge if from_logits else threshold

    def sums(self, labels: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """[both, predicted, there] for each class."""
        labels, outputs = tensors(labels, outputs)
        classes = self.shape[1]
        outputs = outputs[:, tf.newaxis] if outputs.shape.rank == 1 else outputs
        if outputs.shape[-1] != classes:
            raise ValueError(
                f"{type(self).__name__}: outputs must be [batch, …, {classes}], found shape {outputs.shape}"
            )
        there, illegal = self._there(labels, outputs)
        illegal = tf.logical_or(illegal, tf.reduce_any(no_numbers(outputs), axis=-1))
        if self._edge is None:
            predicted = tf.one_hot(tf.argmax(outputs, axis=-1), classes, dtype=tf.float64)
        else:
            predicted = tf.cast(outputs > tf.constant(self._edge, outputs.dtype), tf.float64)
        weights = spread(self, weights, predicted[..., 0])
        rows = tf.stack([there * predicted, predicted, there]) * weights[..., tf.newaxis]
        return tf.reduce_sum(rows, axis=list(range(1, rows.shape.rank - 1))) + nan_if(illegal, weights)

    def _there(self, labels: tf.Tensor, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        classes = self.shape[1]
        if classes == 1 and labels.shape.rank == outputs.shape.rank - 1:
            labels = labels[..., tf.newaxis]
        if labels.shape.rank == outputs.shape.rank and labels.shape[-1] == classes:
            check_same_shape(self, labels, outputs)
            there = tf.cast(tf.cast(labels, tf.float64) > 0.5, tf.float64)
            return there, tf.zeros(tf.shape(outputs)[:-1], tf.bool)
        labels = class_indices(self, labels, outputs)
        illegal = tf.logical_or(labels < 0, labels >= classes)
        return tf.one_hot(labels, classes, dtype=tf.float64), illegal

    def result(self, sums: np.ndarray) -> float:
        """The average over classes."""
        if self.average == "micro":
            return float(self.score(*sums.sum(axis=1)))
        scores = self.per_class(sums)
        return float(np.mean(scores) if self.average == "macro" else ratio(np.sum(scores * sums[2]), np.sum(sums[2])))

    def score(self, both: np.ndarray, predicted: np.ndarray, there: np.ndarray) -> np.ndarray:
        """The score of each class, from its counts."""
        raise NotImplementedError(f"{type(self).__name__} must define score()")

    def per_class(self, sums: np.ndarray) -> np.ndarray:
        """The score of each class, [num_classes]."""
        return self.score(*sums)


class Precision(ClassScores):
    """What is both there and predicted, of what was predicted. Arguments are those of `ClassScores`.

    Keras' takes all outputs of several together, which is `average="micro"`.
    """

    def score(self, both: np.ndarray, predicted: np.ndarray, there: np.ndarray) -> np.ndarray:
        """both / predicted."""
        return ratio(both, predicted)


class Recall(ClassScores):
    """What is both there and predicted, of what is there. Arguments are those of `ClassScores`.

    Keras' takes all outputs of several together, which is `average="micro"`.
    """

    def score(self, both: np.ndarray, predicted: np.ndarray, there: np.ndarray) -> np.ndarray:
        """both / there."""
        return ratio(both, there)


class FBetaScore(ClassScores):
    """F_β = (1 + β²)·P·R / (β²·P + R) of precision P and recall R, R counting β times as much as P.

    beta: above 0. The other arguments are those of `ClassScores`.
    """

    def __init__(self, num_classes: int = 1, *, beta: float = 1.0, **options):
        super().__init__(num_classes, **options)
        if not beta > 0:
            raise ValueError(f"{type(self).__name__}: beta must be above 0, found {beta}")
        self.beta = beta

    def score(self, both: np.ndarray, predicted: np.ndarray, there: np.ndarray) -> np.ndarray:
        """(1 + β²)·both / (β²·there + predicted)."""
        square = self.beta**2
        return ratio((1 + square) * both, square * there + predicted)


class F1Score(FBetaScore):
    """F₁ = 2·P·R / (P + R) of precision P and recall R. Arguments are those of `ClassScores`."""

    def __init__(self, num_classes: int = 1, **options):
        super().__init__(num_classes, beta=1.0, **options)
