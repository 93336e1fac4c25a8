"""The plan of an epoch: which examples each of its batches holds."""

import tensorflow as tf

from data.order import shuffled, words

FOREVER = 2**63 - 1
_WINDOW = 64


class Plan:
    """The batches of an epoch, planned in windows of up to 64 at a time.

    examples, batch_size, steps: of an epoch. The last batch may be short.
    shuffle: the order is a permutation of (seed, epoch), else the source's.
    lengths: of a source's sequences. With `shuffle`, the permutation is cut into windows; a window is sorted by length,
        cut into batches, and these are shuffled. So a batch is of like lengths, and what comes in a window is drawn
        from the whole. A short batch, which is an epoch's last, is as it was drawn.
    drawn: `drawn(indices, epoch)` says which examples of the source those of an epoch are, if not themselves.
    """

    def __init__(self, examples, batch_size, steps, *, shuffle, lengths=None, drawn=None):
        self._examples, self._batch_size, self._steps = examples, batch_size, steps
        self._shuffle, self._lengths, self._drawn = shuffle, lengths, drawn
        self._windows = -(-steps // _WINDOW)

    def batches(self, seed, epoch, index):
        """An endless dataset of batches from batch `index` of `epoch` on: (batch, epoch, first).

        batch: its `indices`, `[batch_size]`, of which so many `rows` count, fewer where the batch is short; first:
        the position in the epoch of its first row. All int64.
        """
        first = epoch * self._windows + index // _WINDOW
        windows = tf.data.Dataset.range(first, FOREVER).map(
            tf.autograph.experimental.do_not_convert(lambda window: self._window(window, seed)), 1
        )
        return windows.unbatch().skip(index % _WINDOW)

    def runs(self, seed, epoch, index, most):
        """An endless dataset of up to `most` batches in a row and of one size: (indices, number, epoch, first).

        indices: `[most, batch_size]`, of which the first `number` batches count; of a short batch, which comes by
        itself, `[1, rows]`. first: the position in the epoch of the first row. All int64. Not for sequences.
        """
        # Python's numbers would be int32.
        epoch, index, most, one, size = (
            tf.constant(n, tf.int64) if isinstance(n, int) else n for n in (epoch, index, most, 1, self._batch_size)
        )
        whole = min(self._steps, self._examples // self._batch_size)
        short = self._examples - whole * self._batch_size if self._steps > whole else 0
        in_epoch = -(-whole // most) + int(short > 0)
        in_first = -((index - whole) // most) + int(short > 0)

        def run(number):
            later = tf.maximum(number - in_first, 0)
            of_epoch, begin = tf.cond(
                number < in_first,
                lambda: (epoch, index + number * most),
                lambda: (epoch + 1 + later // in_epoch, later % in_epoch * most),
            )
            begin = tf.minimum(begin, whole)
            is_short = begin == whole
            capacity, rows = tf.where(is_short, one, most), tf.where(is_short, one * short, size)
            number = tf.where(is_short, one, tf.minimum(most, whole - begin))
            # What does not count is the last row that does.
            positions = begin * size + tf.minimum(tf.range(capacity * rows), number * rows - 1)
            indices = tf.reshape(self._indices(positions, seed, of_epoch), tf.stack([capacity, rows]))
            return indices, number, of_epoch, begin * size

        return tf.data.Dataset.range(FOREVER).map(tf.autograph.experimental.do_not_convert(run), 1)

    def _indices(self, positions, seed, epoch):
        """The examples at `positions`; beyond the epoch's end, that at its end."""
        indices = tf.minimum(positions, self._examples - 1)
        if self._shuffle:
            indices = shuffled(indices, self._examples, seed, epoch)
        return self._drawn(indices, epoch) if self._drawn else indices

    def _window(self, window, seed):
        epoch, first = window // self._windows, window % self._windows * _WINDOW
        batches = tf.minimum(self._steps - first, _WINDOW)
        begins = tf.range(first, first + batches) * self._batch_size
        positions = tf.range(first * self._batch_size, (first + batches) * self._batch_size)
        indices = self._indices(positions, seed, epoch)
        if self._shuffle and self._lengths is not None:
            indices = self._of_like_lengths(indices, first, seed, epoch)
        rows = tf.minimum(self._examples - begins, self._batch_size)
        batch = {"indices": tf.reshape(indices, [-1, self._batch_size]), "rows": rows}
        return batch, tf.fill([batches], epoch), begins

    def _of_like_lengths(self, indices, first, seed, epoch):
        whole = tf.minimum(self._examples // self._batch_size - first, _WINDOW)
        sortable, rest = indices[: whole * self._batch_size], indices[whole * self._batch_size :]
        # Keys without ties: the order must not depend on what a sort makes of equal lengths.
        most = _WINDOW * self._batch_size
        keys = tf.gather(self._lengths, sortable) * most + tf.range(tf.size(sortable, tf.int64))
        batches = tf.reshape(tf.gather(sortable, tf.sort(keys) % most), [-1, self._batch_size])
        order = tf.argsort(words([_WINDOW], tf.int64, seed, "batches", epoch, block=first)[:whole])
        return tf.concat([tf.reshape(tf.gather(batches, order), [-1]), rest], axis=0)
