"""The data sets that are known by name."""

import hashlib
import importlib.resources
import io

import numpy as np

from data import idx
from data.sources import Arrays, Info

EMBEDDED_SHA256 = "8c38794e862f9f25742763f018a82027a93ce93e7849eed53675b49ad4c6b7e9"

_GARMENTS = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_FASHION_LICENCE = "MIT, copyright 2017 Zalando SE"
_INFOS = {
    "fashion_mnist_mini": Info("fashion_mnist_mini", 10, _GARMENTS, licence=_FASHION_LICENCE),
    "fashion_mnist": Info("fashion_mnist", 10, _GARMENTS, licence=_FASHION_LICENCE),
    "mnist": Info("mnist", 10, tuple("0123456789"), licence="CC BY-SA 3.0, Yann LeCun and Corinna Cortes"),
}
_IDX_PREFIXES = {"train": "train", "test": "t10k"}

NAMES = tuple(_INFOS)


def load(name, split="train", data_dir=None):
    """A named data set in memory: `inputs` uint8 `[examples, 28, 28, 1]`, `labels` int32 `[examples]`.

    `fashion_mnist_mini` is embedded: the first 6,000 training and 2,000 test images of Fashion-MNIST (Xiao,
    Rasul, Vollgraf, arXiv:1708.07747). `fashion_mnist` and `mnist` are read from their IDX files in
    `data_dir`: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same with `t10k`, gzipped (`.gz`)
    or not. Raises ValueError or FileNotFoundError naming the argument or the file.

    >>> test = load("fashion_mnist_mini", split="test")
    >>> len(test), test.info.class_names[test.arrays["labels"][0]]
    (2000, 'Ankle boot')
    """
    if name not in _INFOS:
        raise ValueError(f"load: name must be one of {', '.join(NAMES)}, found {name!r}")
    if split not in _IDX_PREFIXES:
        raise ValueError(f"load: split must be one of {', '.join(_IDX_PREFIXES)}, found {split!r}")
    if name == "fashion_mnist_mini":
        if data_dir is not None:
            raise ValueError(f"load: {name} is embedded: leave out data_dir, found {data_dir!r}")
        return _source(*_embedded(split), _INFOS[name])
    if data_dir is None:
        raise ValueError(f"load: {name} needs data_dir, the folder of its IDX files")
    images_path = idx.find(data_dir, f"{_IDX_PREFIXES[split]}-images-idx3-ubyte")
    labels_path = idx.find(data_dir, f"{_IDX_PREFIXES[split]}-labels-idx1-ubyte")
    images, labels = idx.read(images_path, (28, 28)), idx.read(labels_path, ())
    if len(images) != len(labels):
        raise ValueError(
            f"{labels_path}: expected {len(images)} labels, as many as in {images_path}, found {len(labels)}"
        )
    try:
        return _source(images, labels, _INFOS[name])
    except ValueError as error:
        raise ValueError(f"{labels_path}: {error}") from error


def _embedded(split):
    file = importlib.resources.files("data") / "embedded" / "fashion_mnist_mini.npz"
    content = file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != EMBEDDED_SHA256:
        raise ValueError(f"{file}: expected SHA-256 {EMBEDDED_SHA256}, found {found}; install tapeline again")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return archive[f"{split}_images"], archive[f"{split}_labels"]


def _source(images, labels, info):
    return Arrays(images[..., np.newaxis], labels.astype(np.int32), info=info)
