"""Embeddings: a learned vector for each word of a vocabulary."""

import tensorflow as tf

from layers import checks
from layers.base import Layer
from layers.enforcement import enforce


class Embedding(Layer):
    """embeddings[ids]: integers `[batch, …]` in [0, input_dim) → `[batch, …, output_dim]`.

    The result is of `compute_dtype`, None for that of the variables: there is no floating input to go by.
    The gradient stays `tf.IndexedSlices`, the rows that were looked up, and never takes the whole table's memory.

    An index outside the vocabulary is an error on a CPU and on a GPU: eagerly a ValueError, in a graph an
    InvalidArgumentError, both with the layer's name. XLA cannot stop, so the vector of such an index is NaN there,
    and so is the loss.

    With `mask_zero` index 0 is padding: `compute_mask(ids)` is False there, for what takes a `padding_mask`. The
    vector of 0 is like any other.
    Field: `embeddings: [input_dim, output_dim]`. Source: Bengio et al. 2003, section 2.

    >>> embedding = Embedding(1000, 64, mask_zero=True)
    >>> embedding(tf.constant([[4, 7, 0]])).shape
    TensorShape([1, 3, 64])
    >>> embedding.compute_mask(tf.constant([[4, 7, 0]])).numpy().tolist()
    [[True, True, False]]
    """

    def __init__(
        self,
        input_dim,
        output_dim,
        *,
        mask_zero=False,
        embeddings_initializer="random_uniform",
        compute_dtype=None,
        dtype=tf.float32,
    ):
        super().__init__(dtype)
        self.input_dim = checks.positive(self, "input_dim", input_dim)
        self.output_dim = checks.positive(self, "output_dim", output_dim)
        self.mask_zero = bool(mask_zero)
        self.compute_dtype = None if compute_dtype is None else tf.as_dtype(compute_dtype)
        if self.compute_dtype is not None and not self.compute_dtype.is_floating:
            raise ValueError(f"{self!r}: compute_dtype must be a floating type, found {self.compute_dtype.name}")
        self.embeddings = self.variable("embeddings", [self.input_dim, self.output_dim], embeddings_initializer)

    def last_dimension(self, size):
        """`output_dim`, whatever the input's."""
        return self.output_dim

    def compute_mask(self, ids):
        """bool, of the shape of `ids`: False at 0. None without `mask_zero`."""
        return tf.not_equal(self._take(ids), 0) if self.mask_zero else None

    def __call__(self, ids):
        """embeddings[ids]."""
        ids = self._take(ids)
        known = (ids >= 0) & (ids < self.input_dim)
        return enforce(self, known, f"ids must lie in [0, {self.input_dim})", ids, lambda: self._look_up(ids))

    def _look_up(self, ids):
        # The rows are cast, and not the table: it may be large.
        return tf.cast(tf.gather(self.embeddings, ids), self.compute_dtype or self.dtype)

    def _take(self, ids):
        ids = tf.convert_to_tensor(ids)
        if not ids.dtype.is_integer:
            raise TypeError(f"{self!r} looks up integers, found ids of {ids.dtype.name}")
        return ids if ids.dtype in (tf.int32, tf.int64) else tf.cast(ids, tf.int64)
