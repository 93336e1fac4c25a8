"""Padding against Keras, and sources of token ids against their texts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras.utils import pad_sequences

import data
from data import text
from data.sources import texts

ENDS = st.sampled_from(["pre", "post"])
SEQUENCES = st.lists(st.lists(st.integers(0, 99), max_size=7), min_size=1, max_size=5)


@given(SEQUENCES, st.integers(1, 9) | st.none(), ENDS, ENDS, st.integers(-3, 3))
def test_padding_is_keras_padding(sequences, length, padding, truncating, value):
    if length is None and not any(sequences):
        length = 1
    options = {"padding": padding, "truncating": truncating, "value": value}
    found = text.pad(sequences, length, **options)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, pad_sequences(sequences, length, **options))


def test_padding_refuses_other_words():
    with pytest.raises(ValueError, match="truncating must be one of pre, post, found 'end'"):
        text.pad([[1]], truncating="end")
    with pytest.raises(ValueError, match="length must be at least 1, found 0"):
        text.pad([[1]], 0)


def reviews(*items):
    return data.Arrays(texts(list(items)), np.arange(len(items)) % 2, info=data.Info("reviews", 2))


@given(st.lists(st.text("ab é", max_size=8), min_size=1, max_size=6), st.integers(1, 6), ENDS, ENDS)
def test_tokens_of_a_source_are_those_of_its_texts_padded(items, length, padding, truncating):
    source, pairs = reviews(*map(str.encode, items)), text.BytePairs([])
    tokens = text.tokens(source, pairs, length, padding=padding, truncating=truncating)
    rows = np.arange(len(items))[::-1]
    expected = text.pad([pairs.encode(items[row]) for row in rows], length, padding=padding, truncating=truncating)
    np.testing.assert_array_equal(tokens[rows]["inputs"], expected)
    np.testing.assert_array_equal(tokens[rows]["labels"], source[rows]["labels"])
    assert tokens.info.input_shape == (length,)
    assert tokens.info.classes == 2
    assert len(tokens) == len(items)


@given(st.lists(st.text("ab", max_size=8), min_size=1, max_size=6), st.integers(1, 6) | st.none(), st.data())
def test_without_a_length_rows_are_as_long_as_the_longest_asked_for(items, most, draw):
    pairs = text.BytePairs([])
    tokens = text.tokens(reviews(*map(str.encode, items)), pairs, max_length=most)
    rows = np.array(draw.draw(st.lists(st.integers(0, len(items) - 1), min_size=1)))
    expected = text.pad([pairs.encode(items[row])[:most] for row in rows])
    np.testing.assert_array_equal(tokens[rows]["inputs"], expected)
    assert tokens.lengths[rows].tolist() == [max(1, len(items[row][:most])) for row in rows]


def test_sequences_may_be_cut_at_either_end():
    source, pairs = reviews(b"abc", b"d", b""), text.BytePairs([])
    for truncating, kept in (("pre", b"bc"), ("post", b"ab")):
        found = text.tokens(source, pairs, max_length=2, truncating=truncating)[np.arange(3)]["inputs"]
        assert [pairs.decode(row) for row in found] == [kept, b"d", b""]


def test_tokens_are_split_and_batched_like_any_source():
    tokens = text.tokens(reviews(*[b"a b c"[: 1 + i % 5] for i in range(20)]), text.BytePairs([]), 4)
    parts = data.split(tokens, {"train": 0.5, "validation": 0.5})
    batch = next(iter(data.Pipeline(parts["train"], 5).training(seed=0)))
    assert batch["inputs"].shape == [5, 4]
    assert batch["inputs"].dtype.name == "int32"


@given(st.lists(st.text("ab é\n", max_size=8), min_size=1, max_size=6), st.integers(1, 4), st.integers(1, 4))
def test_windows_go_along_all_texts(items, window, step):
    pairs = text.BytePairs([])
    stream = pairs.encode("".join(item + "\n" for item in items))
    if len(stream) <= window:
        with pytest.raises(ValueError, match=f"reviews has {len(stream)} tokens, expected at least {window + 1}"):
            text.windows(reviews(*map(str.encode, items)), pairs, window, step)
        return
    found = text.windows(reviews(*map(str.encode, items)), pairs, window, step).arrays
    begins = range(0, len(stream) - window, step)
    np.testing.assert_array_equal(found["inputs"], [stream[b : b + window] for b in begins])
    np.testing.assert_array_equal(found["labels"], [stream[b + 1 : b + window + 1] for b in begins])


def test_invalid_utf8_is_refused_with_its_row():
    with pytest.raises(ValueError, match=r"reviews: row 1: byte 3: not UTF-8"):
        text.tokens(reviews(b"fine", b"bad\xff"), text.BytePairs([]), 4)
    with pytest.raises(ValueError, match=r"reviews: row 1: byte 3: not UTF-8"):
        text.Words.train(text.texts_of(reviews(b"fine", b"bad\xff")))


def test_what_is_no_text_is_refused():
    with pytest.raises(TypeError, match="row 0: expected bytes, found"):
        text.tokens(data.Arrays(np.zeros([3])), text.BytePairs([]), 4)
    with pytest.raises(ValueError, match="not both"):
        text.tokens(reviews(b"a"), text.BytePairs([]), 4, max_length=3)
