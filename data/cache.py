"""Examples that are kept in memory once they were read."""

import os

import numpy as np

AUTO_BYTES = 1 << 30


def kept(source, cache):
    """The source with its rows kept once read, or the source itself, as `cache` has it: True, False or "auto".

    With "auto", rows are kept that take at most 1 GiB in all, unless the source says `cacheable = False`, because its
    gather costs no more than a copy. What is in memory is read there anyway. Raises ValueError for another `cache`, and
    for True where the rows do not fit the machine's memory, or are sequences of different lengths.
    """
    if cache not in (True, False, "auto") or (isinstance(cache, int) and not isinstance(cache, bool)):
        raise ValueError(f'Pipeline: cache must be True, False or "auto", found {cache!r}')
    if not cache or source.arrays is not None or (cache == "auto" and not getattr(source, "cacheable", True)):
        return source
    if getattr(source, "lengths", None) is not None:
        if cache == "auto":
            return source
        raise ValueError(f"Pipeline: cache=True can't keep the sequences of {source.info.name}; data.Sequences can")
    example = source[np.zeros(1, np.int64)]
    size = len(source) * sum(array.nbytes for array in example.values())
    texts = any(array.dtype == object for array in example.values())
    if cache == "auto":
        return source if texts or size > AUTO_BYTES else Kept(source, example)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory:
        raise ValueError(f"Pipeline: cache=True needs {size} bytes for {source.info.name}, this machine has {memory}")
    return Kept(source, example)


class Kept:
    """The rows of a source, each read once. `example` is one of them; threads may gather at the same time."""

    def __init__(self, source, example):
        self._source = source
        # The system gives the memory page by page, as rows are written.
        self._rows = {name: np.empty([len(source), *one.shape[1:]], one.dtype) for name, one in example.items()}
        self._read = np.zeros(len(source), bool)

    def __getitem__(self, indices):
        missing = indices[~self._read[indices]]
        if missing.size:
            found = self._source[missing]
            for name, rows in self._rows.items():
                rows[missing] = found[name]
            # Last, so that no thread believes a row that is not there yet.
            self._read[missing] = True
        return {name: rows[indices] for name, rows in self._rows.items()}
