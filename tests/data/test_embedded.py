"""The embedded Fashion-MNIST is what its README says it is."""

import hashlib
import pathlib
import sys
import time
import zlib

import numpy as np
import pytest

import data
from data import embedded
from data.embedded import make_fashion_mnist_mini

FOLDER = pathlib.Path(data.__file__).with_name("embedded")
FILE = FOLDER / "fashion_mnist_mini.npz"
FULL_SET = pathlib.Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.parametrize(
    ("split", "per_class"),
    [
        ("train", [560, 643, 608, 612, 584, 594, 590, 617, 590, 602]),
        ("test", [200, 203, 214, 190, 219, 195, 197, 200, 194, 188]),
    ],
)
def test_counts_shapes_and_dtypes_are_those_of_the_readme(split, per_class):
    source = data.load("fashion_mnist_mini", split)
    inputs, labels = source.arrays["inputs"], source.arrays["labels"]
    assert (inputs.shape, inputs.dtype) == ((sum(per_class), 28, 28, 1), np.uint8)
    assert (labels.shape, labels.dtype) == ((sum(per_class),), np.int32)
    assert np.bincount(labels).tolist() == per_class
    assert str(per_class)[1:-1] in (FOLDER / "README.md").read_text(encoding="utf-8")
    assert source.info == data.Info(
        "fashion_mnist_mini", 10, source.info.class_names, (28, 28, 1), "MIT, copyright 2017 Zalando SE"
    )


def test_the_pictures_are_pictures():
    inputs = data.load("fashion_mnist_mini").arrays["inputs"]
    # Mean and standard deviation of all 60,000 are 0.2860 and 0.3530; a tenth of them comes close.
    assert inputs.mean() / 255 == pytest.approx(0.2860, abs=0.005)
    assert inputs.std() / 255 == pytest.approx(0.3530, abs=0.005)


def test_the_sha256_is_that_of_the_readme_and_of_the_loader():
    found = hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert found == embedded.SHA256["fashion_mnist_mini"]
    assert f"`{found}`" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_the_file_is_small_and_loads_in_a_blink():
    assert FILE.stat().st_size <= 5_000_000
    start = time.process_time()
    data.load("fashion_mnist_mini")
    assert time.process_time() - start < 0.3


def test_a_damaged_file_is_refused(monkeypatch):
    monkeypatch.setitem(embedded.SHA256, "fashion_mnist_mini", "0" * 64)
    with pytest.raises(ValueError, match=r"fashion_mnist_mini.npz: expected SHA-256 0+, found [0-9a-f]{64}; install"):
        data.load("fashion_mnist_mini")


needs_full_set = pytest.mark.skipif(
    not FULL_SET.is_dir(), reason=f"no {FULL_SET}: install the Debian package dataset-fashion-mnist"
)


@needs_full_set
def test_the_file_holds_the_first_examples_of_the_full_set():
    arrays = make_fashion_mnist_mini.members(FULL_SET)
    with np.load(FILE, allow_pickle=False) as archive:
        assert sorted(archive) == sorted(arrays)
        for name in archive:
            np.testing.assert_array_equal(archive[name], arrays[name])


@needs_full_set
@pytest.mark.skipif("ng" in zlib.ZLIB_RUNTIME_VERSION, reason="zlib-ng deflates to other bytes: use classic zlib")
def test_the_script_remakes_the_file_byte_for_byte(tmp_path, monkeypatch):
    output = tmp_path / "remade.npz"
    monkeypatch.setattr(sys, "argv", ["make", f"--data_dir={FULL_SET}", f"--output={output}"])
    make_fashion_mnist_mini.main()
    assert output.read_bytes() == FILE.read_bytes()
