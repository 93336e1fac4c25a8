"""What was read once is not read again where it is kept, and is the same."""

import os

import numpy as np
import pytest
from feeding import OnDisk, assert_equal_batches, taken

import data
from data import cache as caches


def seen_over_epochs(source, cache):
    pipeline = data.Pipeline(source, 4, cache=cache, workers=1)
    batches = taken(pipeline.training(3), 3 * pipeline.steps_per_epoch)
    batches += taken(pipeline.evaluation(), -1)
    return batches, source.seen


@pytest.mark.parametrize("cache", ["auto", True])
def test_each_example_is_read_once(cache):
    found, seen = seen_over_epochs(OnDisk(11), cache)
    # One example shows shapes and dtypes, to the cache and to the reader.
    assert sorted(seen[2:]) == list(range(11))
    assert_equal_batches(found, seen_over_epochs(OnDisk(11), False)[0])


def test_without_a_cache_examples_are_read_whenever_they_are_due():
    _, seen = seen_over_epochs(OnDisk(11), False)
    assert all(seen.count(row) >= 4 for row in range(11))


def test_threads_that_read_the_same_rows_at_once_get_them(monkeypatch):
    pipeline = data.Pipeline(OnDisk(40), 8, workers=4)
    for epoch in range(3):
        batches = taken(pipeline.training(1, epoch), 5)
        assert sorted(np.concatenate([batch["inputs"][:, 0] for batch in batches])) == list(range(40))


def test_what_takes_more_than_the_budget_is_not_kept_unless_asked_for(monkeypatch):
    # An example is 2 int64 and an int32.
    monkeypatch.setattr(caches, "AUTO_BYTES", 11 * 20 - 1)
    assert not isinstance(caches.kept(OnDisk(11), "auto"), caches.Kept)
    assert isinstance(caches.kept(OnDisk(10), "auto"), caches.Kept)
    assert isinstance(caches.kept(OnDisk(11), True), caches.Kept)


def test_what_does_not_fit_the_machine_is_refused():
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with pytest.raises(ValueError, match=rf"cache=True needs \d+ bytes for on_disk, this machine has {memory}$"):
        data.Pipeline(OnDisk(memory // 19), 4, cache=True)


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "rows.npy", np.arange(20.0))
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


def test_sources_whose_gather_is_a_copy_are_not_kept_unless_asked_for(tmp_path, mapped):
    (tmp_path / "train.txt").write_text("to be or not to be, that is the question")
    characters = data.load("char_text", data_dir=tmp_path, window=5)
    for source in (data.Arrays(mapped), data.Subset(data.Arrays(mapped), [3, 1]), characters):
        assert source.arrays is None
        assert caches.kept(source, "auto") is source
        assert isinstance(caches.kept(source, True), caches.Kept)


def test_strings_are_kept_if_asked_for(tmp_path):
    (tmp_path / "train.txt").write_text("one\nzwei é\ndrei\n")
    lines = data.load("text_lines", data_dir=tmp_path)
    assert caches.kept(lines, "auto") is lines
    pipeline = data.Pipeline(lines, 2, cache=True)
    for _ in range(2):
        batches = taken(pipeline.training(0), 2)
        texts = {text for batch in batches for text in batch["inputs"].tolist()}
        assert texts == {b"one", "zwei é".encode(), b"drei"}


def test_what_is_in_memory_is_left_there_and_sequences_are_not_kept():
    in_memory = data.Arrays(np.arange(3))
    assert caches.kept(in_memory, True) is in_memory
    sequences = data.Sequences([[1], [2, 3]])
    assert caches.kept(sequences, "auto") is sequences
    with pytest.raises(ValueError, match=r"cache=True can't keep the sequences of sequences; data.Sequences can"):
        data.Pipeline(sequences, 1, cache=True)


@pytest.mark.parametrize("cache", ["always", None, 1, 0.5])
def test_another_cache_is_refused(cache):
    with pytest.raises(ValueError, match=f'cache must be True, False or "auto", found {cache!r}'):
        data.Pipeline(OnDisk(3), 1, cache=cache)


@pytest.mark.parametrize("workers", [0, -1, 257, 1.5, None, True])
def test_workers_are_a_number_of_threads(workers):
    with pytest.raises(ValueError, match=f"workers must be an integer from 1 to 256, found {workers!r}"):
        data.Pipeline(OnDisk(3), 1, workers=workers)
