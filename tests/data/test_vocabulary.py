"""Vocabularies against `collections.Counter`, and their files, whole and damaged."""

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import text

TOKENS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6).filter(lambda t: t not in ("[pad]", "[unknown]"))
SEQUENCES = st.lists(st.lists(TOKENS, max_size=8), max_size=8)


@given(SEQUENCES, st.integers(2, 20), st.integers(1, 3))
def test_the_commonest_tokens_come_first_and_equal_ones_by_code_point(sequences, size, min_count):
    found = text.Vocabulary.build(sequences, size, min_count)
    counts = collections.Counter(token for sequence in sequences for token in sequence)
    expected = sorted(t for t in counts if counts[t] >= min_count)
    expected.sort(key=counts.get, reverse=True)
    assert list(found.tokens[2:]) == expected[: size - 2]
    assert len(found) == 2 + len(expected[: size - 2])


@given(SEQUENCES)
def test_the_order_of_the_texts_does_not_matter(sequences):
    assert text.Vocabulary.build(sequences) == text.Vocabulary.build(sequences[::-1])


@given(SEQUENCES)
def test_a_saved_vocabulary_is_the_same(tmp_path_factory, sequences):
    vocabulary, path = text.Vocabulary.build(sequences), tmp_path_factory.mktemp("saved") / "vocabulary.txt"
    vocabulary.save(path)
    assert text.Vocabulary.load(path) == vocabulary
    assert path.read_bytes().count(b"\n") == len(vocabulary)


def test_ids_are_those_of_the_tokens_and_1_is_all_else():
    vocabulary = text.Vocabulary(["a", "b"])
    ids = vocabulary.encode(["b", "?", "a"])
    assert ids.dtype == np.int32
    assert ids.tolist() == [3, 1, 2]
    assert vocabulary.decode([3, 0, 1, 2]) == ["b", "[unknown]", "a"]
    with pytest.raises(ValueError, match=r"ids must lie in \[0, 4\), found 4"):
        vocabulary.decode([2, 4])


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"", 1, "line end"),
        (b"[pad]\n", 2, "expected \\[unknown\\]"),
        (b"a\n[unknown]\n", 1, "expected \\[pad\\]"),
        (b"[pad]\n[unknown]\na\nb\na\n", 5, "'a' is already in line 3"),
        (b"[pad]\n[unknown]\n\nb\n", 3, "empty"),
        (b"[pad]\n[unknown]\na\nb", 4, "cut off"),
        (b"[pad]\n[unknown]\na\\x\n", 3, "expected"),
        (b"[pad]\r\n[unknown]\r\n", 1, "carriage return"),
    ],
)
def test_a_damaged_file_is_refused_by_its_line(tmp_path, content, line, reason):
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"vocabulary\.txt: line {line}: .*{reason}"):
        text.Vocabulary.load(path)


def test_a_file_that_is_not_utf8_is_refused_by_its_byte(tmp_path):
    (tmp_path / "v.txt").write_bytes(b"[pad]\n[unknown]\n\xff\n")
    with pytest.raises(ValueError, match=r"v\.txt: byte 16: not UTF-8"):
        text.Vocabulary.load(tmp_path / "v.txt")


@pytest.mark.parametrize("tokens", [["a", "a"], ["[pad]"], [""], [3]])
def test_tokens_that_are_none_are_refused(tokens):
    with pytest.raises(ValueError, match="with the id"):
        text.Vocabulary(tokens)
