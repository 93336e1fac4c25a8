"""Several sources as one."""

import dataclasses
import functools

import numpy as np

from data.sources import check_indexed


def concatenate(sources):
    """One source of the examples of `sources`, in their order: those of the first, then those of the second, ….

    They must agree in what their examples hold (names, dtypes, shapes) and in classes. Raises ValueError naming the
    source that differs.

    >>> from data import Arrays
    >>> both = concatenate([Arrays(np.arange(3)), Arrays(np.arange(10, 12))])
    >>> len(both), both[np.array([4, 0])]["inputs"]
    (5, array([11,  0]))
    """
    return Concatenation(tuple(sources))


class Concatenation:
    """What `concatenate` makes: in memory if all its parts are, of sequences if all its parts are."""

    def __init__(self, sources):
        if not sources:
            raise ValueError("concatenate: expected at least one source, found none")
        for source in sources:
            check_indexed("concatenate", source)
        self.sources = sources
        first, *others = [_facts(source) for source in sources]
        for number, facts in enumerate(others, 1):
            for what, value in facts.items():
                if value != first[what]:
                    differs = f"{what} of source {number} ({sources[number].info.name}) are {value}"
                    raise ValueError(f"concatenate: {differs}, those of source 0 are {first[what]}")
        infos = [source.info for source in sources]
        joined = {
            part: separator.join(dict.fromkeys(getattr(info, part) for info in infos if getattr(info, part)))
            for part, separator in (("name", "+"), ("licence", "; "))
        }
        self.info = dataclasses.replace(infos[0], **joined)
        self._ends = np.cumsum([len(source) for source in sources])

    def __len__(self):
        return int(self._ends[-1])

    def __getitem__(self, indices):
        indices = np.asarray(indices)
        numbers = np.searchsorted(self._ends, indices, side="right")
        parts = []
        for number in np.unique(numbers):
            rows = np.flatnonzero(numbers == number)
            source = self.sources[number]
            parts.append((rows, source[indices[rows] - (self._ends[number] - len(source))]))
        # Sequences are padded to the longest of all parts.
        shapes = {name: np.max([part[name].shape[1:] for _, part in parts], axis=0) for name in parts[0][1]}
        joined = {}
        for name, shape in shapes.items():
            joined[name] = np.zeros([len(indices), *shape.astype(int)], parts[0][1][name].dtype)
            for rows, part in parts:
                joined[name][(rows, *map(slice, part[name].shape[1:]))] = part[name]
        return joined

    @functools.cached_property
    def arrays(self):
        """The arrays of all parts in a row, a copy; None if one of the parts is not in memory."""
        parts = [source.arrays for source in self.sources]
        if any(part is None for part in parts):
            return None
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @functools.cached_property
    def lengths(self):
        """Those of all parts in a row, or None."""
        parts = [getattr(source, "lengths", None) for source in self.sources]
        return None if parts[0] is None else np.concatenate(parts)

    @property
    def cacheable(self):
        """Whether reading any part is more than copying."""
        return any(getattr(source, "cacheable", True) for source in self.sources)


def _facts(source):
    sequences = getattr(source, "lengths", None) is not None
    example = source[np.zeros(1, np.int64)]
    facts = {name: (str(array.dtype), "sequences" if sequences else array.shape[1:]) for name, array in example.items()}
    return {"classes": source.info.classes, "class names": source.info.class_names, "examples": facts}
