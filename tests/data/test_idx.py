"""The IDX reader returns what a file holds, and refuses whatever a file should not hold."""

import gzip
import re
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import data
from data import idx


def idx_bytes(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def images(count, side=28):
    return np.random.default_rng(0).integers(0, 256, [count, side, side], np.uint8)


IMAGES = idx_bytes(images(3))
LABELS = idx_bytes(np.array([7, 0, 9], np.uint8))


@given(st.integers(1, 5), st.lists(st.integers(1, 4), max_size=2), st.booleans())
def test_what_was_written_is_read(tmp_path_factory, items, item_shape, zipped):
    array = np.random.default_rng(items).integers(0, 256, [items, *item_shape], np.uint8)
    path = tmp_path_factory.mktemp("idx") / ("file.gz" if zipped else "file")
    path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    np.testing.assert_array_equal(idx.read(path, tuple(item_shape)), array)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "expected the IDX magic 0000, found nothing"),
        (b"\x1f\x8b" + IMAGES[2:], "expected the IDX magic 0000, found 1f8b"),
        (b"\0\0\x0d\x03" + IMAGES[4:], "expected IDX type 0803, .* found 0d03"),
        (LABELS, "expected IDX type 0803, .* found 0801"),
        (IMAGES[:3], "expected IDX type 0803, .* found 08"),
        (IMAGES[:11], "expected a header of 16 bytes, found 11"),
        (idx_bytes(images(3, side=29)), r"expected items of shape \(28, 28\), found \(29, 29\)"),
        (idx_bytes(images(0)), "expected at least one item, found 0"),
        (IMAGES[:-1], "expected 2352 bytes of values, found only 2351"),
        (IMAGES + b"\0", "expected 2352 bytes of values, found more"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_that_is_not_the_images_it_claims_is_refused(tmp_path, content, reason, zipped):
    path = tmp_path / ("images.gz" if zipped else "images")
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {reason}[^\n]*$"):
        idx.read(path, (28, 28))


@pytest.mark.parametrize("zipped", [False, True])
def test_a_header_that_promises_terabytes_allocates_nothing(tmp_path, zipped):
    content = struct.pack(">BBBBIII", 0, 0, 8, 3, 2**32 - 1, 28, 28)
    path = tmp_path / ("images.gz" if zipped else "images")
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(ValueError, match="expected 3367254359280 bytes of values, found only 0"):
        idx.read(path, (28, 28))


def test_a_gzip_that_expands_beyond_its_header_is_left_at_the_first_byte_too_many(tmp_path):
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(LABELS + bytes(10**8)))
    with pytest.raises(ValueError, match="expected 3 bytes of values, found more"):
        idx.read(path, ())


@given(st.data())
def test_no_truncated_or_damaged_gzip_is_read_as_other_data(tmp_path_factory, draw):
    path = tmp_path_factory.mktemp("idx") / "images.gz"
    content = bytearray(gzip.compress(IMAGES, mtime=0))
    if draw.draw(st.booleans(), "truncate"):
        content = content[: draw.draw(st.integers(0, len(content) - 1), "length")]
    else:
        content[draw.draw(st.integers(0, len(content) - 1), "byte")] ^= 1 << draw.draw(st.integers(0, 7), "bit")
    path.write_bytes(content)
    try:
        found = idx.read(path, (28, 28))
    except ValueError as error:
        found = str(error)
    # Some bits of gzip's header (its clock, its operating system) say nothing about the content.
    if isinstance(found, np.ndarray):
        np.testing.assert_array_equal(found, images(3))
    else:
        assert re.fullmatch(f"{re.escape(str(path))}: .+", found)


def test_a_wrong_checksum_is_refused(tmp_path):
    path = tmp_path / "images.gz"
    content = bytearray(gzip.compress(IMAGES))
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"images.gz: truncated or corrupted gzip \(CRC check failed"):
        idx.read(path, (28, 28))


def write_set(folder, labels=LABELS):
    (folder / "train-images-idx3-ubyte").write_bytes(IMAGES)
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_load_reads_plain_and_gzipped_files_by_their_standard_names(tmp_path, name):
    write_set(tmp_path)
    source = data.load(name, data_dir=tmp_path)
    np.testing.assert_array_equal(source.arrays["inputs"], images(3)[..., np.newaxis])
    assert source.arrays["inputs"].dtype == np.uint8
    np.testing.assert_array_equal(source.arrays["labels"], [7, 0, 9])
    assert source.arrays["labels"].dtype == np.int32
    assert (source.info.name, source.info.classes, source.info.input_shape) == (name, 10, (28, 28, 1))


def test_labels_and_images_must_be_equally_many(tmp_path):
    write_set(tmp_path, labels=idx_bytes(np.array([1, 2], np.uint8)))
    with pytest.raises(ValueError, match=r"labels-idx1-ubyte.gz: expected 3 labels, .*images-idx3-ubyte, found 2$"):
        data.load("mnist", data_dir=tmp_path)


def test_a_label_outside_the_classes_is_refused_with_file_row_and_value(tmp_path):
    write_set(tmp_path, labels=idx_bytes(np.array([1, 10, 11], np.uint8)))
    with pytest.raises(ValueError, match=r"labels-idx1-ubyte.gz: mnist: the label in row 1 is 10, expected 0 to 9$"):
        data.load("mnist", data_dir=tmp_path)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz"):
        data.load("mnist", data_dir=tmp_path)
    write_set(tmp_path)
    with pytest.raises(FileNotFoundError, match="neither t10k-images-idx3-ubyte nor"):
        data.load("mnist", split="test", data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"data_dir .*absent is no directory"):
        data.load("mnist", data_dir=tmp_path / "absent")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            {"name": "imagenet"},
            "name must be one of fashion_mnist_mini, .*mnist, .*, found 'imagenet'",
        ),
        ({"name": "mnist", "split": "dev"}, "split must be one of train, test, found 'dev'"),
        ({"name": "mnist"}, "mnist needs data_dir"),
        ({"name": "fashion_mnist_mini", "data_dir": "here"}, "is embedded: leave out data_dir, found 'here'"),
    ],
)
def test_an_unknown_name_or_split_lists_the_legal_ones(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        data.load(**arguments)
