"""Some examples, and what a model takes them for."""

from collections.abc import Sequence

import numpy as np

from engine.pictures.font import HEIGHT, WIDTH, put, written

PAPER, RIGHT, WRONG, TRUTH = 255, (0, 120, 60), (200, 30, 30), (90, 90, 90)
_CELL, _GAP, _LINE, _SCALE = 140, 8, 18, 2


def sample_grid(
    images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str], columns: int = 4
) -> np.ndarray:
    """The images in rows, below each the likeliest class and its probability, and the true one where it is another.

    images: uint8, or floating (from 0 to 1, or else each is stretched to its own range), `[examples, height, width,
    1 or 3]`; labels: class numbers `[examples]`; probabilities: `[examples, classes]`; names: of the classes.
    """
    rows = -(-len(images) // columns)
    height = _CELL + 3 * _LINE + _GAP
    canvas = np.full([rows * height + _GAP, columns * (_CELL + _GAP) + _GAP, 3], PAPER, np.uint8)
    for place, (image, label, row) in enumerate(zip(images, labels, probabilities, strict=True)):
        top, left = _GAP + place // columns * height, _GAP + place % columns * (_CELL + _GAP)
        picture = fitted(levels(image), _CELL)
        down, right = ((_CELL - size) // 2 for size in picture.shape[:2])
        canvas[top + down : top + down + picture.shape[0], left + right : left + right + picture.shape[1]] = picture
        found = int(np.argmax(row))
        color = RIGHT if found == label else WRONG
        lines = [(names[found], color), (f"{row[found]:.0%}", color)]
        if found != label:
            lines.append((f"= {names[int(label)]}", TRUTH))
        for number, (text, ink) in enumerate(lines):
            put(
                canvas,
                written(text, _CELL // (WIDTH * _SCALE), _SCALE),
                top + _CELL + number * _LINE + (_LINE - HEIGHT * _SCALE),
                left,
                ink,
            )
    return canvas


def levels(image: np.ndarray) -> np.ndarray:
    """uint8 `[height, width, 3]` of one image."""
    if image.dtype != np.uint8:
        image = np.nan_to_num(image.astype(np.float64))
        low, high = image.min(), image.max()
        if low < 0 or high > 1:
            image = (image - low) / (high - low) if high > low else np.zeros_like(image)
        image = np.round(image * 255).astype(np.uint8)
    return image.repeat(3, axis=-1) if image.shape[-1] == 1 else image


def fitted(image: np.ndarray, size: int) -> np.ndarray:
    """The image magnified, or thinned out, by a whole number, so that it fits into a square of `size` pixels."""
    largest = max(image.shape[:2])
    if largest > size:
        step = -(-largest // size)
        return image[::step, ::step]
    return image.repeat(size // largest, axis=0).repeat(size // largest, axis=1)
