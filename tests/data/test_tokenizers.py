"""Tokenizers: what goes in comes out, whatever it is; and the same in every process."""

import collections
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import data
from data import text

TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
CORPUS = [b"the cat sat on the mat", "the naïve café, the 猫".encode(), b"  that  hat\n\tthat\r\n"]


@pytest.fixture(scope="module")
def pairs():
    return text.BytePairs.train(CORPUS, 290)


@given(TEXTS)
def test_byte_pairs_give_every_text_back(pairs, string):
    ids = pairs.encode(string)
    assert ids.dtype == np.int32
    assert np.all((ids >= 2) & (ids < pairs.size))
    assert pairs.decode(ids) == string.encode()


@given(st.binary(max_size=40))
def test_byte_pairs_give_bytes_back_that_are_no_text(pairs, content):
    assert pairs.decode(pairs.encode(content)) == content


@given(TEXTS)
def test_characters_give_every_text_back_that_they_know(string):
    characters = text.Characters.train([string])
    assert characters.decode(characters.encode(string)) == string.encode()
    assert characters.size == 2 + len(set(string))


def learned_slowly(texts, merges):
    """Algorithm 1 of Sennrich et al., on strings of pieces, counting all pairs anew for every merge."""
    cut = re.compile(rb" ?[0-9A-Za-z\x80-\xff]+| ?[^\s0-9A-Za-z\x80-\xff]+|\s+")
    words = collections.Counter(piece for each in texts for piece in cut.findall(each))
    words = {tuple(byte + 2 for byte in word): count for word, count in words.items()}
    found = []
    for number in range(258, 258 + merges):
        counts = collections.Counter()
        for word, count in words.items():
            for place in range(len(word) - 1):
                counts[word[place : place + 2]] += count
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < 2:
            break
        found.append(best)
        joined = collections.Counter()
        for word, count in words.items():
            symbols = "".join(map(chr, word)).replace("".join(map(chr, best)), chr(number))
            joined[tuple(map(ord, symbols))] += count
        words = joined
    return tuple(found)


@given(st.lists(st.text("ab c", max_size=12).map(str.encode), max_size=6), st.integers(0, 12))
def test_byte_pairs_learn_what_the_papers_algorithm_learns(texts, merges):
    assert text.BytePairs.train(texts, 258 + merges).merges == learned_slowly(texts, merges)


def test_byte_pairs_learn_the_papers_algorithm_on_real_text():
    reviews = data.load("movie_reviews").arrays["inputs"][:60].tolist()
    assert text.BytePairs.train(reviews, 298).merges == learned_slowly(reviews, 40)


@given(st.text("theca t", max_size=20))
def test_training_texts_take_no_more_ids_than_bytes(pairs, string):
    assert len(pairs.encode(string)) <= len(string)


def test_words_are_lower_case_with_their_apostrophes():
    words = text.Words.train([b"Don't PANIC, don't!"])
    assert words.vocabulary.tokens[2:] == ("don't", "!", ",", "panic")
    assert words.decode(words.encode("Panic? Don't")) == b"panic [unknown] don't"


@given(st.lists(TEXTS, max_size=5))
def test_word_frequencies_are_those_of_a_counter(texts):
    words = text.Words.train(texts)
    counts = collections.Counter(
        token for each in texts for token in re.findall(r"\w+(?:['’]\w+)*|[^\w\s]", each.lower())
    )
    assert set(words.vocabulary.tokens[2:]) == set(counts)
    ids = np.concatenate([words.encode(each) for each in texts]) if texts else np.zeros(0, int)
    assert np.bincount(ids, minlength=words.size)[2:].tolist() == [counts[t] for t in words.vocabulary.tokens[2:]]


@given(TEXTS)
def test_word_pairs_are_the_words_and_then_their_neighbours(string):
    words, pairs = text.Words.train([string]), text.WordPairs.train([string])
    expected = words.vocabulary.decode(words.encode(string))
    expected += [f"{expected[i]} {expected[i + 1]}" for i in range(len(expected) - 1)]
    assert pairs.vocabulary.decode(pairs.encode(string)) == expected


@pytest.mark.parametrize("kind", [text.Words, text.WordPairs, text.Characters, text.BytePairs])
def test_a_saved_tokenizer_is_the_same(tmp_path, kind):
    tokenizer = kind.train(CORPUS, 270)
    tokenizer.save(tmp_path / "tokenizer.txt")
    again = kind.load(tmp_path / "tokenizer.txt")
    assert again.size == tokenizer.size
    for each in CORPUS:
        np.testing.assert_array_equal(again.encode(each), tokenizer.encode(each))


SAVE_ALL = """
import sys, data
texts = data.load("movie_reviews").arrays["inputs"][:300].tolist()
for kind in (data.text.Words, data.text.WordPairs, data.text.Characters, data.text.BytePairs):
    kind.train(texts, 400).save(f"{sys.argv[1]}/{kind.__name__}")
"""


def test_results_are_the_same_in_a_process_that_hashes_otherwise(tmp_path):
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", SAVE_ALL, str(tmp_path)]
    subprocess.run(command, cwd=Path(__file__).parents[2], env=environment, check=True)
    reviews = data.load("movie_reviews").arrays["inputs"][:300].tolist()
    for kind in (text.Words, text.WordPairs, text.Characters, text.BytePairs):
        kind.train(reviews, 400).save(tmp_path / "here")
        assert (tmp_path / kind.__name__).read_bytes() == (tmp_path / "here").read_bytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "expected lines from"),
        (b"byte_pairs 1\n5 6", ".*cut off"),
        (b"byte_pairs 1\n5 6\n5 259\n", "line 3: expected two ids from 2 to 258"),
        (b"byte_pairs 1\n1 6\n", "line 2: expected two ids"),
        (b"byte_pairs 1\n5 6\n\n", "line 3: expected two ids .* found ''"),
        (b"byte_pairs 1\n5 6\n5 6\n", "line 3: 5 6 is already in line 2"),
    ],
)
def test_a_damaged_file_of_byte_pairs_is_refused_by_its_line(tmp_path, content, reason):
    (tmp_path / "pairs.txt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"pairs\.txt: {reason}"):
        text.BytePairs.load(tmp_path / "pairs.txt")


def test_byte_pairs_refuse_what_is_none():
    with pytest.raises(ValueError, match="at least 258"):
        text.BytePairs.train([], 257)
    with pytest.raises(ValueError, match="with the id 258"):
        text.BytePairs([(2, 258)])
    with pytest.raises(ValueError, match="stands twice"):
        text.BytePairs([(2, 3), (2, 3)])
    with pytest.raises(ValueError, match=r"ids must lie in \[0, 258\)"):
        text.BytePairs([]).decode([258])
