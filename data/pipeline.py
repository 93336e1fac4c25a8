"""The pipeline: in which order, in which batches and in which form a source is read."""

import operator
import os
import weakref

import numpy as np
import tensorflow as tf

from data.draws import Draws
from data.order import shuffled

_FOREVER = 2**63 - 1
_WORKERS = min(16, os.cpu_count() or 1)
_AHEAD = 8
_tensors = weakref.WeakKeyDictionary()


class Pipeline:
    """Batches of a source, as a function of (seed, epoch, index): whoever trains holds these three.

    An epoch is a permutation of the source, stateless and global, or the source's order without `shuffle`. It
    is cut into batches of `batch_size`, of which the last may be short; `drop_remainder` leaves that one out.
    A batch is a dict of tensors `[batch, …]`, its static batch size None. In training,
    `augment(batch, draws) -> batch` sees the source's own dtypes (uint8 images) before
    `transform(batch) -> batch`, which evaluation applies as well. Both are traced, once per dataset,
    and not converted by AutoGraph: an `if` on a tensor needs `tf.cond` or a `tf.function` of its own.
    A source that is not in memory is read by `source[indices]`, from several threads at a time.

    Several processes read one pipeline with `shard=(number, count)`, each only its own examples. An element is then
    a tuple `(examples, first_row, rows)`: part `number` of the batch's `count` contiguous parts, the row of the
    batch at which it begins (int64), and how many rows it has (int32). Of n rows, part p of P begins at ⌊n·p/P⌋ and
    ends before ⌊n·(p+1)/P⌋. A part is what these rows are in the whole batch, bit for bit, as long as `augment` and
    `transform` treat each example by itself. An `augment` that mixes examples has the attribute `whole_batch = True`:
    it is then given all n rows, and each process takes its part of the result. If a part is empty, `rows` is 0 and
    `examples` is one row, its neighbour.

    Raises ValueError unless 1 <= batch_size <= len(source).
    """

    def __init__(self, source, batch_size, *, shuffle=True, augment=None, transform=None, drop_remainder=False):
        self.source = source
        self.info = source.info
        self.examples = len(source)
        self.batch_size = _checked(batch_size, source)
        self.steps_per_epoch = self.examples // self.batch_size if drop_remainder else self._batches()
        self._shuffle = shuffle
        self._augment = augment
        self._transform = transform
        self._read = _reader(source)
        self._evaluations = {}

    def training(self, seed, epoch=0, index=0, *, shard=None):
        """An endless `tf.data.Dataset` from batch `index` of epoch `epoch` on, through all later epochs.

        It yields exactly what `training(seed)` yields from there on, augmentation included, and starts at
        once, wherever that is. `seed` is any Python integer. `index` may be `steps_per_epoch`, which is the
        next epoch's start. Raises ValueError for a position that no run can have, or a shard that is none.

        >>> import data
        >>> pipeline = data.Pipeline(data.Arrays(np.arange(5)), batch_size=2)
        >>> epoch = [batch["inputs"].numpy() for batch in pipeline.training(seed=0).take(3)]
        >>> sorted(np.concatenate(epoch).tolist()), len(epoch[-1])
        ([0, 1, 2, 3, 4], 1)
        """
        if epoch < 0 or not 0 <= index <= self.steps_per_epoch:
            raise ValueError(
                f"training: expected epoch >= 0 and index from 0 to {self.steps_per_epoch}, "
                f"found epoch {epoch} and index {index}"
            )
        shard = _checked_shard(shard)
        mixes = shard is not None and getattr(self._augment, "whole_batch", False)

        def batch(step):
            epoch, index = step // self.steps_per_epoch, step % self.steps_per_epoch
            part, place = self._part(index, shard)
            # What mixes examples is given all of them, whoever reads a part.
            positions = self._part(index, None)[0] if mixes else part
            indices = shuffled(positions, self.examples, seed, epoch) if self._shuffle else positions
            examples = self._read(indices)
            if self._augment:
                draws = Draws(seed, epoch, position=positions[0], rows=tf.size(positions, tf.int64))
                examples = self._augment(examples, draws)
            if mixes:
                begin, size = part[0] - positions[0], tf.size(part, tf.int64)
                examples = {name: rows[begin : begin + size] for name, rows in examples.items()}
            return self._element(examples, place, shard)

        return _mapped(tf.data.Dataset.range(epoch * self.steps_per_epoch + index, _FOREVER), batch)

    def evaluation(self, *, shard=None):
        """A finite `tf.data.Dataset` in the source's order: nothing shuffled, augmented or dropped.

        Raises ValueError for a shard that is none.
        """
        shard = _checked_shard(shard)

        def batch(index):
            positions, place = self._part(index, shard)
            return self._element(self._read(positions), place, shard)

        # Traced once, however often a run evaluates.
        if shard not in self._evaluations:
            self._evaluations[shard] = _mapped(tf.data.Dataset.range(self._batches()), batch)
        return self._evaluations[shard]

    def _batches(self):
        return -(-self.examples // self.batch_size)

    def _part(self, index, shard):
        """Where a shard's part of batch `index` stands: positions in the epoch, then (first row, rows)."""
        first = index * self.batch_size
        size = tf.minimum(self.examples - first, self.batch_size)
        number, count = shard or (0, 1)
        begin, end = size * number // count, size * (number + 1) // count
        # Operations on 0 rows are a trap for whoever computes with them: an empty part reads one row.
        positions = first + tf.range(begin, tf.maximum(end, begin + 1))
        return positions, (begin, tf.cast(end - begin, tf.int32))

    def _element(self, examples, place, shard):
        examples = self._transform(examples) if self._transform else examples
        return (examples, *place) if shard else examples


def _checked(batch_size, source):
    try:
        if 1 <= operator.index(batch_size) <= len(source) and not isinstance(batch_size, bool):
            return operator.index(batch_size)
    except TypeError:
        pass
    raise ValueError(
        f"Pipeline: batch_size must be an integer from 1 to {len(source)}, the size of {source.info.name}, "
        f"found {batch_size!r}"
    )


def _checked_shard(shard):
    if shard is None:
        return None
    try:
        number, count = map(operator.index, shard)
        if 0 <= number < count:
            return number, count
    except (TypeError, ValueError):
        pass
    raise ValueError(f"Pipeline: shard must be (number, count) with 0 <= number < count, found {shard!r}")


def _mapped(steps, batch):
    # AutoGraph would take several times as long to trace, and bury an augmentation's error under its own.
    plain = tf.autograph.experimental.do_not_convert(batch)
    options = tf.data.Options()
    # The rewriter finds nothing to do here, but serialises the whole source to look, for every iterator.
    options.experimental_optimization.apply_default_optimizations = False
    # Its tuner keeps a dropped iterator alive until the tuner's next look, which can be a minute away.
    options.autotune.enabled = False
    batches = steps.map(plain, _WORKERS, deterministic=True).prefetch(_AHEAD)
    return batches.with_options(options)


def _reader(source):
    """The gather of a source as a function of int64 tensors `[batch]`, for use in a graph."""
    if source.arrays is not None:
        if source not in _tensors:
            # Captured by graphs, not embedded in them; on the host, where they run. tf.constant would hold a
            # second copy until the next garbage collection.
            with tf.device("CPU:0"):
                _tensors[source] = {name: tf.identity(array) for name, array in source.arrays.items()}
        tensors = _tensors[source]
        return lambda indices: {name: tf.gather(tensor, indices) for name, tensor in tensors.items()}

    example = source[np.zeros(1, np.int64)]
    dtypes = [array.dtype for array in example.values()]

    def gather(indices):
        found = source[indices]
        return [found[name] for name in example]

    def read(indices):
        arrays = zip(example.items(), tf.numpy_function(gather, [indices], dtypes), strict=True)
        return {name: tf.ensure_shape(array, [None, *one.shape[1:]]) for (name, one), array in arrays}

    return read
