"""CIFAR-10 and CIFAR-100 from their official binary files, unpacked or in the .tar.gz.

A file is records without a header: the label (CIFAR-100: the coarse one of 20, then the fine one of 100), each one
byte, then 1,024 bytes red, 1,024 green and 1,024 blue, row by row. A. Krizhevsky, "Learning multiple layers of
features from tiny images", 2009.
"""

import dataclasses
import pathlib

import numpy as np

from data import archives, download, files
from data.download import Remote
from data.sources import Arrays, Info

_PIXELS = 3 * 32 * 32
_LICENCE = "none stated; Alex Krizhevsky, Vinod Nair, Geoffrey Hinton"
_OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FINE = """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"""


@dataclasses.dataclass(frozen=True)
class _Set:
    info: Info
    remote: Remote
    folder: str
    files: dict[str, tuple[str, ...]]
    records: dict[str, int]  # in each file
    label_classes: tuple[int, ...]  # of each label byte; the last one is the label


SETS = {
    "cifar10": _Set(
        Info("cifar10", 10, _OBJECTS, licence=_LICENCE),
        Remote(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            170052171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
        "cifar-10-batches-bin",
        {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)},
        {"train": 10_000, "test": 10_000},
        (10,),
    ),
    "cifar100": _Set(
        Info("cifar100", 100, tuple(_FINE.split()), licence=_LICENCE),
        Remote(
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            168513733,
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        ),
        "cifar-100-binary",
        {"train": ("train.bin",), "test": ("test.bin",)},
        {"train": 50_000, "test": 10_000},
        (20, 100),
    ),
}


def load(name, split, data_dir, fetch):
    """One of `SETS`: `inputs` uint8 `[examples, 32, 32, 3]`, `labels` int32 `[examples]` (CIFAR-100: the fine ones)."""
    known = SETS[name]
    folder = download.locate(
        name,
        [known.remote],
        data_dir,
        fetch,
        lambda paths: _unpacked(known, paths[0], known.files),
        lambda folder: _find(known, folder, split) is not None,
    )
    found = _find(known, folder, split)
    if found is None:
        raise FileNotFoundError(
            f"{folder} has neither {known.remote.name} nor {', '.join(known.files[split])}; put them there, "
            "or correct data_dir"
        )
    if found.is_dir():
        expected = _size(known, split)
        contents = {found / file: files.read(found / file, expected) for file in known.files[split]}
    else:
        mark = download.verify(found, known.remote)
        contents = _unpacked(known, found, [split], mark)
    parts = [_parse(known, path, content, split) for path, content in contents.items()]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Arrays(images, labels, info=known.info)


def _find(known, folder, split):
    """The folder of a split's files, or the archive, or None."""
    folder = pathlib.Path(folder)
    for place in (folder, folder / known.folder):
        if all((place / file).is_file() for file in known.files[split]):
            return place
    archive = folder / known.remote.name
    return archive if archive.is_file() else None


def _unpacked(known, archive, splits, mark=None):
    """The files of the splits, by their names in the archive."""
    sizes = {f"{known.folder}/{file}": _size(known, split) for split in splits for file in known.files[split]}
    # Beside the pictures of both splits it has a page and the names of the classes.
    whole = sum(_size(known, split) * len(names) for split, names in known.files.items())
    found = archives.members(archive, sizes.__contains__, whole + (1 << 20), mark)
    if missing := sizes.keys() - found.keys():
        raise ValueError(f"{archive}: expected a member {min(missing)}, found none; fetch {known.remote.url} again")
    return {name: found[name] for name in sizes}


def _size(known, split):
    return known.records[split] * (len(known.label_classes) + _PIXELS)


def _parse(known, path, content, split):
    expected, length = known.records[split], len(known.label_classes) + _PIXELS
    if len(content) != expected * length:
        raise ValueError(
            f"{path}: expected {expected} records of {length} bytes, found {len(content)} bytes: record "
            f"{len(content) // length} ends at byte {len(content) % length} of its own; fetch {known.remote.url} again"
        )
    records = np.frombuffer(content, np.uint8).reshape(expected, length)
    for byte, classes in enumerate(known.label_classes):
        outside = np.flatnonzero(records[:, byte] >= classes)
        if outside.size:
            row = outside[0]
            raise ValueError(
                f"{path}: byte {row * length + byte}: the label of record {row} is {records[row, byte]}, "
                f"expected 0 to {classes - 1}"
            )
    planes = records[:, len(known.label_classes) :].reshape(expected, 3, 32, 32)
    labels = records[:, len(known.label_classes) - 1].astype(np.int32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels
