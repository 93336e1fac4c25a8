"""How a pipeline takes batches from a source that answers `source[indices]`."""

import tensorflow as tf

from data.plan import Plan
from data.reading import Reader
from data.sharding import rows_of
from data.weighting import weighting
from data.widths import widths

_STACK_BYTES = 2**24


class Indexed:
    """Batches as indices, which are gathered when they are due: any of them at once. See `Pipeline`."""

    def __init__(self, source, batch_size, steps, *, shuffle, weights, cache):
        if not isinstance(shuffle, bool):
            found = f"{source.info.name} is shuffled as a whole, found {shuffle!r}"
            raise ValueError(f"Pipeline: shuffle must be True or False: {found}")
        self._examples, self._batch_size = len(source), batch_size
        # A view that draws anew in every epoch says what it draws from.
        self._drawn = getattr(source, "drawn", None)
        source = source.source if self._drawn else source
        self._read = Reader(source, cache)
        self._weigh = None if weights is None else weighting(weights, source.info, len(source))
        self._lengths = None
        if getattr(source, "lengths", None) is not None:
            self._lengths = tf.constant(source.lengths, tf.int64)
            self._widths = tf.constant(widths(source.lengths))
        order = {"shuffle": shuffle, "lengths": self._lengths, "drawn": self._drawn}
        self._plan = Plan(self._examples, batch_size, steps, **order)

    def training(self, seed, epoch, index):
        """An endless dataset of (batch, epoch, position of its first row), from batch `index` of `epoch` on."""
        return self._plan.batches(seed, epoch, index)

    @property
    def stackable(self):
        """Whether batches are in memory, and differ in the number of rows alone, as those of sequences do not."""
        return self._read.in_memory and self._lengths is None

    def capacity(self, most):
        """How many batches a stack of at most `most` has."""
        whole = max(1, self._examples // self._batch_size)
        most = min(most, max(1, _STACK_BYTES // (self._batch_size * self._read.row_bytes)))
        return -(-whole // -(-whole // most))

    def runs(self, seed, epoch, index, most):
        """What `Plan.runs` makes, if they are `stackable`."""
        return self._plan.runs(seed, epoch, index, most)

    def rows(self, indices):
        """The examples of int64 indices `[rows]`, with their weights."""
        return self._weighed(self._read(indices), indices)

    def _weighed(self, examples, indices):
        return self._weigh(examples, indices) if self._weigh else examples

    def evaluation(self):
        """A dataset of batches in the source's order."""

        def batch(step):
            first = step * self._batch_size
            indices = tf.range(first, tf.minimum(first + self._batch_size, self._examples))
            return {"indices": self._drawn(indices, 0) if self._drawn else indices, "rows": tf.size(indices, tf.int64)}

        steps = tf.data.Dataset.range(-(-self._examples // self._batch_size))
        return steps.map(tf.autograph.experimental.do_not_convert(batch))

    def examples(self, batch, shard):
        """A shard's examples of a batch, and their place in it."""
        indices = batch["indices"][: batch["rows"]]
        own, place = rows_of(shard, batch["rows"])
        part = indices[own]
        if self._lengths is None:
            examples = self._read(part)
        else:
            # The batch's width, whichever part of it this is.
            longest = tf.reduce_max(tf.gather(self._lengths, indices))
            examples = self._read(part, self._widths[tf.searchsorted(self._widths, longest[tf.newaxis])[0]])
            examples["lengths"] = tf.cast(tf.gather(self._lengths, part), tf.int32)
        return self._weighed(examples, part), place

    def numbers(self, batch, shard):
        """The numbers in the source of a shard's examples of a batch, int64."""
        return batch["indices"][: batch["rows"]][rows_of(shard, batch["rows"])[0]]

    def cause(self, error):
        """What the source raised, if that is what TensorFlow's error tells of."""
        failure = self._read.failure
        return failure if failure is not None and str(failure) in str(error) else None
