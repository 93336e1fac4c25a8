"""What a classifier says, in words: labels with probabilities, the likeliest first; as text, CSV and JSON."""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The likeliest classes of each example.

    items: what the examples are called, such as their files. labels: of each, the names of its likeliest classes, the
    likeliest first; probabilities: theirs.
    """

    items: Sequence[str]
    labels: Sequence[Sequence[str]]
    probabilities: Sequence[Sequence[float]]

    def records(self) -> list[dict]:
        """A dict for each example: `item`, `label`, `probability`, and `top`, pairs of a label and its probability."""
        rows = zip(self.items, self.labels, self.probabilities, strict=True)
        return [
            {
                "item": item,
                "label": labels[0],
                "probability": shares[0],
                "top": [{"label": label, "probability": share} for label, share in zip(labels, shares, strict=True)],
            }
            for item, labels, shares in rows
        ]

    def csv(self) -> str:
        """Lines of `item,label_1,probability_1,label_2,…`, with a header; quoted where needed (RFC 4180)."""
        count = max((len(labels) for labels in self.labels), default=0)
        text = io.StringIO()
        writer = csv.writer(text)
        ranks = range(1, count + 1)
        writer.writerow(["item", *(f"{part}_{rank}" for rank in ranks for part in ("label", "probability"))])
        for item, labels, shares in zip(self.items, self.labels, self.probabilities, strict=True):
            pairs = zip(labels, shares, strict=True)
            writer.writerow([item, *(value for label, share in pairs for value in (label, repr(float(share))))])
        return text.getvalue()

    def json(self) -> str:
        """`records()` as JSON."""
        return json.dumps(self.records(), indent=1, ensure_ascii=False) + "\n"

    def __str__(self) -> str:
        """A line for each example, aligned."""
        width = max((len(item) for item in self.items), default=0)
        names = max((len(label) for labels in self.labels for label in labels), default=0)
        lines = []
        for item, labels, shares in zip(self.items, self.labels, self.probabilities, strict=True):
            found = "  ".join(f"{label:<{names}} {share:6.1%}" for label, share in zip(labels, shares, strict=True))
            lines.append(f"{item:<{width}}  {found}")
        return "\n".join(lines)


def predictions(outputs: Any, items: Sequence[str], names: Sequence[str] = (), top: int = 3) -> Predictions:
    """The `top` likeliest classes of each example.

    outputs: logits `[examples, classes]`, such as `trainer.predict` returns. items: what the examples are called.
    names: of the classes; without any, classes go by their numbers. ValueError where these don't fit each other.

    >>> print(predictions([[2.0, 0.0, 1.0]], ["a.png"], ["cat", "dog", "hen"], top=2))
    a.png  cat  66.5%  hen  24.5%
    """
    shares = probabilities(outputs)
    if shares.ndim != 2 or len(shares) != len(items):
        raise ValueError(f"outputs must be logits [{len(items)}, classes], one row an item, found {list(shares.shape)}")
    if names and len(names) != shares.shape[1]:
        raise ValueError(f"the model has {shares.shape[1]} outputs, but there are {len(names)} names of classes")
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    called = list(names) or [str(number) for number in range(shares.shape[1])]
    # Of equal ones the class with the lower number comes first.
    order = np.argsort(-shares, axis=1, kind="stable")[:, :top]
    return Predictions(
        [str(item) for item in items],
        [[called[number] for number in row] for row in order],
        [[float(value) for value in row[places]] for row, places in zip(shares, order, strict=True)],
    )


def probabilities(outputs: Any) -> np.ndarray:
    """softmax over the last axis of logits, in float64."""
    logits = np.asarray(outputs).astype(np.float64)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
