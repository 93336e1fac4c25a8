"""CIFAR is read from its binary files, wherever they are, and from no others."""

import contextlib
import dataclasses
import hashlib
import io
import re
import tarfile

import numpy as np
import pytest

import data
from data import cifar
from data.download import Remote

RECORDS = 4


def records(name, seed):
    """Records as they stand in a file, and what they mean: images [n, 32, 32, 3] and labels."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, [RECORDS, 32, 32, 3], np.uint8)
    labels = rng.integers(0, cifar.SETS[name].label_classes, (RECORDS, len(cifar.SETS[name].label_classes))).astype(
        np.uint8
    )
    rows = [
        label.tobytes() + b"".join(image[:, :, colour].tobytes() for colour in range(3))
        for image, label in zip(images, labels, strict=True)
    ]
    return b"".join(rows), images, labels[:, -1]


def contents(name):
    known = cifar.SETS[name]
    return {
        file: records(name, seed) for seed, file in enumerate(file for group in known.files.values() for file in group)
    }


def archive(name, files, extra=()):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for file, content in {"readme.html": b"<p>", **files, **dict(extra)}.items():
            info = tarfile.TarInfo(f"{cifar.SETS[name].folder}/{file}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@contextlib.contextmanager
def small(name, content=b""):
    """The set with few records, and the archive `content` as its official one."""
    known = cifar.SETS[name]
    remote = Remote(known.remote.url, len(content), hashlib.sha256(content).hexdigest())
    with pytest.MonkeyPatch.context() as patch:
        changed = dataclasses.replace(known, remote=remote, records=dict.fromkeys(known.records, RECORDS))
        patch.setitem(cifar.SETS, name, changed)
        yield


def write(folder, name, how):
    files = {file: content for file, (content, _, _) in contents(name).items()}
    if how == "archive":
        (folder / cifar.SETS[name].remote.name).write_bytes(archive(name, files))
    else:
        place = folder / cifar.SETS[name].folder if how == "folder" else folder
        place.mkdir(exist_ok=True)
        for file, content in files.items():
            (place / file).write_bytes(content)
    return archive(name, files)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("how", ["files", "folder", "archive"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_what_was_written_is_read_from_files_folder_and_archive(tmp_path, monkeypatch, name, how, split):
    monkeypatch.setenv("TAPELINE_CACHE", str(tmp_path / "cache"))
    content = write(tmp_path, name, how)
    if how == "archive":
        content = (tmp_path / cifar.SETS[name].remote.name).read_bytes()
    with small(name, content):
        source = data.load(name, split, tmp_path, download=True)
    expected = [contents(name)[file] for file in cifar.SETS[name].files[split]]
    np.testing.assert_array_equal(source.arrays["inputs"], np.concatenate([images for _, images, _ in expected]))
    np.testing.assert_array_equal(source.arrays["labels"], np.concatenate([labels for _, _, labels in expected]))
    assert (source.arrays["inputs"].dtype, source.arrays["labels"].dtype) == (np.uint8, np.int32)
    assert source.info.input_shape == (32, 32, 3)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("name", "files", "records_in_all", "size", "classes"),
    [("cifar10", 6, 60_000, 170_052_171, 10), ("cifar100", 2, 60_000, 168_513_733, 100)],
)
def test_the_official_sets_are_as_large_as_they_are(name, files, records_in_all, size, classes):
    known = cifar.SETS[name]
    counts = [known.records[split] * len(group) for split, group in known.files.items()]
    assert (sum(map(len, known.files.values())), sum(counts)) == (files, records_in_all)
    assert (known.remote.size, known.info.classes, len(set(known.info.class_names))) == (size, classes, classes)
    assert list(known.info.class_names) == sorted(known.info.class_names)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (
            lambda content: content[:-1],
            "expected 4 records of 3073 bytes, found 12291 bytes: record 3 ends at byte 3072",
        ),
        (lambda content: content + b"\0", "expected at most 12292 bytes, found more"),
        (lambda content: b"", "expected 4 records of 3073 bytes, found 0 bytes"),
        (
            lambda content: content[: 2 * 3073] + b"\x0a" + content[2 * 3073 + 1 :],
            "byte 6146: the label of record 2 is 10, expected 0 to 9",
        ),
    ],
)
def test_a_file_that_is_no_such_records_is_refused_with_byte_and_record(tmp_path, harm, reason):
    write(tmp_path, "cifar10", "files")
    path = tmp_path / "test_batch.bin"
    path.write_bytes(harm(path.read_bytes()))
    with small("cifar10"), pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: {reason}[^\n]*$"):
        data.load("cifar10", "test", tmp_path)


def test_a_coarse_label_outside_its_classes_is_refused_too(tmp_path):
    write(tmp_path, "cifar100", "files")
    path = tmp_path / "test.bin"
    path.write_bytes(b"\x14" + path.read_bytes()[1:])
    with small("cifar100"), pytest.raises(ValueError, match=r"test.bin: byte 0: the label of record 0 is 20"):
        data.load("cifar100", "test", tmp_path)


def test_another_archive_is_refused_before_it_is_opened(tmp_path):
    content = write(tmp_path, "cifar10", "archive")
    path = tmp_path / "cifar-10-binary.tar.gz"
    with small("cifar10", content):
        path.write_bytes(bytes(len(content)))
        with pytest.raises(ValueError, match=r"cifar-10-binary.tar.gz: expected SHA-256 [0-9a-f]{64}, found"):
            data.load("cifar10", "train", tmp_path)
        path.write_bytes(content[:-1])
        with pytest.raises(ValueError, match=rf"expected {len(content)} bytes, found {len(content) - 1}; fetch https"):
            data.load("cifar10", "train", tmp_path)


def test_an_archive_without_one_of_the_files_is_refused(tmp_path):
    files = {file: content for file, (content, _, _) in contents("cifar10").items() if file != "data_batch_3.bin"}
    content = archive("cifar10", files)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(content)
    with (
        small("cifar10", content),
        pytest.raises(ValueError, match=r"expected a member .*data_batch_3.bin, found none"),
    ):
        data.load("cifar10", "train", tmp_path)


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match=r"cifar10 needs data_dir, the folder of cifar-10-binary.tar.gz, or download"):
        data.load("cifar10")


def test_an_empty_folder_is_told_what_belongs_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither cifar-100-binary.tar.gz nor train.bin; put them there"):
        data.load("cifar100", data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"data_dir .*absent is no directory"):
        data.load("cifar100", data_dir=tmp_path / "absent")
