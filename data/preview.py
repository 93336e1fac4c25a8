"""A contact sheet: pictures of a data set, and below each what an augmentation makes of it.

python -m data.preview --dataset=fashion_mnist_mini --augment="rotation(15),cutout(8)" --out=sheet.png
"""

import argparse
import pathlib
import sys

import numpy as np
import tensorflow as tf

from data.augment import NAMES, parse
from data.catalogue import load
from data.order import shuffled
from data.pipeline import Pipeline
from data.sources import Arrays, Subset
from data.values import levels

_GAP, _MARGIN, _PAPER = 1, 6, 255
# Pictures smaller than this are magnified, pixel by pixel.
_LEGIBLE = 96


def sheet(source, augment, count=16, columns=8, versions=2, seed=0):
    """uint8 `[height, width, channels]`: `count` pictures of `source`, in rows of `columns`.

    Below each row of pictures are `versions` rows that show what `augment(batch, draws)` makes of them, all `count` in
    one batch, epoch after epoch. The pictures are those with which a training with this `seed` begins. They are uint8,
    or floating in [0, 1]. Raises ValueError for a source of other things than images of 1 or 3 channels.
    """
    shape = source.info.input_shape
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ValueError(f"preview: {source.info.name} has inputs of shape {shape}, expected (height, width, 1 or 3)")
    chosen = _chosen(source, count, seed)
    pipeline = Pipeline(chosen, len(chosen), shuffle=False, augment=augment)
    batches = [next(iter(pipeline.evaluation()))]
    batches += [next(iter(pipeline.training(seed, epoch))) for epoch in range(versions)]
    pictures = [levels(batch["inputs"], "preview").numpy() for batch in batches]
    height, width = (max(images.shape[axis] for images in pictures) for axis in (1, 2))
    channels = shape[2]
    cells = np.full([len(pictures), len(chosen), height + _GAP, width + _GAP, channels], _PAPER, np.uint8)
    for version, images in enumerate(pictures):
        cells[version, :, : images.shape[1], : images.shape[2]] = images
    bands = []
    for first in range(0, len(chosen), columns):
        band = cells[:, first : first + columns]
        band = np.pad(band, [(0, 0), (0, columns - band.shape[1]), *[(0, 0)] * 3], constant_values=_PAPER)
        # [versions, columns, height, width, c] as one picture.
        band = band.transpose(0, 2, 1, 3, 4).reshape(-1, columns * (width + _GAP), channels)
        bands.append(np.pad(band, [(0, _MARGIN), (0, 0), (0, 0)], constant_values=_PAPER))
    whole = np.concatenate(bands)
    scale = max(1, -(-_LEGIBLE // max(height, width)))
    return whole.repeat(scale, axis=0).repeat(scale, axis=1)


def _chosen(source, count, seed):
    if not hasattr(source, "__len__"):
        # A stream begins with what it begins with.
        first = next(source.dataset().batch(count).as_numpy_iterator())
        return Arrays(first["inputs"], first.get("labels"), info=source.info)
    count = min(count, len(source))
    return Subset(source, shuffled(range(count), len(source), seed, epoch=0).numpy())


def main(arguments=None):
    """Write the sheet that the command line asks for; returns the exit code, 2 for an error that a user can mend."""
    parser = argparse.ArgumentParser(prog="python -m data.preview", description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="fashion_mnist_mini", help="as train.py's")
    parser.add_argument("--data_dir", help="the folder of a data set that is not embedded")
    parser.add_argument("--split", default="train")
    parser.add_argument("--image_size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of image_folder")
    parser.add_argument("--augment", default="", help=f"names with arguments, commas between: {', '.join(NAMES)}")
    parser.add_argument("--count", type=int, default=16, help="pictures")
    parser.add_argument("--columns", type=int, default=8, help="pictures in a row")
    parser.add_argument("--versions", type=int, default=2, help="augmented versions of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="sheet.png", help="the PNG file to write")
    flags = parser.parse_args(arguments)
    try:
        for name in ("count", "columns", "versions"):
            if getattr(flags, name) < 1:
                raise ValueError(f"--{name} must be at least 1, found {getattr(flags, name)}")
        options = {"image_size": flags.image_size} if flags.image_size else {}
        source = load(flags.dataset, flags.split, flags.data_dir, **options)
        augment = parse(flags.augment, source.info.classes)
        made = sheet(source, augment, flags.count, flags.columns, flags.versions, flags.seed)
        pathlib.Path(flags.out).write_bytes(tf.io.encode_png(made).numpy())
    except (ValueError, TypeError, OSError) as error:
        print(f"preview: error: {error}", file=sys.stderr)
        return 2
    print(f"{flags.out}: {made.shape[0]}×{made.shape[1]} pixels, {flags.dataset} over {flags.augment or 'itself'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
