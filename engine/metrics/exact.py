"""Areas under curves, exact: over every score, ties included, as scikit-learn defines them.

They need all scores in one place and in order, which no sum over slices has. So they are functions of arrays, of what
`Trainer.predict` gives beside the source's labels, and not metrics of a Trainer: those are sums, on any number of
replicas, and `AUC` is the one among them. Scores of several parts are put together by `np.concatenate`.

Labels are 0 or 1, scores any numbers of which larger ones speak for 1 (logits or probabilities: order is all that
counts), weights none below 0; all are [examples] or become that. What weighs 0 is left out, whatever its score.
"""

import numpy as np


def roc_curve(labels, scores, weights=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False positives' share, true positives' share, and the score from which on both are had, from (0, 0) to (1, 1).

    One point for each distinct score, the largest first, after the point of no score, ∞. A share of nothing is NaN.
    """
    true, false, thresholds = _counts(labels, scores, weights)
    with np.errstate(invalid="ignore"):
        return false / false[-1], true / true[-1], thresholds


def roc_auc(labels, scores, weights=None) -> float:
    """The probability that a positive scores above a negative, ties counting half. NaN without both.

    >>> roc_auc([1, 0, 1, 0], [0.9, 0.3, 0.3, 0.1])
    0.875
    """
    x, y, _ = roc_curve(labels, scores, weights)
    return float(np.sum((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2))


def precision_recall_curve(labels, scores, weights=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall, and the score from which on both are had: one point for each distinct score, largest first.

    Without positives recall is NaN.
    """
    true, false, thresholds = (part[1:] for part in _counts(labels, scores, weights))
    with np.errstate(invalid="ignore"):
        return true / (true + false), true / (true[-1] if true.size else np.nan), thresholds


def average_precision(labels, scores, weights=None) -> float:
    """Σₙ (Rₙ − Rₙ₋₁)·Pₙ over the points of the precision-recall curve: its area, with no interpolation. NaN without
    positives.

    >>> round(average_precision([1, 0, 1, 0], [0.9, 0.3, 0.3, 0.1]), 4)
    0.8333
    """
    precision, recall, _ = precision_recall_curve(labels, scores, weights)
    return float(np.sum(np.diff(recall, prepend=0) * precision)) if recall.size else float("nan")


def _counts(labels, scores, weights):
    """Weight of positives and negatives with at least each distinct score, beginning with none; and these scores."""
    labels, scores = np.ravel(labels), np.ravel(scores).astype(float)
    weights = np.ones(scores.shape) if weights is None else np.ravel(weights).astype(float)
    if not labels.shape == scores.shape == weights.shape:
        raise ValueError(
            f"labels, scores and weights must be as many, found {labels.size}, {scores.size} and {weights.size}"
        )
    labels, scores, weights = (part[weights != 0] for part in (labels, scores, weights))
    if np.any(weights < 0) or np.isnan(scores).any() or not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 0 or 1, scores numbers, and weights none below 0")
    order = np.argsort(-scores, kind="stable")
    labels, scores, weights = labels[order] == 1, scores[order], weights[order]
    last = np.append(scores[1:] != scores[:-1], True)[: scores.size]
    sums = [np.append(0.0, np.cumsum(np.where(which, weights, 0))[last]) for which in (labels, ~labels)]
    return *sums, np.append(np.inf, scores[last])
