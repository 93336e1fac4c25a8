"""Reading a source from TensorFlow's threads."""

import atexit
import gc
import weakref

import numpy as np
import tensorflow as tf

from data.cache import kept

_tensors = weakref.WeakKeyDictionary()


class Reader:
    """The gather of a source for use in a graph: `reader(indices, width)` is examples, tensors by name.

    cache: whether what was read is kept, as in `data.cache.kept`.
    `failure` is what the source raised last, or None.
    """

    def __init__(self, source, cache):
        self.failure = None
        self._source, self._tensors = kept(source, cache), None
        if source.arrays is not None:
            if source not in _tensors:
                # Captured by graphs, not embedded in them; on the host, where they run. tf.constant would hold a
                # second copy until the next garbage collection.
                with tf.device("CPU:0"):
                    _tensors[source] = {name: tf.identity(array) for name, array in source.arrays.items()}
            self._tensors = _tensors[source]
        else:
            self._example, self._growing = source[np.zeros(1, np.int64)], _growing(source)
            atexit.unregister(_free_iterators)
            atexit.register(_free_iterators)

    @property
    def in_memory(self):
        """Whether the whole source is in tensors."""
        return self._tensors is not None

    @property
    def row_bytes(self):
        """What an example takes, if it is in memory."""
        return sum(int(np.prod(tensor.shape[1:])) * max(1, tensor.dtype.size) for tensor in self._tensors.values())

    def __call__(self, indices, width=None):
        """The rows of int64 indices `[batch]`; what has a value for each element of a sequence is padded to `width`."""
        if self._tensors is not None:
            return {name: tf.gather(tensor, indices) for name, tensor in self._tensors.items()}
        dtypes = [array.dtype for array in self._example.values()]
        examples = dict(zip(self._example, tf.numpy_function(self._gather, [indices], dtypes), strict=True))
        for name, one in self._example.items():
            if name in self._growing:
                array = tf.ensure_shape(examples[name], [None, None, *one.shape[2:]])
                missing = [[0, 0], [0, width - tf.shape(array, tf.int64)[1]], *[[0, 0]] * (one.ndim - 2)]
                examples[name] = tf.pad(array, missing)
            else:
                examples[name] = tf.ensure_shape(examples[name], [None, *one.shape[1:]])
        return examples

    def _gather(self, indices):
        try:
            found = self._source[indices]
        except Exception as error:
            self.failure = error
            raise
        return [found[name] for name in self._example]


def _free_iterators():
    """Frees the iterators that are left while Python still answers TensorFlow's threads.

    Once Python ends, a thread that asks for it never comes back, and an iterator that is freed then waits for its
    threads for ever.
    """
    things = gc.get_objects()
    kinds = {kind for kind in set(map(type, things)) if issubclass(kind, tf.data.Iterator)}
    for thing in things:
        if type(thing) in kinds:
            vars(thing).clear()


def _growing(source):
    """The names of what has a value for each element of a sequence."""
    lengths = getattr(source, "lengths", None)
    if lengths is None:
        return ()
    ends = [source[np.array([row])] for row in (np.argmin(lengths), np.argmax(lengths))]
    if ends[0]["inputs"].shape == ends[1]["inputs"].shape:
        return ()
    return [name for name in ends[0] if ends[0][name].shape != ends[1][name].shape]
