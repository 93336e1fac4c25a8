"""IMDB's reviews are read from the folder and from the archive as the same bytes."""

import hashlib
import io
import tarfile

import numpy as np
import pytest

import data
from data import imdb
from data.download import Remote

# In the order in which they are to be read, of each split and class.
REVIEWS = {"0_3.txt": b"Bad. <br /> Really.", "10_1.txt": "Très mauvais".encode(), "2_4.txt": b""}


def contents():
    return {
        f"aclImdb/{split}/{kind}/{name}": text + f" {split} {kind}".encode()
        for split in ("train", "test")
        for kind in ("pos", "neg")
        for name, text in reversed(REVIEWS.items())
    }


def packed(files):
    out = io.BytesIO()
    others = {"aclImdb/README": b"words", "aclImdb/train/unsup/0_0.txt": b"\xff", "aclImdb/train/urls_pos.txt": b"http"}
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in {**others, **files}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    content = packed(contents())
    monkeypatch.setattr(imdb, "PER_CLASS", len(REVIEWS))
    monkeypatch.setattr(imdb, "REMOTE", Remote(imdb.REMOTE.url, len(content), hashlib.sha256(content).hexdigest()))
    return content


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("how", ["inside", "folder", "archive"])
def test_folder_and_archive_give_the_same_reviews_in_the_same_order(tmp_path, few, how, split):
    if how == "archive":
        (tmp_path / "aclImdb_v1.tar.gz").write_bytes(few)
    else:
        write(tmp_path, contents() | {"aclImdb/train/pos/.DS_Store": b"\xff", "aclImdb/train/pos/notes.txt": b"\xff"})
    source = data.load("imdb", split, tmp_path / "aclImdb" if how == "inside" else tmp_path)
    expected = [text + f" {split} {kind}".encode() for kind in ("neg", "pos") for text in REVIEWS.values()]
    assert source.arrays["inputs"].tolist() == expected
    np.testing.assert_array_equal(source.arrays["labels"], [0, 0, 0, 1, 1, 1])
    assert (source.info.classes, source.info.input_shape) == (2, ())


def test_what_is_downloaded_is_a_folder_in_the_cache(tmp_path, monkeypatch, few):
    monkeypatch.setenv("TAPELINE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache/imdb.incoming").mkdir(parents=True)
    (tmp_path / "cache/imdb.incoming/aclImdb_v1.tar.gz").write_bytes(few)
    source = data.load("imdb", data_dir=tmp_path, download=True)
    assert len(source) == 6
    files = sorted(path.relative_to(tmp_path / "cache/imdb").as_posix() for path in tmp_path.rglob("*.txt"))
    assert files == sorted(contents())
    assert data.load("imdb").arrays["inputs"].tolist() == source.arrays["inputs"].tolist()


@pytest.mark.parametrize("how", ["folder", "archive"])
def test_a_review_that_is_not_utf8_is_named_with_its_byte(tmp_path, monkeypatch, how):
    files = contents() | {"aclImdb/train/pos/10_1.txt": b"caf\xe9!"}
    write(tmp_path, files)
    where = "aclImdb/train/pos"
    if how == "archive":
        content = packed(files)
        (tmp_path / "a").mkdir()
        (tmp_path / "a/aclImdb_v1.tar.gz").write_bytes(content)
        monkeypatch.setattr(imdb, "REMOTE", Remote(imdb.REMOTE.url, len(content), hashlib.sha256(content).hexdigest()))
        tmp_path, where = tmp_path / "a", "aclImdb_v1.tar.gz: aclImdb/train/pos"
    with pytest.raises(ValueError, match=rf"{where}/10_1.txt: byte 3: not UTF-8 \([^\n]*, found e9 21\)[^\n]*$"):
        data.load("imdb", data_dir=tmp_path)


def test_a_set_that_is_not_whole_is_refused(tmp_path):
    write(tmp_path, contents())
    (tmp_path / "aclImdb/test/neg/2_4.txt").unlink()
    with pytest.raises(ValueError, match=r"aclImdb/test/neg: expected 3 reviews, found 2; unpack aclImdb_v1.tar.gz"):
        data.load("imdb", "test", tmp_path)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has neither aclImdb_v1.tar.gz nor the folder aclImdb; put one there"):
        data.load("imdb", data_dir=tmp_path)


def test_text_reaches_a_pipeline_as_strings(tmp_path):
    write(tmp_path, contents())
    batch = next(iter(data.Pipeline(data.load("imdb", data_dir=tmp_path), 6, shuffle=False).evaluation()))
    assert batch["inputs"].dtype.name == "string"
    assert batch["inputs"].numpy()[1] == "Très mauvais train neg".encode()
