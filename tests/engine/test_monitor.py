"""What is better of a monitored value: the metric says it, or its name, or the hook."""

from types import SimpleNamespace

import pytest

import engine
from engine import metrics


def bound(value, metric=None, mode="auto"):
    """A hook that monitors a metric, or the loss, bound to a trainer of that."""
    hook = engine.hooks.EarlyStopping(f"validation.{value}", mode=mode, patience=9)
    metrics = {} if metric is None else {value: metric}
    state = SimpleNamespace(weights=dict)
    run = SimpleNamespace(validation=True, trainer=SimpleNamespace(metrics=metrics), state=state)
    hook.bind(run)
    hook.on_fit_begin(run)
    for found in (1.0, 3.0, 2.0):
        hook.on_evaluate_end(run, {"split": "validation", "step": 1, value: found})
    return abs(float(hook.best))


@pytest.mark.parametrize(
    ("value", "metric", "best"),
    [
        ("loss", None, 1),
        ("data_loss", None, 1),
        ("acc", metrics.BinaryAccuracy(), 3),
        ("auc", metrics.AUC(), 3),
        ("score", metrics.F1Score(), 3),
        ("similarity", metrics.CosineSimilarity(), 3),
        ("error", metrics.MeanSquaredError(), 1),
        # What a metric says of itself goes before its name, the name before nothing.
        ("inaccuracy", metrics.BrierScore(), 1),
        ("word_accuracy", metrics.Mean(lambda labels, outputs: labels), 3),
        ("token_loss", metrics.Mean(lambda labels, outputs: labels), 1),
    ],
)
def test_a_metric_says_what_is_better_of_it_unless_the_hook_does(value, metric, best):
    assert bound(value, metric) == best
    assert (bound(value, metric, "min"), bound(value, metric, "max")) == (1, 3)


def test_a_metric_of_no_direction_needs_a_mode():
    total = metrics.Sum(lambda labels, outputs: labels)
    message = (
        r"^hook early_stopping monitors 'total', of which neither less nor more is better: mode must be \"min\" or"
    )
    with pytest.raises(ValueError, match=message):
        bound("total", total)
    assert (bound("total", total, "min"), bound("total", total, "max")) == (1, 3)
