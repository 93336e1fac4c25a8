"""MNIST and Fashion-MNIST from their four IDX files, gzipped or not."""

import dataclasses

import numpy as np

from data import download, idx
from data.download import Remote
from data.sources import Arrays, Info

GARMENTS = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
FASHION_LICENCE = "MIT, copyright 2017 Zalando SE"
_PREFIXES = {"train": "train", "test": "t10k"}


@dataclasses.dataclass(frozen=True)
class _Set:
    info: Info
    remotes: tuple[Remote, ...]


def _remotes(address, *files):
    return tuple(Remote(f"{address}/{name}-ubyte.gz", size, sha256) for name, size, sha256 in files)


SETS = {
    "fashion_mnist": _Set(
        Info("fashion_mnist", 10, GARMENTS, licence=FASHION_LICENCE),
        _remotes(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            ("train-images-idx3", 26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            ("train-labels-idx1", 29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            ("t10k-images-idx3", 4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            ("t10k-labels-idx1", 5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
    ),
    "mnist": _Set(
        Info("mnist", 10, tuple("0123456789"), licence="CC BY-SA 3.0, Yann LeCun and Corinna Cortes"),
        _remotes(
            "https://storage.googleapis.com/cvdf-datasets/mnist",
            ("train-images-idx3", 9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            ("train-labels-idx1", 28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            ("t10k-images-idx3", 1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            ("t10k-labels-idx1", 4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
    ),
}


def load(name, split, data_dir, fetch):
    """One of `SETS`: `inputs` uint8 `[examples, 28, 28, 1]`, `labels` int32 `[examples]`."""
    info, remotes = SETS[name].info, SETS[name].remotes
    folder = download.locate(name, remotes, data_dir, fetch, _unchanged, lambda folder: _is_in(folder, split))
    images_path = idx.find(folder, f"{_PREFIXES[split]}-images-idx3-ubyte")
    labels_path = idx.find(folder, f"{_PREFIXES[split]}-labels-idx1-ubyte")
    images, labels = idx.read(images_path, (28, 28)), idx.read(labels_path, ())
    if len(images) != len(labels):
        raise ValueError(
            f"{labels_path}: expected {len(images)} labels, as many as in {images_path}, found {len(labels)}"
        )
    try:
        return Arrays(images[..., np.newaxis], labels.astype(np.int32), info=info)
    except ValueError as error:
        raise ValueError(f"{labels_path}: {error}") from error


def _is_in(folder, split):
    try:
        return all(idx.find(folder, f"{_PREFIXES[split]}-{part}-ubyte") for part in ("images-idx3", "labels-idx1"))
    except FileNotFoundError:
        return False


def _unchanged(paths):
    return {path.name: path.read_bytes() for path in paths}
