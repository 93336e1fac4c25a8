"""The embedded movie reviews are what their README says they are."""

import hashlib
import os
import pathlib
import re
import zlib

import numpy as np
import pytest

import data
from data import embedded
from data.embedded import make_movie_reviews

FOLDER = pathlib.Path(data.__file__).with_name("embedded")
FILE = FOLDER / "movie_reviews.npz"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
SPLITS = {split: data.load("movie_reviews", split) for split in ("train", "test")}


def test_every_rated_sentence_is_in_one_split():
    assert [len(source) for source in SPLITS.values()] == [8454, 2114]
    classes = sum(np.bincount(source.arrays["labels"]) for source in SPLITS.values())
    assert classes.tolist() == [5326, 5242]


@pytest.mark.parametrize("split", SPLITS)
def test_classes_are_shared_out_evenly_and_in_no_order(split):
    labels = SPLITS[split].arrays["labels"]
    counts = np.bincount(labels)
    assert counts / len(labels) == pytest.approx(np.array([5326, 5242]) / 10568, abs=1 / len(labels))
    for count in counts:
        assert f"{count:,}" in README
    # Runs of equal labels in a fair order of n: n/2 of them, give or take √n/2.
    runs = 1 + np.count_nonzero(np.diff(labels))
    assert runs == pytest.approx(len(labels) / 2, abs=2 * len(labels) ** 0.5)


@pytest.mark.parametrize("split", SPLITS)
def test_sentences_are_utf8_without_ends_of_lines(split):
    inputs = SPLITS[split].arrays["inputs"]
    assert inputs.dtype == object
    for text in inputs:
        assert text
        assert not set(text.decode("utf-8")) & set("\r\n\t\0")
    assert SPLITS[split].info.input_shape == ()


def test_words_lean_to_the_side_that_they_should():
    def share(word):
        rows = [bool(re.search(rb"\b%s\b" % word, text.lower())) for text in SPLITS["train"].arrays["inputs"]]
        return SPLITS["train"].arrays["labels"][rows].mean()

    assert share(b"bad|dull|worst|boring") < 0.25
    assert share(b"funny|powerful|moving|best") > 0.65


def test_a_batch_is_strings_and_class_numbers():
    batch = next(iter(data.Pipeline(SPLITS["test"], 3, shuffle=False).evaluation()))
    assert batch["inputs"].numpy().tolist() == SPLITS["test"].arrays["inputs"][:3].tolist()
    assert batch["labels"].dtype.name == "int32"


def test_the_file_is_small_and_its_sha256_that_of_the_readme():
    assert FILE.stat().st_size <= 1_000_000
    found = hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert found == embedded.SHA256["movie_reviews"]
    assert f"`{found}`" in README


@pytest.mark.skipif("VADER_SDIST" not in os.environ, reason="set VADER_SDIST to the file vaderSentiment-0.5.zip")
@pytest.mark.skipif("ng" in zlib.ZLIB_RUNTIME_VERSION, reason="zlib-ng deflates to other bytes: use classic zlib")
def test_the_script_remakes_the_file_byte_for_byte():
    content = make_movie_reviews.npz(make_movie_reviews.members(os.environ["VADER_SDIST"]))
    assert content == FILE.read_bytes()
