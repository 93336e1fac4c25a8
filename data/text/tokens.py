"""Sources of token ids, made of a source of texts once and for all."""

import dataclasses

import numpy as np

from data import files
from data.sequences import Sequences
from data.sources import Arrays
from data.text.padding import pad

_PIECE = 4096


def tokens(source, tokenizer, length=None, *, max_length=None, padding="post", truncating="post"):
    """A source of the token ids of a source of texts; whatever else the source has stays what it is.

    With `length` they are `Arrays`, `inputs` int32 `[examples, length]`: longer texts are cut off, shorter ones padded
    with 0, at the ends that `pad` names. Without they are `Sequences`, which a pipeline puts into batches of like
    lengths; of at most `max_length`, if that is given; an empty text is a single 0. All texts are encoded here, so a
    batch is one gather. Raises ValueError naming row and byte for a text that is not UTF-8.

    >>> import data
    >>> reviews = data.Arrays(np.array([b"good", b"not so good"], object), labels=[1, 0])
    >>> words = data.text.Words.train(texts_of(reviews))
    >>> tokens(reviews, words, length=2)[np.array([0, 1])]["inputs"].tolist()
    [[2, 0], [3, 4]]
    """
    if length is not None and max_length is not None:
        raise ValueError(f"tokens: length or max_length, not both: found {length} and {max_length}")
    encoded, others = [tokenizer.encode(text) for text in texts_of(source)], _others(source)
    if length is not None:
        return Arrays(pad(encoded, length, padding=padding, truncating=truncating), **others, info=source.info)
    cut = slice(max_length) if truncating == "post" else slice(max_length and -max_length, None)
    return Sequences([ids[cut] if len(ids) else np.zeros(1, np.int32) for ids in encoded], **others, info=source.info)


def windows(source, tokenizer, window, step=None):
    """A source for language models: windows of `window` tokens over all texts, a line end after each.

    A tokenizer that takes no blanks for tokens, such as `Words`, has nothing of the line ends.

    `inputs` and `labels` are int32 `[examples, window]`, `labels[i, t]` being the token after `inputs[i, t]`; windows
    begin every `step` tokens (by default `window`, so that no token is predicted twice). The rest is left out.
    """
    step = window if step is None else step
    if min(window, step) < 1:
        raise ValueError(f"windows: window and step must be at least 1, found {window} and {step}")
    ids = np.concatenate([tokenizer.encode(bytes(text) + b"\n") for text in texts_of(source)])
    begins = np.arange(0, len(ids) - window, step)
    if not len(begins):
        raise ValueError(f"windows: {source.info.name} has {len(ids)} tokens, expected at least {window + 1}")
    found = ids[begins[:, np.newaxis] + np.arange(window + 1)]
    info = dataclasses.replace(source.info, classes=tokenizer.size, class_names=())
    return Arrays(found[:, :-1], found[:, 1:], info=info)


def texts_of(source):
    """All texts of a source as bytes, in its order.

    Raises ValueError naming row and byte for one that is not UTF-8, TypeError for what is no text.
    """
    for begin in range(0, len(source), _PIECE):
        for row, text in enumerate(source[np.arange(begin, min(begin + _PIECE, len(source)))]["inputs"], begin):
            if not isinstance(text, bytes):
                raise TypeError(f"{source.info.name}: row {row}: expected bytes, found {type(text).__name__}")
            files.check_utf8(text, f"{source.info.name}: row {row}")
            yield text


def _others(source):
    pieces = np.array_split(np.arange(len(source)), -(-len(source) // _PIECE))
    read = [source[piece] for piece in pieces]
    return {name: np.concatenate([each[name] for each in read]) for name in read[0] if name != "inputs"}
