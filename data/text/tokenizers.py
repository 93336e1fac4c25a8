"""Tokenizers with a vocabulary: text is cut into words, with or without pairs of them, or into characters."""

import itertools
import re

import numpy as np

from data.text.vocabulary import Vocabulary

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


class _Tokenizer:
    """`_cut(text)` with the ids of a vocabulary."""

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary

    @classmethod
    def train(cls, texts, size=None, min_count=1):
        """The tokenizer with the vocabulary of `texts`: see `Vocabulary.build`."""
        return cls(Vocabulary.build((cls._cut(decoded(text)) for text in texts), size, min_count))

    @classmethod
    def load(cls, path):
        """The tokenizer with a saved vocabulary."""
        return cls(Vocabulary.load(path))

    def save(self, path):
        """Writes the vocabulary, which is all that it is."""
        self.vocabulary.save(path)

    @property
    def size(self):
        """How many ids there are."""
        return len(self.vocabulary)

    def encode(self, text):
        """int32 ids of a text."""
        return self.vocabulary.encode(self._cut(decoded(text)))

    def decode(self, ids):
        """UTF-8 bytes: the tokens side by side, with `separator` between, and `[unknown]` where the id is 1."""
        return self._separator.join(self.vocabulary.decode(ids)).encode()


class Words(_Tokenizer):
    """Words in lower case, with what follows an apostrophe, and every other visible character by itself.

    >>> words = Words.train([b"Not good.", b"It isn't GOOD!"])
    >>> words.vocabulary.tokens[2:5], words.decode(words.encode("Good, isn't it?"))
    (('good', '!', '.'), b"good [unknown] isn't it [unknown]")
    """

    _separator = " "

    @staticmethod
    def _cut(text):
        return _WORD.findall(text.lower())


class WordPairs(_Tokenizer):
    """The words of `Words`, and behind them every two neighbours as one more token: for models that see no order.

    `decode` gives the words and then the pairs. A text of n words has 2·n − 1 tokens, so a limit on its tokens takes
    pairs from its end first. Source: Joulin et al. 2016, section 2.1 (bag of n-grams).

    >>> pairs = WordPairs.train([b"not good", b"not bad"])
    >>> pairs.vocabulary.tokens[2:], pairs.encode("Not good").tolist()
    (('not', 'bad', 'good', 'not bad', 'not good'), [2, 4, 6])
    """

    _separator = " "

    @staticmethod
    def _cut(text):
        words = Words._cut(text)
        return words + [f"{left} {right}" for left, right in itertools.pairwise(words)]


class Characters(_Tokenizer):
    """Every code point is a token.

    >>> characters = Characters.train([b"abba"])
    >>> characters.encode("bab").tolist(), characters.decode([3, 2, 2])
    ([3, 2, 3], b'baa')
    """

    _separator = ""
    _cut = staticmethod(list)


def decoded(text):
    """The string of UTF-8 bytes; a string is taken as it is."""
    return text if isinstance(text, str) else bytes(text).decode("utf-8")


class Alphabet:
    r"""The characters `names`, each its place, as in `data.CharText`: 0 is whatever is not among them.

    >>> alphabet = Alphabet("\N{REPLACEMENT CHARACTER}ab")
    >>> alphabet.encode("abc").tolist(), alphabet.decode([2, 1])
    ([1, 2, 0], b'ba')
    """

    def __init__(self, names):
        self.names = tuple(names)
        self.size = len(self.names)
        self._places = {name: place for place, name in enumerate(self.names)}

    def encode(self, text):
        """int32 ids of a text."""
        return np.array([self._places.get(character, 0) for character in decoded(text)], np.int32)

    def decode(self, ids):
        """UTF-8 bytes."""
        return "".join(self.names[number] for number in np.asarray(ids)).encode()
