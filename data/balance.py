"""Class-balanced sampling."""

import operator

import numpy as np
import tensorflow as tf

from data.sources import check_indexed
from data.splits import shuffled_by_class


def balanced(source, per_class=None, seed=0):
    """A view of `source` whose epochs hold `per_class` examples of each class, unless given as many as the largest has.

    Of a class with n examples each comes ⌊per_class / n⌋ or one time more in an epoch, and over any number of epochs
    no two of a class differ by more than one: whoever was left out is next. A pipeline's order is then, as ever, a
    permutation of (seed, epoch). `seed` is of the order in which examples take turns. Reading the view itself
    (`view[indices]`, `evaluation`) gives its epoch 0. Classes are those of `info.classes`, or those that occur.

    Raises ValueError for a class without examples, or a source without one label per example.

    >>> from data import Arrays
    >>> view = balanced(Arrays(np.arange(5), labels=[0, 0, 0, 0, 1]))
    >>> len(view), np.bincount(view[np.arange(8)]["labels"]).tolist()
    (8, [4, 4])
    """
    return Balanced(source, per_class, seed)


class Balanced:
    """What `balanced` makes."""

    arrays = None

    def __init__(self, source, per_class, seed):
        check_indexed("balanced", source)
        # Class after class, each in the order in which its examples take turns.
        order, labels = shuffled_by_class(source, seed, "balanced")
        found, counts = np.unique(labels, return_counts=True)
        for number in range(source.info.classes or 0):
            if number not in found:
                raise ValueError(f"balanced: {source.info.name} has no example of class {number}: leave the class out")
        self._classes = len(counts)
        self._per_class = int(counts.max()) if per_class is None else operator.index(per_class)
        if self._per_class < 1:
            raise ValueError(f"balanced: per_class must be at least 1, found {per_class}")
        self.source, self.info = source, source.info
        with tf.device("CPU:0"):
            # Captured by graphs, not embedded in them.
            self._order, self._counts = tf.constant(order), tf.constant(counts)
            self._starts = tf.cumsum(self._counts, exclusive=True)

    def __len__(self):
        return self._classes * self._per_class

    def __getitem__(self, indices):
        with tf.device("CPU:0"):
            return self.source[self.drawn(tf.constant(indices, tf.int64), 0).numpy()]

    def drawn(self, indices, epoch):
        """Which examples of `source` those of an epoch are: int64 tensors."""
        number, turn = indices // self._per_class, indices % self._per_class + epoch * self._per_class
        return tf.gather(self._order, tf.gather(self._starts, number) + turn % tf.gather(self._counts, number))
