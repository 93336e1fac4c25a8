"""Byte pair encoding over bytes: no text is unknown to it, and all of it comes back."""

import collections
import functools
import heapq
import itertools
import pathlib
import re

import numpy as np

from data import files
from data.text.vocabulary import PAD, UNKNOWN

_FIRST_BYTE = 2
_FIRST_MERGE = _FIRST_BYTE + 256
_HEADER = "byte_pairs 1"
_LONGEST_FILE = 1 << 28
_CACHED = 1 << 16
# A word or a run of other signs, each with a space before it, or a run of spaces. Bytes of letters beyond ASCII count
# as letters, so that nothing here depends on a version of Unicode.
_PIECES = re.compile(rb" ?[0-9A-Za-z\x80-\xff]+| ?[^\s0-9A-Za-z\x80-\xff]+|\s+")


class BytePairs:
    """Ids 2 to 257 are the bytes, and each further one is a pair of earlier ones: 258 + i is `merges[i]`.

    A text is cut into words with the space before them; in each, the earliest pair of `merges` that is there becomes
    one id, wherever it stands, from the left, until none is there. `decode(encode(text))` is the text.
    Raises ValueError for a merge that names an id that is not there yet, or that stands twice.
    Source: Sennrich, Haddow and Birch 2016, algorithm 1; over bytes: Radford et al. 2019, section 2.2.

    >>> pairs = BytePairs.train([b"low lower lowest"], size=260)
    >>> pairs.pieces[258:], pairs.encode("low").tolist(), pairs.decode(pairs.encode("slow ox"))
    ((b'lo', b'low'), [259], b'slow ox')
    """

    def __init__(self, merges):
        self.merges = tuple((int(left), int(right)) for left, right in merges)
        pieces = [b"", b""] + [bytes([value]) for value in range(256)]
        for number, pair in enumerate(self.merges, _FIRST_MERGE):
            if not all(_FIRST_BYTE <= part < number for part in pair):
                raise ValueError(f"BytePairs: {pair}, with the id {number}, must be of ids from 2 to {number - 1}")
            pieces.append(pieces[pair[0]] + pieces[pair[1]])
        self.pieces = tuple(pieces)
        self._ranks = {pair: number for number, pair in enumerate(self.merges, _FIRST_MERGE)}
        if len(self._ranks) != len(self.merges):
            twice = next(pair for pair, count in collections.Counter(self.merges).items() if count > 1)
            raise ValueError(f"BytePairs: the merge {twice} stands twice")
        self._encode_piece = functools.lru_cache(_CACHED)(self._merged)

    @classmethod
    def train(cls, texts, size):
        """`size` ids, or fewer once no pair comes twice: the commonest pair is merged, again and again.

        Of equally common pairs that with the smaller ids. Raises ValueError for a size below 258.
        """
        if size < _FIRST_MERGE:
            raise ValueError(f"BytePairs: size must be at least {_FIRST_MERGE}, found {size}")
        counted = collections.Counter()
        for text in texts:
            counted.update(_PIECES.findall(_bytes(text)))
        words = [[value + _FIRST_BYTE for value in piece] for piece in counted]
        return cls(_learned(words, list(counted.values()), size - _FIRST_MERGE))

    @classmethod
    def load(cls, path):
        """The tokenizer that `save` wrote; ValueError with the file's name and line for one that is none."""
        content = files.read(pathlib.Path(path), _LONGEST_FILE)
        files.check_utf8(content, path)
        lines = content.decode().split("\n")
        if lines[0] != _HEADER or lines.pop() != "":
            raise ValueError(f"{path}: expected lines from {_HEADER!r} to a last line end: is the file cut off?")
        merges, seen = [], {}
        for number, line in enumerate(lines[1:], 2):
            last = _FIRST_MERGE + len(merges) - 1
            pair = re.fullmatch(r"(\d{1,9}) (\d{1,9})", line, re.ASCII)
            pair = pair and (int(pair[1]), int(pair[2]))
            if not pair or not all(_FIRST_BYTE <= part <= last for part in pair):
                raise ValueError(f"{path}: line {number}: expected two ids from 2 to {last}, found {line!r}")
            if pair in seen:
                raise ValueError(f"{path}: line {number}: {line} is already in line {seen[pair]}; remove one")
            seen[pair] = number
            merges.append(pair)
        return cls(merges)

    def save(self, path):
        """Writes plain text: a line for each merge, the two ids."""
        lines = [_HEADER, *(f"{left} {right}" for left, right in self.merges)]
        pathlib.Path(path).write_bytes("".join(f"{line}\n" for line in lines).encode())

    @property
    def size(self):
        """How many ids there are."""
        return len(self.pieces)

    def encode(self, text):
        """int32 ids of a text."""
        pieces = _PIECES.findall(_bytes(text))
        return np.array([number for piece in pieces for number in self._encode_piece(piece)], np.int32)

    def decode(self, ids):
        """Bytes, which are UTF-8 where the ids are those of whole characters; padding and unknown ids are left out."""
        ids = np.asarray(ids)
        outside = ids[(ids < 0) | (ids >= self.size)]
        if outside.size:
            raise ValueError(f"BytePairs: ids must lie in [0, {self.size}), found {outside[0]}")
        return b"".join(self.pieces[number] for number in ids if number not in (PAD, UNKNOWN))

    def _merged(self, piece):
        ids = [value + _FIRST_BYTE for value in piece]
        while len(ids) > 1:
            rank, pair = min((self._ranks.get(pair, self.size), pair) for pair in itertools.pairwise(ids))
            if rank == self.size:
                break
            ids = _joined(ids, pair, rank)
        return tuple(ids)


def _learned(words, counts, merges):
    """The merges of `words`, lists of ids of which each comes `counts` times."""
    common, places, learned = collections.Counter(), collections.defaultdict(set), []
    for number, word in enumerate(words):
        for pair in itertools.pairwise(word):
            common[pair] += counts[number]
            places[pair].add(number)
    # A heap of what pairs counted when they were pushed; what has another count by now is stale.
    heap = [(-count, pair) for pair, count in common.items()]
    heapq.heapify(heap)
    while heap and len(learned) < merges:
        count, pair = heapq.heappop(heap)
        if -count != common[pair]:
            continue
        if -count < 2:
            break
        learned.append(pair)
        changed = set()
        for number in places.pop(pair):
            before = words[number]
            words[number] = after = _joined(before, pair, _FIRST_MERGE + len(learned) - 1)
            for sign, word in ((-1, before), (1, after)):
                for each in itertools.pairwise(word):
                    common[each] += sign * counts[number]
                    changed.add(each)
                    if sign > 0:
                        places[each].add(number)
        for each in changed:
            if common[each] > 0:
                heapq.heappush(heap, (-common[each], each))
    return learned


def _joined(ids, pair, merged):
    """`ids` with `merged` in place of every `pair`, from the left."""
    result, at = [], 0
    while at < len(ids):
        found = tuple(ids[at : at + 2]) == pair
        result.append(merged if found else ids[at])
        at += 1 + found
    return result


def _bytes(text):
    return text.encode() if isinstance(text, str) else bytes(text)
