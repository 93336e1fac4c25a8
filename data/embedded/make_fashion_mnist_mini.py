"""Make fashion_mnist_mini.npz from the IDX files of the full Fashion-MNIST.

python -m data.embedded.make_fashion_mnist_mini --data_dir=<folder of the IDX files> --output=<file>

The same input gives the same bytes, wherever Python compresses with zlib (zlib-ng's deflate differs).
"""

import argparse
import hashlib
import io
import pathlib
import zipfile

import numpy as np

from data import idx

COUNTS = {"train": ("train", 6000), "test": ("t10k", 2000)}


def members(data_dir):
    """The arrays of the file, by name: the first images and labels of each split, uint8."""
    arrays = {}
    for split, (prefix, count) in COUNTS.items():
        images = idx.read(idx.find(data_dir, f"{prefix}-images-idx3-ubyte"), (28, 28))
        labels = idx.read(idx.find(data_dir, f"{prefix}-labels-idx1-ubyte"), ())
        arrays |= {f"{split}_images": images[:count], f"{split}_labels": labels[:count]}
    return arrays


def npz(arrays):
    """The bytes of an .npz of `arrays`; np.savez_compressed would write the time of day into it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            member.create_system = 3
            npy = io.BytesIO()
            np.lib.format.write_array(npy, array, version=(1, 0), allow_pickle=False)
            archive.writestr(member, npy.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    return content.getvalue()


def main():
    """Write the file and print its SHA-256."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True, help="the folder of the four IDX files, .gz or not")
    parser.add_argument("--output", required=True, type=pathlib.Path, help="the file to write")
    arguments = parser.parse_args()
    content = npz(members(arguments.data_dir))
    arguments.output.write_bytes(content)
    print(f"{arguments.output}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
