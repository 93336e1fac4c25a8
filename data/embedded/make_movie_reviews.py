"""Make movie_reviews.npz from the source distribution of vaderSentiment 0.5.

python -m data.embedded.make_movie_reviews --sdist=<vaderSentiment-0.5.zip> --output=<file>

The same input gives the same bytes, wherever Python compresses with zlib (zlib-ng's deflate differs).
"""

import argparse
import hashlib
import io
import pathlib
import tarfile
import zipfile

import numpy as np

from data.draws import philox_key
from data.embedded.make_fashion_mnist_mini import npz
from data.sources import Arrays, texts
from data.splits import split

ARCHIVE = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
MEMBER = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
FRACTIONS = {"train": 0.8, "test": 0.2}


def rated(sdist):
    """The sentences whose mean rating is not 0, in the file's order, as `bytes`, and 1 where it is above 0."""
    with zipfile.ZipFile(sdist) as outer:
        archive = io.BytesIO(outer.read(ARCHIVE))
    with tarfile.open(fileobj=archive) as inner:
        lines = inner.extractfile(MEMBER).read().decode("utf-8").split("\r\n")
    fields = [line.split("\t") for line in lines]
    kept = [(float(rating), text.encode()) for _, rating, text in fields if float(rating) != 0]
    return [text for _, text in kept], np.array([rating > 0 for rating, _ in kept], np.uint8)


def members(sdist):
    """The arrays of the file, by name: the sentences of each split with a line feed between, and their labels."""
    sentences, labels = rated(sdist)
    # The file has the favourable reviews first: sorted random words put the sentences in another order.
    order = np.random.Philox(key=int(philox_key(0, "movie_reviews")[0])).random_raw(len(labels)).argsort(kind="stable")
    source = Arrays(texts(sentences)[order], labels[order])
    arrays = {}
    for name, part in split(source, FRACTIONS, seed=0, stratify=True).items():
        arrays[f"{name}_text"] = np.frombuffer(b"\n".join(part.arrays["inputs"]), np.uint8)
        arrays[f"{name}_labels"] = part.arrays["labels"]
    return arrays


def main():
    """Write the file and print its SHA-256."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sdist", required=True, help="vaderSentiment-0.5.zip, from the Python package index")
    parser.add_argument("--output", required=True, type=pathlib.Path, help="the file to write")
    arguments = parser.parse_args()
    content = npz(members(arguments.sdist))
    arguments.output.write_bytes(content)
    print(f"{arguments.output}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
