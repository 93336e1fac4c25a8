"""Rotation, zoom, translation and shear about the centre of the image, all by the one warp.

Images are of any integer or float dtype. What `fill_mode` ("constant", "nearest", "reflect"), `fill_value` and
`interpolation` ("bilinear", "nearest") mean is said at `warp`.
"""

from data.augment.checks import number
from data.augment.warp import affine, checked_fill, warp
from data.marks import by_example


def rotation(degrees, fill_mode="constant", fill_value=0.0, interpolation="bilinear"):
    """Turn each image by an angle uniform in [−degrees, degrees], at most 180; above 0 is counter-clockwise."""
    limit = number("rotation", "degrees", degrees, 0, 180)
    fill = checked_fill("rotation", fill_mode, fill_value, interpolation)
    return _random(fill, lambda draws, size: {"degrees": signed(draws.uniform(), limit)})


def zoom(factor, fill_mode="constant", fill_value=0.0, interpolation="bilinear"):
    """Magnify each image by a number uniform in [1 − factor, 1 + factor], factor at most 0.9, both axes alike."""
    limit = number("zoom", "factor", factor, 0, 0.9)
    fill = checked_fill("zoom", fill_mode, fill_value, interpolation)
    return _random(fill, lambda draws, size: {"magnification": 1.0 + signed(draws.uniform(), limit)})


def translation(height_factor, width_factor=None, fill_mode="constant", fill_value=0.0, interpolation="bilinear"):
    """Move each image by shares of its height and width, uniform in [−height_factor, height_factor], and so across.

    `width_factor` is as `height_factor` unless given; 1 is a whole image. Moves by parts of a pixel are interpolated:
    for whole pixels there is `random_crop`.
    """
    down = number("translation", "height_factor", height_factor, 0, 1)
    right = down if width_factor is None else number("translation", "width_factor", width_factor, 0, 1)
    fill = checked_fill("translation", fill_mode, fill_value, interpolation)

    def drawn(draws, size):
        numbers = draws.uniform(2)
        return {"down": signed(numbers[:, 0], down * size[0]), "right": signed(numbers[:, 1], right * size[1])}

    return _random(fill, drawn)


def shear(x_factor, y_factor=0.0, fill_mode="constant", fill_value=0.0, interpolation="bilinear"):
    """Slant each image: columns move by s pixels a row, s uniform in [−x_factor, x_factor], rows so with `y_factor`.

    A factor is the tangent of the angle: 1 slants by 45°.
    """
    x = number("shear", "x_factor", x_factor, 0, 1)
    y = number("shear", "y_factor", y_factor, 0, 1)
    fill = checked_fill("shear", fill_mode, fill_value, interpolation)

    def drawn(draws, size):
        numbers = draws.uniform(2)
        return {"x_shear": signed(numbers[:, 0], x), "y_shear": signed(numbers[:, 1], y)}

    return _random(fill, drawn)


def signed(uniform, limit):
    """Numbers uniform in [0, 1) as numbers uniform in [−limit, limit)."""
    return (2.0 * uniform - 1.0) * limit


def _random(fill, drawn):
    @by_example
    def warped(batch, draws):
        images = batch["inputs"]
        size = images.shape[1:3]
        return {**batch, "inputs": warp(images, affine(size, **drawn(draws, size)), **fill)}

    return warped
