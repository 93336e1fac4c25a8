"""Text: vocabularies, tokenizers, and sources of token ids.

A tokenizer has `size`, how many ids there are; `encode(text)`, bytes or a string to an int32 array of ids; and
`decode(ids)`, back to bytes. 0 is padding, which `decode` leaves out, and 1 is whatever is unknown.
"""

from data.text.byte_pairs import BytePairs
from data.text.padding import pad
from data.text.tokenizers import Alphabet, Characters, WordPairs, Words
from data.text.tokens import texts_of, tokens, windows
from data.text.vocabulary import PAD, UNKNOWN, Vocabulary

__all__ = [
    "PAD",
    "UNKNOWN",
    "Alphabet",
    "BytePairs",
    "Characters",
    "Vocabulary",
    "WordPairs",
    "Words",
    "pad",
    "texts_of",
    "tokens",
    "windows",
]
