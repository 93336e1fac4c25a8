"""What tests of feeding share: sources that are not in memory, and batches compared bit for bit."""

import numpy as np

import data


class OnDisk:
    """A source that is not in memory: its examples are made as they are asked for, and it notes for whom."""

    arrays = None

    def __init__(self, length):
        self.length, self.seen = length, []
        self.info = data.Info("on_disk", 3, input_shape=(2,))

    def __len__(self):
        return self.length

    def __getitem__(self, indices):
        self.seen.extend(np.asarray(indices).tolist())
        return {"inputs": np.stack([indices, -indices], axis=1), "labels": (indices % 3).astype(np.int32)}


def noisy(batch, draws):
    return {**batch, "noise": draws.uniform(3), "coin": draws.uniform()}


def taken(dataset, count):
    return list(dataset.take(count).as_numpy_iterator())


def assert_equal_batches(found, expected):
    """Elements of datasets: batches, or (examples, first_row, rows)."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, tuple):
            assert one[1:] == other[1:]
            one, other = one[0], other[0]
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype
            np.testing.assert_array_equal(one[name], other[name])
