"""The pipeline: in which order, in which batches and in which form a source is read."""

import math
import operator
import os

import tensorflow as tf

from data.draws import Draws
from data.indexed import Indexed
from data.marks import is_by_example
from data.sharding import checked_shard, rows_of
from data.stateless import check_stateless
from data.streamed import Streamed
from data.traced import Traced

_WORKERS = min(16, os.cpu_count() or 1)
_MOST_WORKERS = 256
# How many batches are ready before they are asked for: two keep a step from waiting, more only where they are small.
_AHEAD = 8
_LEAST_AHEAD = 2
_AHEAD_BYTES = 2 << 20


class Pipeline:
    """Batches of a source, as a function of (seed, epoch, index): whoever trains holds these three.

    An epoch is a permutation of the source, stateless and global, or the source's order without `shuffle`. It
    is cut into batches of `batch_size`, of which the last may be short; `drop_remainder` leaves that one out.
    A batch is a dict of tensors `[batch, …]`, its static batch size None. In training,
    `augment(batch, draws) -> batch` sees the source's own dtypes (uint8 images) before
    `transform(batch) -> batch`, which evaluation applies as well; labels and weights may change in both. They are
    traced once per dataset, and not converted by AutoGraph: an `if` on a tensor needs `tf.cond` or a `tf.function` of
    its own.

    weights: a mapping from class numbers to how much their examples count (classes that it lacks count 1), or an array
        of one weight for each example. They are multiplied with the source's own, in training and in evaluation, and
        `augment` and `transform` find the product in the batch.
    cache: whether what a source reads that is not in memory is kept there. "auto": if all of it takes at most 1 GiB,
        and reading is more than copying; True: always, an error where it exceeds the machine's memory; False: never.
    workers: threads that read and prepare batches, by default one for each core and at most 16. `source[indices]`
        is called from several of them at a time.

    Sequences, a source with `lengths`, come in batches of like lengths, padded as `data.sources` says: a shuffled epoch
    is sorted by length within windows of 64 batches, whose order is shuffled again. `data.widths.widths` says how much
    of them is padding.

    A stream, a source whose `length` is None, is shuffled in a buffer, a function of (seed, epoch) too: of 10,000
    examples, or as many as 256 MiB hold, or `shuffle` many. It is read from its beginning up to a position; to go on at
    once, an iterator has to be saved (`saves_iterator` is True then, and trainers do it), buffer included. So nothing
    in it may have a state: a random operation without a seed of its own, a Python function, a generator.

    Several processes read one pipeline with `shard=(number, count)`, each only its own examples. An element is then
    a tuple `(examples, first_row, rows)`: part `number` of the batch's `count` contiguous parts, the row of the
    batch at which it begins (int64), and how many rows it has (int32). Of n rows, part p of P begins at ⌊n·p/P⌋ and
    ends before ⌊n·(p+1)/P⌋. A part is what these rows are in the whole batch, bit for bit, as long as `augment` and
    `transform` treat each example by itself. An `augment` that mixes examples has the attribute `whole_batch = True`:
    it is then given all n rows, and each process takes its part of the result. If a part is empty, `rows` is 0 and
    `examples` is one row, its neighbour.

    Raises ValueError unless 1 <= batch_size <= len(source), and for options that are none.
    """

    def __init__(
        self,
        source,
        batch_size,
        *,
        shuffle=True,
        drop_remainder=False,
        augment=None,
        transform=None,
        weights=None,
        cache="auto",
        workers=_WORKERS,
    ):
        self.source = source
        self.info = source.info
        self.saves_iterator = getattr(source, "length", 0) is None
        self.examples = source.examples if self.saves_iterator else len(source)
        self.batch_size = _count("batch_size", batch_size, self.examples, f", the size of {source.info.name}")
        whole, short = divmod(self.examples, self.batch_size)
        self.steps_per_epoch = whole + (short > 0 and not drop_remainder)
        self._workers = _count("workers", workers, _MOST_WORKERS)
        self._augment = augment
        self._transform = transform
        self._by_example = all(function is None or is_by_example(function) for function in (augment, transform))
        options = {"shuffle": shuffle, "weights": weights}
        if self.saves_iterator:
            if cache is True:
                raise ValueError(f"Pipeline: cache=True can't keep {source.info.name}, which is a stream")
            self._batches = Streamed(source, self.batch_size, self.steps_per_epoch, **options)
        else:
            self._batches = Indexed(source, self.batch_size, self.steps_per_epoch, cache=cache, **options)
        self._trainings, self._evaluations = {}, {}

    def training(self, seed, epoch=0, index=0, *, shard=None):
        """An endless `tf.data.Dataset` from batch `index` of epoch `epoch` on, through all later epochs.

        It yields exactly what `training(seed)` yields from there on, augmentation included, and starts at
        once, wherever that is, but for a stream. `seed` is any Python integer. `index` may be `steps_per_epoch`,
        which is the next epoch's start. Raises ValueError for a position that no run can have, a shard that is none,
        and a stream with something in it that has a state.

        >>> import data, numpy as np
        >>> pipeline = data.Pipeline(data.Arrays(np.arange(5)), batch_size=2)
        >>> epoch = [batch["inputs"].numpy() for batch in pipeline.training(seed=0).take(3)]
        >>> sorted(np.concatenate(epoch).tolist()), len(epoch[-1])
        ([0, 1, 2, 3, 4], 1)
        """
        epoch, index = self._place(epoch, index)
        shard = checked_shard(shard)
        if self.saves_iterator:
            dataset = self._training(seed, epoch, index, shard)
            check_stateless(dataset)
            return dataset
        # Traced once, wherever fits begin.
        key = operator.index(seed), shard
        if key not in self._trainings:
            self._trainings[key] = Traced(lambda epoch, index: self._training(seed, epoch, index, shard))
        return self._trainings[key](epoch, index)

    def _place(self, epoch, index):
        if epoch < 0 or not 0 <= index <= self.steps_per_epoch:
            raise ValueError(
                f"training: expected epoch >= 0 and index from 0 to {self.steps_per_epoch}, "
                f"found epoch {epoch} and index {index}"
            )
        return epoch + index // self.steps_per_epoch, index % self.steps_per_epoch

    def _training(self, seed, epoch, index, shard):
        # What mixes examples is given all of them, whoever takes a part.
        mixes = getattr(self._augment, "whole_batch", False)

        def batch(taken, epoch, first):
            part = None if mixes else shard
            examples, place = self._batches.examples(taken, part)
            if self._augment:
                rows = tf.shape(examples["inputs"], tf.int64)[0]
                numbers = self._batches.numbers(taken, part)
                examples = self._augment(examples, Draws(seed, epoch, first + place[0], rows, numbers))
            if mixes and shard:
                own, place = rows_of(shard, rows)
                examples = {name: value[own] for name, value in examples.items()}
            return self._element(examples, place, shard)

        return self._mapped(self._batches.training(seed, epoch, index), batch)

    def stacks(self, most, seed, epoch=0, index=0):
        """`training(seed, epoch, index)`, up to `most` batches at a time; None where they can't be made together.

        An endless `tf.data.Dataset` of (batches, number): tensors `[capacity, batch, …]`, of which the first `number`
        batches count. An epoch's short last batch comes by itself, `[1, rows, …]`. That is a tenth of the work that as
        many batches make, where a batch is small. Its examples are those of `training`, bit for bit. The capacity is
        one that cuts an epoch into equal parts, of no more than 16 MiB as the source has them.

        None: for sequences, for a source that is not in memory, with an `augment` or `transform` which does not say
        that it treats each example by itself (`data.by_example`; those of `data` say it), and where `training` is not
        this class's own.

        >>> import data, numpy as np
        >>> stacks = data.Pipeline(data.Arrays(np.arange(7)), batch_size=2, shuffle=False).stacks(2, seed=0)
        >>> [(batches["inputs"].numpy().tolist(), int(number)) for batches, number in stacks.take(3)]
        [([[0, 1], [2, 3]], 2), ([[4, 5], [5, 5]], 1), ([[6]], 1)]
        """
        epoch, index = self._place(epoch, index)
        most = _count("most", most, self.steps_per_epoch + operator.index(most))
        other = type(self).training is not Pipeline.training or "training" in vars(self)
        if other or self.saves_iterator or not self._by_example or not self._batches.stackable:
            return None
        key = "stacks", operator.index(seed), most
        if key not in self._trainings:
            capacity = self._batches.capacity(most)
            self._trainings[key] = Traced(lambda epoch, index: self._stacks(capacity, seed, epoch, index))
        return self._trainings[key](epoch, index)

    def _stacks(self, capacity, seed, epoch, index):
        def stack(indices, number, epoch, first):
            flat = tf.reshape(indices, [-1])
            examples = self._batches.rows(flat)
            if self._augment:
                examples = self._augment(examples, Draws(seed, epoch, first, tf.size(flat, tf.int64), flat))
            examples = self._transform(examples) if self._transform else examples
            return tf.nest.map_structure(lambda rows: _as_stack(rows, tf.shape(indices)), examples), number

        runs = self._batches.runs(seed, epoch, index, capacity)
        # A gather is done before it is handed out.
        return self._mapped(runs, stack, workers=self._workers if self._augment else 1, ahead=1)

    def evaluation(self, *, shard=None):
        """A finite `tf.data.Dataset` in the source's order: nothing shuffled, augmented or dropped.

        Raises ValueError for a shard that is none.
        """
        shard = checked_shard(shard)
        # Traced once, however often a run evaluates.
        if shard not in self._evaluations:
            self._evaluations[shard] = self._mapped(
                self._batches.evaluation(), lambda taken: self._element(*self._batches.examples(taken, shard), shard)
            )
        return self._evaluations[shard]

    def cause(self, error):
        """The source's own exception, which names file or row, behind a `tf.errors.OpError` of reading; or None."""
        return self._batches.cause(error)

    def _element(self, examples, place, shard):
        examples = self._transform(examples) if self._transform else examples
        return (examples, *place) if shard else examples

    def _mapped(self, steps, batch, *, workers=None, ahead=None):
        # AutoGraph would take several times as long to trace, and bury an augmentation's error under its own.
        plain = tf.autograph.experimental.do_not_convert(batch)
        options = tf.data.Options()
        # The rewriter finds nothing to do here, but serialises the whole source to look, for every iterator.
        options.experimental_optimization.apply_default_optimizations = False
        # Its tuner keeps a dropped iterator alive until the tuner's next look, which can be a minute away.
        options.autotune.enabled = False
        batches = steps.map(plain, workers or self._workers, deterministic=True)
        return batches.prefetch(ahead or _ahead(batches.element_spec, self.batch_size)).with_options(options)


def _ahead(spec, rows):
    """How many batches of a spec to keep ready: those of unknown sizes are taken for small."""
    parts = [part for part in tf.nest.flatten(spec) if part.shape[1:].is_fully_defined()]
    size = rows * sum(part.dtype.size * math.prod(part.shape[1:]) for part in parts)
    return min(_AHEAD, max(_LEAST_AHEAD, _AHEAD_BYTES // max(1, size)))


def _as_stack(rows, sizes):
    """Rows as batches of `sizes`: (how many, rows of each)."""
    stack = tf.reshape(rows, tf.concat([sizes, tf.shape(rows)[1:]], axis=0))
    return tf.ensure_shape(stack, [None, None, *rows.shape[1:]])


def _count(name, value, most, what=""):
    try:
        if 1 <= operator.index(value) <= most and not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise ValueError(f"Pipeline: {name} must be an integer from 1 to {most}{what}, found {value!r}")
