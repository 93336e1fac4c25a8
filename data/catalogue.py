"""The data sets that are known by name, and the kinds of files that any folder can hold."""

import inspect

import numpy as np

from data import cifar, embedded, image_folder, imdb, mnist, numpy_files, text_files, tfds, tfrecord
from data.sources import Arrays, Info, texts

_TFDS = "tfds:"
_EMBEDDED = {
    "fashion_mnist_mini": Info("fashion_mnist_mini", 10, mnist.GARMENTS, licence=mnist.FASHION_LICENCE),
    "movie_reviews": Info("movie_reviews", 2, ("negative", "positive"), licence="MIT, copyright 2014 C.J. Hutto"),
}
# Readers of a user's own folder: (split, data_dir, **options) -> source.
_FOLDERS = {
    "image_folder": image_folder.load,
    "npz": numpy_files.load_npz,
    "npy": numpy_files.load_npy,
    "text_lines": text_files.load_lines,
    "char_text": text_files.load_chars,
    "tfrecord": tfrecord.load,
}
_SPLITS = ("train", "test")

NAMES = (*_EMBEDDED, *mnist.SETS, *cifar.SETS, "imdb", *_FOLDERS)


def load(name, split="train", data_dir=None, download=False, **options):
    """A data set by name, or a folder of files by their kind: a source.

    | name | `inputs`, `labels` | `data_dir` holds |
    |---|---|---|
    | `fashion_mnist_mini` | uint8 28 × 28 × 1, 10 classes | nothing: it is embedded |
    | `movie_reviews` | UTF-8 sentences, 2 classes | nothing: it is embedded |
    | `fashion_mnist`, `mnist` | uint8 28 × 28 × 1, 10 classes | IDX files, gzipped (`.gz`) or not |
    | `cifar10`, `cifar100` | uint8 32 × 32 × 3, 10 or 100 classes | the `.bin` files, their folder, or the archive |
    | `imdb` | UTF-8 reviews, 2 classes | the folder `aclImdb` or the archive |
    | `image_folder` | uint8, classes by folder: `ImageFolder` | `<split>/<class>/…` or `<class>/…` |
    | `npz` | arrays in memory: `numpy_files.load_npz` | `<split>.npz` |
    | `npy` | arrays on the disk: `NpyFiles` | `<split>_inputs.npy`, `<split>_labels.npy` |
    | `text_lines`, `char_text` | UTF-8 lines, int32 windows: `TextLines`, `CharText` | `<split>.txt`, `<split>/*.txt` |
    | `tfrecord` | a stream: `TFRecords` | `<split>*.tfrecord`, `features.json` |
    | `tfds:NAME` | TensorFlow Datasets: `tfds.load` | what is prepared there |

    Labels are int32. `data_dir` is used as it is; no file of it is written. With `download`, official files that are
    not there are fetched into the cache (`TAPELINE_CACHE`, else `tapeline` in `XDG_CACHE_HOME` or `~/.cache`), resumed
    if that broke off before, and checked by SHA-256. `options` are those of the kind of file. Raises ValueError or
    OSError in one line that names the argument, or the file with byte or row, and says what to do.

    >>> test = load("fashion_mnist_mini", split="test")
    >>> len(test), test.info.class_names[test.arrays["labels"][0]]
    (2000, 'Ankle boot')
    >>> load("movie_reviews", split="test").arrays["inputs"][2]
    b"There's...an underlying Old World sexism to Monday Morning that undercuts its charm."
    """
    if name.startswith(_TFDS):
        _check_options(name, tfds.load, options, 4)
        return tfds.load(name.removeprefix(_TFDS), split, data_dir, download, **options)
    if name not in NAMES:
        raise ValueError(f"load: name must be one of {', '.join(NAMES)} or {_TFDS}NAME, found {name!r}")
    if split not in _SPLITS and name not in _FOLDERS:
        raise ValueError(f"load: split must be one of {', '.join(_SPLITS)}, found {split!r}")
    if name in _FOLDERS:
        if download:
            raise ValueError(f"load: {name} is no data set that can be downloaded: pass data_dir instead")
        _check_options(name, _FOLDERS[name], options, 2)
        return _FOLDERS[name](split, data_dir, **options)
    if options:
        raise ValueError(f"load: {name} has no options, found {', '.join(options)}")
    if name in _EMBEDDED:
        if data_dir is not None:
            raise ValueError(f"load: {name} is embedded: leave out data_dir, found {data_dir!r}")
        return _embedded(name, split)
    if name == "imdb":
        return imdb.load(split, data_dir, download)
    return (mnist if name in mnist.SETS else cifar).load(name, split, data_dir, download)


def _embedded(name, split):
    found = embedded.read(name, split)
    if name == "movie_reviews":
        inputs = texts(found["text"].tobytes().split(b"\n"))
    else:
        inputs = found["images"][..., np.newaxis]
    return Arrays(inputs, found["labels"].astype(np.int32), info=_EMBEDDED[name])


def _check_options(name, reader, options, positional):
    known = list(inspect.signature(reader).parameters)[positional:]
    if reader is image_folder.load:
        known = list(inspect.signature(image_folder.ImageFolder).parameters)[1:]
    for option in options:
        if option not in known:
            raise ValueError(f"load: {name} has the options {', '.join(known) or 'none'}, found {option!r}")
