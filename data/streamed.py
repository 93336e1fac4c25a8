"""How a pipeline takes batches from a source without a length, which is read from its beginning."""

import tensorflow as tf

from data.order import words
from data.plan import FOREVER
from data.sharding import rows_of
from data.weighting import weighting

_BUFFER = 10_000
_BUFFER_BYTES = 1 << 28


class Streamed:
    """Batches of a stream, shuffled in a buffer. See `Pipeline`."""

    def __init__(self, source, batch_size, steps, *, shuffle, weights):
        self._source, self._batch_size, self._steps = source, batch_size, steps
        self._weigh = None if weights is None else weighting(weights, source.info)
        self._buffer = _buffer(source.dataset().element_spec) if shuffle is True else shuffle
        if not isinstance(self._buffer, int) or self._buffer < 0:
            raise ValueError(f"Pipeline: shuffle must be True, False or a number of examples, found {shuffle!r}")

    def training(self, seed, epoch, index):
        """An endless dataset of (batch, epoch, position of its first row), from batch `index` of `epoch` on.

        What lies before that is read over.
        """

        def batches(number, skipped):
            examples = self._whole()
            if self._buffer > 1:
                examples = _shuffled(examples, self._buffer, words([2], tf.int64, seed, "stream", number))
            # Not `drop_remainder`, which would make the batch size static.
            whole = examples.batch(self._batch_size).take(self._steps)
            numbered = tf.data.Dataset.zip((whole, tf.data.Dataset.range(self._steps))).skip(skipped)
            return numbered.map(plain(lambda batch, step: (batch, number, step * self._batch_size)))

        plain = tf.autograph.experimental.do_not_convert
        # The position is in elements, not in the graph: a saved iterator can be restored from any other position.
        first, later = (tf.data.Dataset.from_tensors(tf.constant(skipped, tf.int64)) for skipped in (index, 0))
        epochs = tf.data.Dataset.zip((tf.data.Dataset.range(epoch, FOREVER), first.concatenate(later.repeat())))
        return epochs.flat_map(plain(batches))

    def evaluation(self):
        """A dataset of batches in the stream's order."""
        batches = self._whole().batch(self._batch_size)
        return batches.apply(tf.data.experimental.assert_cardinality(-(-self._source.examples // self._batch_size)))

    def examples(self, batch, shard):
        """A shard's examples of a batch, and their place in it."""
        own, place = rows_of(shard, tf.shape(batch["inputs"], tf.int64)[0])
        examples = {name: value[own] for name, value in batch.items()} if shard else batch
        return (self._weigh(examples, None) if self._weigh else examples), place

    def numbers(self, batch, shard):
        """None: examples of a stream have no numbers."""
        return

    def cause(self, error):
        """What is damaged, if the source can tell, and TensorFlow's error is one of reading."""
        damage = self._source.damage() if "Iterator" in str(error) and hasattr(self._source, "damage") else None
        return damage and ValueError(damage)

    def _whole(self):
        # Another number of examples than the source says would shift all later epochs.
        return self._source.dataset().apply(tf.data.experimental.assert_cardinality(self._source.examples))


def _buffer(spec):
    sizes = [part.shape.num_elements() for part in tf.nest.flatten(spec)]
    if any(size is None for size in sizes):
        return _BUFFER
    row = sum(size * part.dtype.size for size, part in zip(sizes, tf.nest.flatten(spec), strict=True))
    return max(1, min(_BUFFER, _BUFFER_BYTES // max(1, row)))


def _shuffled(dataset, buffer, seeds):
    """`dataset.shuffle`, whose seeds would depend on `tf.random.set_seed`, and which in a function can't be saved."""
    spec = dataset.element_spec
    parts = tf.nest.flatten(spec, expand_composites=True)
    shuffled = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(dataset),
        buffer_size=buffer,
        seed=seeds[0],
        seed2=seeds[1],
        output_types=[part.dtype for part in parts],
        output_shapes=[part.shape for part in parts],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(shuffled, spec)
