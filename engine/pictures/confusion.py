"""A confusion matrix to be seen."""

from collections.abc import Sequence

import numpy as np

from engine.pictures.font import HEIGHT, WIDTH, put, written

_INK, _PAPER, _FULL = (40, 40, 40), (255, 255, 255), (8, 64, 140)
# Beyond so many classes neither names nor numbers fit.
_NAMED, _SCALE, _LETTERS = 30, 2, 12


def confusion_picture(matrix: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """A matrix `[label, prediction]` of weights: the darker a field, the larger the share of its label's row.

    Up to 30 classes rows and columns have their names, and fields their numbers; of more, only the fields are drawn.
    """
    count = len(matrix)
    sums = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, sums, out=np.zeros(matrix.shape), where=sums > 0)
    named = count <= _NAMED
    texts = [f"{value:.0f}" if value else "" for value in matrix.ravel()]
    longest = max(2, *map(len, texts))
    side = WIDTH * _SCALE * longest + 8 if named else max(2, 600 // count)
    margin = min(_LETTERS, max(map(len, names))) * WIDTH * _SCALE + 8 if named else 4
    title = 2 * (HEIGHT * _SCALE + 8) if named else 0
    canvas = np.full([title + margin + count * side + 4, margin + title + count * side + 4, 3], 255, np.uint8)
    top, left = title + margin, title + margin
    colors = np.array(_PAPER) + (np.array(_FULL) - np.array(_PAPER)) * np.sqrt(share)[..., np.newaxis]
    field = colors.round().astype(np.uint8).repeat(side, axis=0).repeat(side, axis=1)
    canvas[top : top + count * side, left : left + count * side] = field
    if not named:
        return canvas
    canvas[top : top + count * side + 1 : side, left : left + count * side] = 220
    canvas[top : top + count * side, left : left + count * side + 1 : side] = 220
    put(canvas, written("predicted", scale=_SCALE), 6, left, _INK)
    put(canvas, np.rot90(written("label", scale=_SCALE)), top, 6, _INK)
    down = (side - HEIGHT * _SCALE) // 2
    for place, name in enumerate(names):
        ink = written(name, _LETTERS, _SCALE)
        put(canvas, ink, top + place * side + down, left - 6 - ink.shape[1], _INK)
        turned = np.rot90(ink)
        put(canvas, turned, top - 6 - turned.shape[0], left + place * side + down, _INK)
    for place, text in enumerate(texts):
        row, column = divmod(place, count)
        ink = written(text, scale=_SCALE)
        across = (side - ink.shape[1] + _SCALE) // 2
        color = _PAPER if share[row, column] > 0.3 else _INK
        put(canvas, ink, top + row * side + down, left + column * side + across, color)
    return canvas
