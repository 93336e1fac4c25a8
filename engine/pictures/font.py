"""Small capitals of 5 × 7 pixels, enough for names of classes and numbers."""

import unicodedata

import numpy as np

WIDTH, HEIGHT = 6, 7
# Seven rows from the top; of a row the bits are its five pixels, the highest on the left.
_ROWS = {
    "A": "0e 11 11 1f 11 11 11", "B": "1e 11 11 1e 11 11 1e", "C": "0e 11 10 10 10 11 0e", "D": "1e 11 11 11 11 11 1e",
    "E": "1f 10 10 1e 10 10 1f", "F": "1f 10 10 1e 10 10 10", "G": "0e 11 10 17 11 11 0e", "H": "11 11 11 1f 11 11 11",
    "I": "0e 04 04 04 04 04 0e", "J": "07 02 02 02 02 12 0c", "K": "11 12 14 18 14 12 11", "L": "10 10 10 10 10 10 1f",
    "M": "11 1b 15 15 11 11 11", "N": "11 19 15 15 13 11 11", "O": "0e 11 11 11 11 11 0e", "P": "1e 11 11 1e 10 10 10",
    "Q": "0e 11 11 11 15 12 0d", "R": "1e 11 11 1e 14 12 11", "S": "0f 10 10 0e 01 01 1e", "T": "1f 04 04 04 04 04 04",
    "U": "11 11 11 11 11 11 0e", "V": "11 11 11 11 0a 0a 04", "W": "11 11 11 15 15 15 0a", "X": "11 11 0a 04 0a 11 11",
    "Y": "11 11 0a 04 04 04 04", "Z": "1f 01 02 04 08 10 1f",
    "0": "0e 11 13 15 19 11 0e", "1": "04 0c 04 04 04 04 0e", "2": "0e 11 01 06 08 10 1f", "3": "1e 01 01 0e 01 01 1e",
    "4": "02 06 0a 12 1f 02 02", "5": "1f 10 1e 01 01 11 0e", "6": "06 08 10 1e 11 11 0e", "7": "1f 01 02 04 04 08 08",
    "8": "0e 11 11 0e 11 11 0e", "9": "0e 11 11 0f 01 02 0c",
    " ": "00 00 00 00 00 00 00", ".": "00 00 00 00 00 0c 0c", ",": "00 00 00 00 0c 04 08", "-": "00 00 00 1f 00 00 00",
    "_": "00 00 00 00 00 00 1f", "/": "01 01 02 04 08 10 10", "%": "18 19 02 04 08 13 03", ":": "00 0c 0c 00 0c 0c 00",
    "+": "00 04 04 1f 04 04 00", "?": "0e 11 01 06 04 00 04", "!": "04 04 04 04 04 00 04", "'": "04 04 00 00 00 00 00",
    "(": "02 04 08 08 08 04 02", ")": "08 04 02 02 02 04 08", "=": "00 00 1f 00 1f 00 00", "&": "0c 12 14 08 15 12 0d",
}  # fmt: skip
_GLYPHS = {
    # The sixth column stays empty.
    letter: np.array([[int(row, 16) << 1 >> (5 - column) & 1 for column in range(WIDTH)] for row in rows.split()], bool)
    for letter, rows in _ROWS.items()
}


def written(text: str, length: int | None = None, scale: int = 1) -> np.ndarray:
    """Where there is ink: bool `[7 · scale, 6 · scale · characters]`.

    Small letters are written as capitals, accents are left out, and what is then unknown is "?". length: characters at
    most; what is longer ends in a full stop.
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).upper()
    if length is not None and len(plain) > length:
        plain = plain[: length - 1] + "."
    glyphs = [_GLYPHS.get(letter, _GLYPHS["?"]) for letter in plain]
    ink = np.concatenate(glyphs, axis=1) if glyphs else np.zeros([HEIGHT, 0], bool)
    return ink.repeat(scale, axis=0).repeat(scale, axis=1)


def put(canvas: np.ndarray, ink: np.ndarray, top: int, left: int, color: tuple[int, int, int]) -> None:
    """Draws ink onto a canvas `[height, width, 3]`, in place; what lies outside is cut off."""
    part = canvas[top : top + ink.shape[0], left : left + ink.shape[1]]
    part[ink[: part.shape[0], : part.shape[1]]] = color
