"""Every name is loaded or refused in one line that says what would be right."""

import hashlib
import os

import numpy as np
import pytest

import data
from data import download, mnist
from data.download import Remote

FOLDERS = ["image_folder", "npz", "npy", "text_lines", "char_text", "tfrecord"]
OFFICIAL = ["fashion_mnist", "mnist", "cifar10", "cifar100", "imdb"]


def test_every_name_of_the_catalogue_is_tried_here():
    assert sorted(data.NAMES) == sorted([*FOLDERS, *OFFICIAL, "fashion_mnist_mini", "movie_reviews"])


@pytest.mark.parametrize("name", [*FOLDERS, *OFFICIAL])
def test_what_is_not_embedded_asks_for_its_folder_and_says_what_belongs_there(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TAPELINE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(
        ValueError, match=r"^[^\n]*data_dir[^\n]*the folder of [^\n]*$|^[^\n]*one folder of images[^\n]*$"
    ):
        data.load(name)
    with pytest.raises(FileNotFoundError, match=r"data_dir .*absent is no directory; make it, and put .* into it$"):
        data.load(name, data_dir=tmp_path / "absent")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"name": "imagenet"}, r"name must be one of fashion_mnist_mini, .*, tfrecord or tfds:NAME, found 'imagenet'"),
        ({"name": "imdb", "split": "dev"}, "split must be one of train, test, found 'dev'"),
        ({"name": "movie_reviews", "data_dir": "here"}, "movie_reviews is embedded: leave out data_dir, found 'here'"),
        ({"name": "mnist", "size": 3}, "mnist has no options, found size"),
        ({"name": "npz", "size": 3}, "npz has the options classes, max_bytes, found 'size'"),
        ({"name": "image_folder", "size": 3}, "image_folder has the options image_size, channels, .*, found 'size'"),
        ({"name": "npy", "download": True}, "npy is no data set that can be downloaded: pass data_dir"),
    ],
)
def test_arguments_that_mean_nothing_are_refused_with_what_would(arguments, reason):
    with pytest.raises(ValueError, match=rf"^load: {reason}[^\n]*$"):
        data.load(**arguments)


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_files_are_known_by_size_and_sha256(name, tmp_path, monkeypatch):
    asked = []

    def fetch(remote, folder, instead):
        asked.append(remote)
        raise ConnectionError(f"{remote.url}: no network; {instead}")

    monkeypatch.setenv("TAPELINE_CACHE", str(tmp_path))
    monkeypatch.setattr(download, "_fetch", fetch)
    with pytest.raises(
        ConnectionError, match=r"^http\S+: no network; put \S+\.gz( and \S+)* into a folder[^\n]*data_dir$"
    ):
        data.load(name, download=True)
    for remote in asked:
        assert len(bytes.fromhex(remote.sha256)) == 32
        assert remote.size > 4000


def test_files_of_several_downloads_are_published_together(tmp_path, monkeypatch):
    remotes = []
    incoming = tmp_path / "cache/mnist.incoming"
    incoming.mkdir(parents=True)
    for remote, array in zip(
        mnist.SETS["mnist"].remotes,
        [np.zeros([3, 28, 28]), np.arange(3), np.ones([2, 28, 28]), np.array([4, 4])],
        strict=True,
    ):
        header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
        # Plain bytes under a zipped file's name: what matters here is where they go.
        content = header + array.astype(np.uint8).tobytes()
        (incoming / remote.name).write_bytes(content)
        remotes.append(Remote(remote.url, len(content), hashlib.sha256(content).hexdigest()))
    monkeypatch.setenv("TAPELINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(mnist.SETS, "mnist", mnist._Set(mnist.SETS["mnist"].info, tuple(remotes)))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz: truncated or corrupted gzip"):
        data.load("mnist", download=True)
    assert sorted(os.listdir(tmp_path / "cache")) == ["mnist", "mnist.lock"]
    for path in (tmp_path / "cache/mnist").iterdir():
        path.rename(path.with_suffix(""))
    assert data.load("mnist").arrays["labels"].tolist() == [0, 1, 2]
    assert data.load("mnist", "test").arrays["labels"].tolist() == [4, 4]


def test_what_is_in_data_dir_is_used_and_the_cache_left_alone(tmp_path, monkeypatch):
    def obtain(*arguments):
        raise AssertionError(arguments)

    monkeypatch.setattr(download, "obtain", obtain)
    for name, array in {"images-idx3": np.zeros([1, 28, 28]), "labels-idx1": np.array([7])}.items():
        header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
        (tmp_path / f"train-{name}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
    assert data.load("mnist", data_dir=tmp_path, download=True).arrays["labels"].tolist() == [7]
