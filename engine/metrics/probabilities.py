"""How good the probabilities are that a classifier gives."""

import numpy as np
import tensorflow as tf

from engine import losses
from engine.metrics.means import Mean
from engine.metrics.metric import class_indices, class_probabilities, counts, no_numbers, spread, tensors


class Perplexity(Mean):
    """exp of the mean of −log p(y), over all tokens before the exp; 1 for no weight at all.

    labels: integers [batch, …]; outputs: logits, or probabilities with `from_logits=False`, [batch, …, classes].
    """

    mode = "min"

    def __init__(self, *, from_logits: bool = True):
        super().__init__(
            lambda labels, outputs: losses.sparse_categorical_crossentropy(labels, outputs, from_logits=from_logits)
        )

    def result(self, sums: np.ndarray) -> float:
        """exp of the weighted mean."""
        with np.errstate(over="ignore"):
            return float(np.exp(super().result(sums)))


class BitsPerToken(Mean):
    """The mean of −log₂ p(y) over all tokens; where tokens are characters, bits per character.

    labels: integers [batch, …]; outputs: logits [batch, …, classes].
    """

    mode = "min"

    def __init__(self):
        super().__init__(lambda labels, outputs: losses.sparse_categorical_crossentropy(labels, outputs) / np.log(2))


class BrierScore(Mean):
    """The mean of Σⱼ (pⱼ − 1[y = j])² over the classes, from 0 to 2; of one output the mean of (p − y)² (Brier 1950).

    labels: integers [batch, …] (one that is no class makes the score NaN); outputs: logits, or probabilities with
    `from_logits=False`, [batch, …, classes], or one for the second of two classes, [batch] or [batch, …, 1].
    """

    mode = "min"

    def __init__(self, *, from_logits: bool = True):
        def value(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
            single = outputs.shape.rank == 1 or outputs.shape[-1] == 1
            shares = class_probabilities(outputs, from_logits)
            labels = class_indices(self, labels, shares)
            classes = tf.shape(shares)[-1]
            errors = tf.reduce_sum(
                tf.math.squared_difference(shares, tf.one_hot(labels, classes, dtype=tf.float64)), -1
            )
            legal = tf.logical_and(labels >= 0, labels < tf.cast(classes, tf.int64))
            return tf.where(legal, errors / 2 if single else errors, tf.constant(float("nan"), tf.float64))

        super().__init__(value)


class ExpectedCalibrationError:
    """Σ over bins of |Σ w·hit − Σ w·p| / Σ w: how far from its accuracy a classifier's confidence is (Guo et al. 2017).

    p is the largest probability, hit whether that is the label's. Bin b of n holds p in ((b − 1)/n, b/n]; 0 for no
    weight at all.

    bins: how many. labels, outputs: those of `BrierScore`; an output that is no number makes the error NaN.
    """

    mode = "min"

    def __init__(self, bins: int = 15, *, from_logits: bool = True):
        if bins < 1:
            raise ValueError(f"ExpectedCalibrationError: bins must be at least 1, found {bins}")
        self.shape, self.from_logits = (2, bins), from_logits

    def sums(self, labels: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """[Σ w·(hit − p), Σ w] for each bin."""
        labels, outputs = tensors(labels, outputs)
        shares = class_probabilities(outputs, self.from_logits)
        labels, confidence = class_indices(self, labels, shares), tf.reduce_max(shares, axis=-1)
        hits = tf.cast(tf.equal(tf.argmax(shares, axis=-1), labels), tf.float64)
        weights, bins = spread(self, weights, confidence), self.shape[1]
        numbers = tf.logical_not(tf.reduce_any(no_numbers(shares), axis=-1))
        known = tf.logical_and(labels >= 0, labels < tf.shape(shares, tf.int64)[-1])
        legal = tf.reduce_all([confidence >= 0, numbers, known], axis=0)
        place = tf.clip_by_value(tf.math.ceil(tf.where(legal, confidence, 0) * bins) - 1, 0, bins - 1)
        gaps = tf.math.multiply_no_nan(hits - confidence, weights)
        return tf.stack([counts(gaps, place, legal, bins), counts(weights, place, legal, bins)])

    def result(self, sums: np.ndarray) -> float:
        """The weighted mean of the bins' gaps."""
        gaps, weights = sums
        return float(np.abs(gaps).sum() / weights.sum()) if weights.sum() else 0.0
