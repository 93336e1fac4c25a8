"""Sources: what the examples are, without an order.

A source answers `len(source)` and `source[indices]`, a vectorised gather from a 1-D array of integers to
a dict of NumPy arrays (`inputs`, `labels`, optionally `weights`), each with `len(indices)` rows. It carries
`info`, and `arrays`: the whole dict when it is in memory, None otherwise. Any class with these four will do,
as long as its objects can be hashed, which they can unless it defines `__eq__`. Text is an array of Python `bytes`,
UTF-8, which TensorFlow takes for strings.

A source of sequences also has `lengths`, an integer array `[examples]`: how many elements each of its `inputs` has. Its
gather pads with zeros at the ends, to the longest of the rows asked for: `inputs [rows, max(lengths[indices])]`, and
likewise whatever else has a value for each element (`labels`, `weights`). Of such a source a pipeline makes batches of
like lengths, `inputs [batch, time]`, padded with zeros to one of at most 7 widths, and adds `lengths`, int32 `[batch]`.
What layers take as a mask is then `inputs != 0` (`Embedding.compute_mask`), or `tf.sequence_mask(lengths, time)`.
`data.Sequences` is one in memory.

More that a source may have: `labels`, all of them, where they are known without reading the examples; `cacheable =
False`, where it is not in memory but its gather costs no more than a copy. A view that holds other examples of its
`source` in every epoch has `drawn(indices, epoch)`, a function of int64 tensors: a pipeline reads
`source[drawn(indices, epoch)]` (`data.balanced`).

A stream has no length: its `length` is None, and instead of the gather it has `dataset(shard=None)`, a finite
`tf.data.Dataset` of single examples, dicts of tensors, in an order that is always the same, made of stateless
operations, so that its iterators can be saved. `shard=(number, count)` is one of `count` disjoint parts of it.
`examples` says how many there are in all.
"""

import dataclasses
import functools

import numpy as np


@dataclasses.dataclass(frozen=True)
class Info:
    """What is known of a data set beside its examples.

    `classes` is None where labels are no class numbers; `input_shape` is that of one example.
    """

    name: str
    classes: int | None = None
    class_names: tuple[str, ...] = ()
    input_shape: tuple[int, ...] = ()
    licence: str = ""

    def __post_init__(self):
        if self.class_names and len(self.class_names) != self.classes:
            raise ValueError(f"{self.name}: {self.classes} classes have {len(self.class_names)} class_names")


class Arrays:
    """A source in memory.

    `inputs [examples, …]`, `labels [examples, …]` and `weights [examples, …]` keep their dtypes and are not
    copied. Where `info.classes` is given, labels are class numbers and are checked to be integers in
    `[0, classes)`. `info.input_shape` is always taken from `inputs`. If one of them is memory-mapped (`np.memmap`),
    none counts as in memory: `arrays` is None, and labels are checked as they are read. Raises ValueError or TypeError.

    >>> source = Arrays(np.zeros([3, 2]), labels=[0, 1, 1], info=Info("xor", classes=2))
    >>> len(source), source.info.input_shape, source[np.array([2, 0])]["labels"]
    (3, (2,), array([1, 0]))
    """

    # Memory-mapped or not.
    cacheable = False

    @property
    def labels(self):
        """All labels, or None."""
        return self._arrays.get("labels")

    def __init__(self, inputs, labels=None, weights=None, *, info=None):
        given = {"inputs": inputs, "labels": labels, "weights": weights}
        self._arrays = {name: np.asarray(array) for name, array in given.items() if array is not None}
        mapped = any(isinstance(array, np.memmap) for array in given.values())
        self.arrays = None if mapped else self._arrays
        self.info = dataclasses.replace(info or Info("arrays"), input_shape=self._arrays["inputs"].shape[1:])
        shapes = {name: array.shape for name, array in self._arrays.items()}
        if len({shape[:1] for shape in shapes.values()}) != 1 or not shapes["inputs"]:
            raise ValueError(f"{self.info.name}: arrays must have the same first dimension, found {shapes}")
        if len(self) == 0:
            raise ValueError(f"{self.info.name}: expected at least one example, found {shapes}")
        if not mapped:
            check_labels(self._arrays, self.info)
            check_weights(self._arrays, self.info)

    def __len__(self):
        return len(self._arrays["inputs"])

    def __getitem__(self, indices):
        rows = {name: array[indices] for name, array in self._arrays.items()}
        if self.arrays is None:
            check_labels(rows, self.info, indices)
            check_weights(rows, self.info, indices)
        return rows


class Subset:
    """The examples of another source at `indices`, in that order; an index may come twice.

    Raises TypeError or ValueError for indices that are not a 1-D array of integers in `[0, len(source))`.
    """

    def __init__(self, source, indices):
        indices = np.asarray(indices)
        if indices.ndim != 1 or indices.size == 0:
            raise ValueError(f"Subset: indices must be 1-D and not empty, found shape {indices.shape}")
        if indices.dtype.kind not in "iu":
            raise TypeError(f"Subset: indices must be integers, found {indices.dtype}")
        outside = np.flatnonzero((indices < 0) | (indices >= len(source)))
        if outside.size:
            first = outside[0]
            raise ValueError(f"Subset: indices[{first}] is {indices[first]}, expected 0 to {len(source) - 1}")
        self.source = source
        self.indices = indices
        self.info = source.info

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, indices):
        return self.source[self.indices[indices]]

    @property
    def lengths(self):
        """Those of the underlying sequences, or None."""
        return self._taken("lengths")

    @property
    def labels(self):
        """Those of the underlying source where it knows them without reading, or None."""
        return self._taken("labels")

    @property
    def cacheable(self):
        """Whether reading the underlying source is more than copying."""
        return getattr(self.source, "cacheable", True)

    @functools.cached_property
    def arrays(self):
        """A gathered copy of the underlying arrays, or None when those are not in memory."""
        return None if self.source.arrays is None else self.source[self.indices]

    def _taken(self, name):
        found = getattr(self.source, name, None)
        return None if found is None else found[self.indices]


def check_indexed(who, source):
    """ValueError, naming who asks, for a stream: its examples can't be picked."""
    if getattr(source, "length", 0) is None:
        raise ValueError(f"{who}: {source.info.name} is a stream, whose examples can't be picked: make files of them")


def texts(items):
    """A 1-D array of `bytes` from a list of them; NumPy's own `S` would drop zero bytes at their ends."""
    array = np.empty(len(items), object)
    array[:] = items
    return array


def check_weights(arrays, info, rows=None):
    """Refuse weights below 0; `rows` as in `check_labels`. ValueError names the data set, the row and the weight."""
    below = np.argwhere(arrays["weights"] < 0) if "weights" in arrays else np.empty(0)
    if below.size:
        row, value = below[0][0], arrays["weights"][tuple(below[0])]
        row = row if rows is None else rows[row]
        raise ValueError(f"{info.name}: the weight in row {row} is {value}, expected 0 or more")


def check_labels(arrays, info, rows=None):
    """Refuse labels that are no class numbers of `info`; `rows` are the numbers of the rows, unless 0, 1, ….

    Raises TypeError or ValueError naming the data set, the row and the label.
    """
    if info.classes is None or "labels" not in arrays:
        return
    labels = arrays["labels"]
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{info.name}: {info.classes} classes need integer labels, found {labels.dtype}")
    outside = np.argwhere((labels < 0) | (labels >= info.classes))
    if outside.size:
        row, value = outside[0][0], labels[tuple(outside[0])]
        row = row if rows is None else rows[row]
        raise ValueError(f"{info.name}: the label in row {row} is {value}, expected 0 to {info.classes - 1}")
