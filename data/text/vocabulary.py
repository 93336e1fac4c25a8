"""Which token has which number."""

import collections
import pathlib

import numpy as np

from data import files

PAD, UNKNOWN = 0, 1
_NAMES = ("[pad]", "[unknown]")
_LONGEST_FILE = 1 << 28
# What would end a line, and what says so; a backslash comes first, so that none is read as the begin of another.
_ESCAPES = (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"))
_READ = {written[1]: token for token, written in _ESCAPES}


class Vocabulary:
    """Tokens and their ids: 0 is padding, 1 whatever is unknown, and from 2 on come `tokens`, in their order.

    `tokens` holds all of them as strings, the names of the first two among them, so that `tokens[id]` is a token.
    Raises ValueError for a token that is empty or stands twice.

    >>> vocabulary = Vocabulary.build([["to", "be", "or", "not", "to", "be"]], size=4)
    >>> vocabulary.tokens, vocabulary.encode(["not", "to", "be"]).tolist()
    (('[pad]', '[unknown]', 'be', 'to'), [1, 3, 2])
    """

    def __init__(self, tokens):
        self.tokens = (*_NAMES, *tokens)
        self._ids = {}
        for number, token in enumerate(self.tokens):
            if not isinstance(token, str) or not token or token in self._ids:
                reason = "stands twice" if token in self._ids else "is no token"
                raise ValueError(f"Vocabulary: {token!r}, with the id {number}, {reason}")
            self._ids[token] = number

    @classmethod
    def build(cls, sequences, size=None, min_count=1):
        """The vocabulary of the commonest tokens of `sequences`, an iterable of iterables of strings.

        At most `size` ids, the first two included, of tokens that come at least `min_count` times; the commonest first,
        and of equally common ones first that whose code points come first. What is spelt like the names of the
        first two ids is left out.
        """
        if min_count < 1 or (size is not None and size < len(_NAMES)):
            raise ValueError(f"Vocabulary: expected size >= 2 and min_count >= 1, found {size} and {min_count}")
        counts = collections.Counter()
        for sequence in sequences:
            counts.update(sequence)
        common = [token for token, count in counts.items() if count >= min_count and token and token not in _NAMES]
        common.sort(key=lambda token: (-counts[token], token))
        return cls(common[: None if size is None else size - len(_NAMES)])

    @classmethod
    def load(cls, path):
        """The vocabulary that `save` wrote; ValueError with the file's name and line for one that is none."""
        text = _text(path)
        if not text.endswith("\n"):
            raise ValueError(f"{path}: line {text.count(chr(10)) + 1}: expected a line end: is the file cut off?")
        seen = {}
        for number, line in enumerate(text[:-1].split("\n"), 1):
            token = _unescaped(line, f"{path}: line {number}")
            if number <= len(_NAMES) and token != _NAMES[number - 1]:
                raise ValueError(f"{path}: line {number}: expected {_NAMES[number - 1]}, found {token!r}")
            if not token:
                raise ValueError(f"{path}: line {number}: empty; a line is a token")
            if token in seen:
                raise ValueError(f"{path}: line {number}: {token!r} is already in line {seen[token]}; remove one")
            seen[token] = number
        if len(seen) < len(_NAMES):
            raise ValueError(f"{path}: line {len(seen) + 1}: expected {_NAMES[len(seen)]}, found the file's end")
        return cls(list(seen)[len(_NAMES) :])

    def save(self, path):
        """Writes UTF-8 text, one token a line in the order of ids; backslashes and line ends as \\\\, \\n and \\r."""
        lines = []
        for token in self.tokens:
            for character, written in _ESCAPES:
                token = token.replace(character, written)
            lines.append(token + "\n")
        pathlib.Path(path).write_bytes("".join(lines).encode())

    def __len__(self):
        return len(self.tokens)

    def __eq__(self, other):
        return isinstance(other, Vocabulary) and self.tokens == other.tokens

    def __hash__(self):
        return hash(self.tokens)

    def encode(self, tokens):
        """int32 ids of an iterable of tokens."""
        return np.array([self._ids.get(token, UNKNOWN) for token in tokens], np.int32)

    def decode(self, ids):
        """A list of tokens, without those of padding; ValueError for an id that there is not."""
        ids = np.asarray(ids)
        outside = ids[(ids < 0) | (ids >= len(self))]
        if outside.size:
            raise ValueError(f"Vocabulary: ids must lie in [0, {len(self)}), found {outside[0]}")
        return [self.tokens[number] for number in ids if number != PAD]


def _text(path):
    content = files.read(pathlib.Path(path), _LONGEST_FILE)
    files.check_utf8(content, path)
    return content.decode()


def _unescaped(line, where):
    if "\r" in line:
        raise ValueError(f"{where}: found a carriage return; save it with line ends of one character")
    parts, at = [], 0
    while (slash := line.find("\\", at)) >= 0:
        written = line[slash + 1 : slash + 2]
        if written not in _READ:
            raise ValueError(f"{where}: expected \\\\, \\n or \\r, found {line[slash : slash + 2]!r}")
        parts += [line[at:slash], _READ[written]]
        at = slash + 2
    return "".join([*parts, line[at:]])
