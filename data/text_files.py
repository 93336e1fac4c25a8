"""Text files as sources for language models: their lines, or windows over their characters."""

import codecs

import numpy as np

from data import files
from data.sources import Info, texts

_CHUNK = 1 << 20
_LONGEST_LINE = 1 << 20
_CODE_POINTS = 0x110000
UNKNOWN = "\ufffd"


class TextLines:
    """A source of the lines of text files: `inputs` `[examples]`, the UTF-8 bytes of each, without its line end.

    Lines without any text are left out. The files are read once at the start, to find the lines, and stay where they
    are: memory holds 16 bytes a line. Raises ValueError naming file and byte for what is not UTF-8, a line of more
    than 1 MiB, files without a line, and a file that changes while the source is in use.
    """

    arrays = None

    def __init__(self, paths):
        self._paths, self._marks = list(paths), [files.mark(path) for path in paths]
        found = [_lines(path, mark) for path, mark in zip(self._paths, self._marks, strict=True)]
        self._begins, self._ends = (np.concatenate(parts) for parts in zip(*found, strict=True))
        self._files = np.repeat(np.arange(len(found)), [len(begins) for begins, _ in found])
        if not len(self):
            raise ValueError(f"{_named(paths)}: expected at least one line with text, found none")
        self.info = Info("text_lines")

    def __len__(self):
        return len(self._begins)

    def __getitem__(self, indices):
        indices = np.asarray(indices)
        inputs = [b""] * len(indices)
        for number in np.unique(self._files[indices]):
            path = self._paths[number]
            with files.opened(path, self._marks[number]) as stream:
                for row in np.flatnonzero(self._files[indices] == number):
                    begin, end = int(self._begins[indices[row]]), int(self._ends[indices[row]])
                    line = bytearray(end - begin)
                    files.read_at(stream, path, begin, line)
                    inputs[row] = bytes(line)
        return {"inputs": texts(inputs)}


class CharText:
    """A source of windows over the characters of text files, for models that predict the next one.

    `inputs` and `labels` are int32 `[examples, window]`: `labels[i, t]` is the character after `inputs[i, t]`. Windows
    begin every `step` characters (by default `window`, so that no character is predicted twice), and none reaches
    beyond its file: what is left at the end, of at most `window` characters and a step, is in none. A character is its
    place in `info.class_names`: 0 is every character that is not in `vocabulary`, then come those of
    `vocabulary` (by default all that the files have) in the order of their code points. The texts are in memory as
    small integers. Raises ValueError naming file and byte for what is not UTF-8, and for files too short for a window.
    """

    arrays, cacheable = None, False

    def __init__(self, paths, window=100, step=None, vocabulary=None):
        step = window if step is None else step
        if min(window, step) < 1:
            raise ValueError(f"char_text: window and step must be at least 1, found {window} and {step}")
        marks = [files.mark(path) for path in paths]
        vocabulary = "".join(sorted(characters(paths, marks) if vocabulary is None else set(vocabulary)))
        dtype = np.min_scalar_type(len(vocabulary))
        ids = np.zeros(_CODE_POINTS, dtype)
        ids[_code_points(vocabulary)] = np.arange(1, len(vocabulary) + 1)
        parts = [
            np.concatenate([ids[codes] for codes in _read(path, mark)]) for path, mark in zip(paths, marks, strict=True)
        ]
        lengths = [len(part) for part in parts]
        self._text = np.concatenate(parts)
        ends = np.cumsum(lengths)
        # A window needs one character more, the last one's label.
        self._begins = np.concatenate(
            [np.arange(end - n, end - window, step) for end, n in zip(ends, lengths, strict=True)]
        )
        if not len(self):
            found = f"found at most {max(lengths)}"
            raise ValueError(f"{_named(paths)}: expected a file of at least {window + 1} characters, {found}")
        self._window = np.arange(window + 1)
        self.info = Info("char_text", len(vocabulary) + 1, (UNKNOWN, *vocabulary), (window,))

    def __len__(self):
        return len(self._begins)

    def __getitem__(self, indices):
        window = self._text[self._begins[indices][:, np.newaxis] + self._window].astype(np.int32)
        return {"inputs": window[:, :-1], "labels": window[:, 1:]}


def load_lines(split, data_dir):
    """`TextLines` of `<split>.txt`, or of all `.txt` files in the folder `<split>`."""
    return TextLines(_find(data_dir, split))


def load_chars(split, data_dir, window=100, step=None, vocabulary=None):
    """`CharText` of the files that `load_lines` reads; the vocabulary is that of the split `train`."""
    paths = _find(data_dir, split)
    if vocabulary is None and split != "train":
        train = _find(data_dir, "train")
        vocabulary = characters(train, map(files.mark, train))
    return CharText(paths, window, step, vocabulary)


def characters(paths, marks):
    """The set of characters that the files have; each must still be what its mark says."""
    seen = np.zeros(_CODE_POINTS, bool)
    for path, mark in zip(paths, marks, strict=True):
        for codes in _read(path, mark):
            seen[codes] = True
    return set(map(chr, np.flatnonzero(seen)))


def _find(data_dir, split):
    folder = files.folder(data_dir, f"{split}.txt")
    if (folder / f"{split}.txt").is_file():
        return [folder / f"{split}.txt"]
    found = sorted((folder / split).rglob("*.txt"), key=lambda path: path.relative_to(folder).as_posix())
    if not found:
        missing = f"neither {split}.txt nor {split}/*.txt"
        raise FileNotFoundError(f"{folder} has {missing}; put one there, or correct data_dir")
    return found


def _named(paths):
    return f"{paths[0]} and {len(paths) - 1} more" if len(paths) > 1 else str(paths[0])


def _lines(path, mark):
    """Where the lines with text begin and end: two int64 arrays."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    begins, ends, at, last = [np.zeros(1, np.int64)], [], 0, b""
    with files.opened(path, mark) as stream:
        while chunk := stream.read(_CHUNK):
            _decode(decoder, chunk, path, at)
            content = np.frombuffer(b"\n" + last + chunk, np.uint8)[-len(chunk) - 1 :]
            breaks = np.flatnonzero(content[1:] == ord("\n"))
            begins.append(breaks + at + 1)
            ends.append(breaks + at - (content[breaks] == ord("\r")))
            at, last = at + len(chunk), chunk[-1:]
        _decode(decoder, b"", path, at)
    ends.append(np.array([at - (last == b"\r")]))
    begins, ends = np.concatenate(begins), np.concatenate(ends)
    if np.any(long := ends - begins > _LONGEST_LINE):
        raise ValueError(f"{path}: byte {begins[long][0]}: expected a line of at most {_LONGEST_LINE} bytes; break it")
    return begins[ends > begins], ends[ends > begins]


def _decode(decoder, chunk, path, at):
    held = len(decoder.getstate()[0])
    try:
        return decoder.decode(chunk, final=not chunk)
    except UnicodeDecodeError as error:
        raise ValueError(files.bad_utf8(error, path, at - held)) from error


def _read(path, mark):
    """The code points of a file in pieces of uint32."""
    decoder, at = codecs.getincrementaldecoder("utf-8")(), 0
    with files.opened(path, mark) as stream:
        while True:
            chunk = stream.read(_CHUNK)
            yield _code_points(_decode(decoder, chunk, path, at))
            at += len(chunk)
            if not chunk:
                return


def _code_points(text):
    return np.frombuffer(text.encode("utf-32-le"), "<u4")
