"""The area under a curve over thresholds, which adds up; `exact` has those that need every score at once."""

import numpy as np
import tensorflow as tf

from engine.metrics.metric import counts, ratio, spread, tensors

_METHODS = ("interpolation", "minoring", "majoring")


class AUC:
    """The area under the ROC or the precision-recall curve, through its points at `num_thresholds` probabilities.

    Thresholds are 0, 1/(n − 1), …, 1, with those at the ends moved out a little, as in Keras. The error of the ROC's
    area is at most half the share of pairs (positive, negative) whose scores lie between the same two thresholds.

    num_thresholds: n, at least 2.
    curve: "ROC" (recall over the false positives' share) or "PR" (precision over recall).
    summation_method: "interpolation" (trapezoids; for PR the interpolation of counts, Davis & Goadrich 2006, section
        3), "minoring" or "majoring": the smaller or the larger of a step's two heights.
    from_logits: False for outputs that are probabilities.

    labels: 0 or 1; outputs: one logit each, of the same shape or with a last axis of 1. An example's weight counts for
    all of its outputs. What is no number, or no probability, makes the area NaN. Without positives it is 0. Without
    negatives the ROC's is 0, while precision is 1 wherever anything is above the threshold.
    """

    mode = "max"

    def __init__(
        self,
        num_thresholds: int = 200,
        *,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        from_logits: bool = True,
    ):
        if num_thresholds < 2:
            raise ValueError(f"AUC: num_thresholds must be at least 2, found {num_thresholds}")
        for name, value, known in (("curve", curve, ("ROC", "PR")), ("summation_method", summation_method, _METHODS)):
            if value not in known:
                raise ValueError(f"AUC: {name} must be one of {', '.join(known)}, found {value!r}")
        # Between n thresholds are n − 1 places.
        self.shape = (2, num_thresholds - 1)
        self.curve, self.summation_method, self.from_logits = curve, summation_method, from_logits

    def sums(self, labels: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Between each two thresholds, the weight of positives and of negatives."""
        labels, outputs = tensors(labels, outputs)
        labels = labels[..., tf.newaxis] if labels.shape.rank == outputs.shape.rank - 1 else labels
        if not labels.shape.is_compatible_with(outputs.shape):
            raise ValueError(f"AUC: labels of shape {labels.shape} do not fit outputs of shape {outputs.shape}")
        outputs, places = tf.cast(outputs, tf.float64), self.shape[1]
        shares = tf.sigmoid(outputs) if self.from_logits else outputs
        weights = spread(self, weights, shares)
        legal = tf.logical_and(shares >= 0, shares <= 1)
        # A share is above threshold k if and only if its place is at least k.
        place = tf.clip_by_value(tf.math.ceil(tf.where(legal, shares, 0) * places) - 1, 0, places - 1)
        positive = tf.cast(labels, tf.float64) > 0.5
        parts = (tf.where(positive, weights, 0), tf.where(positive, tf.zeros_like(weights), weights))
        return tf.stack([counts(part, place, legal, places) for part in parts])

    def result(self, sums: np.ndarray) -> float:
        """The area."""
        # Above each threshold, from the lowest to one that nothing is above.
        true, false = np.append(np.cumsum(sums[:, ::-1], axis=1)[:, ::-1], np.zeros((2, 1)), axis=1)
        if self.curve == "PR" and self.summation_method == "interpolation":
            return float(_interpolated(true, false))
        recall = ratio(true, true[0])
        x, y = (ratio(false, false[0]), recall) if self.curve == "ROC" else (recall, ratio(true, true + false))
        low, high = np.minimum(y[:-1], y[1:]), np.maximum(y[:-1], y[1:])
        heights = {"interpolation": (low + high) / 2, "minoring": low, "majoring": high}[self.summation_method]
        return float(np.sum((x[:-1] - x[1:]) * heights))


def _interpolated(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """∫ precision d recall, where true and false positives grow in proportion between two thresholds.

    Precision at t true positives is t / (a + t/s) with the slope s = Δt/Δ(t + f); integrated from t₁ to t₀ that is
    s·(Δt + b·log(p₀/p₁)) with b = t₁ − s·p₁, p = t + f.
    """
    predicted = true + false
    grown, more = true[:-1] - true[1:], predicted[:-1] - predicted[1:]
    slope = ratio(grown, more)
    offset = true[1:] - slope * predicted[1:]
    both = (predicted[:-1] > 0) & (predicted[1:] > 0)
    logs = np.log(np.where(both, predicted[:-1], 1) / np.where(both, predicted[1:], 1))
    return ratio(np.sum(slope * (grown + offset * logs)), true[0])
