"""Reading a source from TensorFlow's threads."""

import atexit
import gc
import weakref

import numpy as np
import tensorflow as tf

from data.cache import kept

_tensors = weakref.WeakKeyDictionary()


def reader(source, cache):
    """The gather of a source as a function `(indices, width=None) -> examples` of tensors, for use in a graph.

    indices: int64 `[batch]`; width: what sequences are padded to, where the source is one of sequences.
    cache: whether what was read is kept, as in `data.cache.kept`.
    """
    gather_from = kept(source, cache)
    if source.arrays is not None:
        if source not in _tensors:
            # Captured by graphs, not embedded in them; on the host, where they run. tf.constant would hold a
            # second copy until the next garbage collection.
            with tf.device("CPU:0"):
                _tensors[source] = {name: tf.identity(array) for name, array in source.arrays.items()}
        tensors = _tensors[source]
        return lambda indices, width=None: {name: tf.gather(tensor, indices) for name, tensor in tensors.items()}

    atexit.unregister(_free_iterators)
    atexit.register(_free_iterators)
    example, growing = source[np.zeros(1, np.int64)], _growing(source)
    dtypes = [array.dtype for array in example.values()]

    def gather(indices):
        found = gather_from[indices]
        return [found[name] for name in example]

    def read(indices, width=None):
        examples = {}
        arrays = zip(example.items(), tf.numpy_function(gather, [indices], dtypes), strict=True)
        for (name, one), array in arrays:
            if name in growing:
                array = tf.ensure_shape(array, [None, None, *one.shape[2:]])
                missing = [[0, 0], [0, width - tf.shape(array, tf.int64)[1]], *[[0, 0]] * (one.ndim - 2)]
                examples[name] = tf.pad(array, missing)
            else:
                examples[name] = tf.ensure_shape(array, [None, *one.shape[1:]])
        return examples

    return read


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
