"""Splitting one source into disjoint parts that cover it."""

import math

import numpy as np

from data.draws import philox_key
from data.sources import Subset, check_indexed


def split(source, fractions, seed=0, stratify=True):
    """Split `source` by a seeded permutation into a dict of sources, disjoint and together the whole.

    `fractions` maps names to positive shares that sum to 1; the sizes are those shares of the examples,
    rounded so that they add up. With `stratify`, each class is dealt out in the same proportion: of two
    parts, neither is one example away from its share of any class. That needs one label per example.
    Raises ValueError for shares that do not sum to 1, an empty part, labels that cannot be stratified, or a stream.

    >>> from data import Arrays
    >>> parts = split(Arrays(np.arange(20), labels=np.arange(20) % 2), {"train": 0.8, "validation": 0.2})
    >>> {name: np.bincount(part.arrays["labels"]).tolist() for name, part in parts.items()}
    {'train': [8, 8], 'validation': [2, 2]}
    """
    check_indexed("split", source)
    shares = np.array(list(fractions.values()), np.float64)
    if not (shares.size and np.all(shares > 0) and math.isclose(shares.sum(), 1.0)):
        raise ValueError(f"split: fractions must be positive and sum to 1, found {fractions}")
    sizes = np.diff(np.rint(np.cumsum(shares) * len(source)).astype(int), prepend=0)
    for name, size in zip(fractions, sizes, strict=True):
        if size == 0:
            raise ValueError(f"split: {name!r} gets none of {len(source)} examples, at {fractions[name]}")

    order = shuffled_by_class(source, seed, "split")[0] if stratify else _permutation(len(source), seed, "split")
    # Example j of a part is due at (j + ½) / size. Merged by due time, every stretch of the order, and so
    # every class, is shared out evenly.
    due = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes])
    dealt = np.repeat(np.arange(len(sizes)), sizes)[due.argsort(kind="stable")]
    return {name: Subset(source, np.sort(order[dealt == part])) for part, name in enumerate(fractions)}


def shuffled_by_class(source, seed, purpose):
    """The numbers of all examples, class after class and each class in an order of its own; then their labels.

    `purpose` is who asks: an error names it, and streams of one seed for different purposes share nothing.
    """
    labels, order = _labels(source, purpose), _permutation(len(source), seed, purpose)
    order = order[labels[order].argsort(kind="stable")]
    return order, labels[order]


def _labels(source, purpose):
    labels = getattr(source, "labels", None)
    if labels is None:
        if "labels" not in source[np.arange(1)]:
            hint = "; pass stratify=False" if purpose == "split" else ""
            raise ValueError(f"{purpose}: {source.info.name} has no labels{hint}")
        # In pieces, because a source may be larger than memory and yields its inputs too.
        pieces = np.array_split(np.arange(len(source)), -(-len(source) // 4096))
        labels = np.concatenate([source[piece]["labels"] for piece in pieces])
    if labels.ndim != 1:
        raise ValueError(f"{purpose}: one label per example is needed, found {labels.shape}")
    return labels


def _permutation(length, seed, purpose):
    # Sorted raw words, because NumPy keeps a bit generator's stream for ever, but not that of `permutation`.
    return np.random.Philox(key=int(philox_key(seed, purpose)[0])).random_raw(length).argsort(kind="stable")
