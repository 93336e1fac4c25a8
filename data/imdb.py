"""The Large Movie Review Dataset, from its official `aclImdb` folder or archive: whole reviews as raw text.

A. Maas, R. Daly, P. Pham, D. Huang, A. Ng, C. Potts, "Learning word vectors for sentiment analysis", ACL 2011.
"""

import pathlib
import re

import numpy as np

from data import archives, download, files
from data.download import Remote
from data.sources import Arrays, Info, texts

REMOTE = Remote(
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    84125825,
    "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
)
PER_CLASS = 12_500
_INFO = Info("imdb", 2, ("negative", "positive"), licence="none stated; cite Maas et al., ACL 2011")
_FOLDERS = ("neg", "pos")
_MEMBER = re.compile(r"aclImdb/(train|test)/(neg|pos)/\d+_\d+\.txt")
_LONGEST = 1 << 20
# The archive holds 50,000 reviews without a rating, and lists of words, beside the 50,000 that are read.
_EXPANDED = 1 << 30


def load(split, data_dir, fetch):
    """`inputs` `[examples]`, each the UTF-8 bytes of a review, and `labels` int32, 1 where it is positive.

    First all negative reviews, then the positive ones, each in the order of their files' names.
    """
    folder = download.locate("imdb", [REMOTE], data_dir, fetch, lambda paths: _unpacked(paths[0]), _find)
    found = _find(folder)
    if found is None:
        raise FileNotFoundError(
            f"{folder} has neither {REMOTE.name} nor the folder aclImdb; put one there, or correct data_dir"
        )
    if found.is_dir():
        where = f"{found}/"
        paths = [path for kind in _FOLDERS for path in (found / split / kind).glob("*.txt")]
        contents = {path.relative_to(found).as_posix(): files.read(path, _LONGEST) for path in paths}
    else:
        mark = download.verify(found, REMOTE)
        where = f"{found}: aclImdb/"
        contents = {name.removeprefix("aclImdb/"): content for name, content in _unpacked(found, mark).items()}
    inputs, labels = [], []
    for label, kind in enumerate(_FOLDERS):
        names = sorted(name for name in contents if re.fullmatch(rf"{split}/{kind}/\d+_\d+\.txt", name))
        if len(names) != PER_CLASS:
            raise ValueError(
                f"{where}{split}/{kind}: expected {PER_CLASS} reviews, found {len(names)}; unpack {REMOTE.name} again"
            )
        for name in names:
            files.check_utf8(contents[name], where + name)
        inputs += [contents[name] for name in names]
        labels += [label] * len(names)
    return Arrays(texts(inputs), np.array(labels, np.int32), info=_INFO)


def _find(folder):
    """The folder with `train` and `test`, or the archive, or None."""
    folder = pathlib.Path(folder)
    for place in (folder, folder / "aclImdb"):
        if all((place / split / kind).is_dir() for split in ("train", "test") for kind in _FOLDERS):
            return place
    archive = folder / REMOTE.name
    return archive if archive.is_file() else None


def _unpacked(archive, mark=None):
    return archives.members(archive, _MEMBER.fullmatch, _EXPANDED, mark)
