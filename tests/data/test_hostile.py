"""Random damage to any file ends in the same data, in one line that names the file, or, without a checksum, in data
of the same shape: never in a crash, a hang, or a file where none belongs.
"""

import dataclasses
import gzip
import hashlib
import io
import os
import re
import signal
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import data
from data import archives, cifar, download, files, idx, imdb, tfrecord

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, [3, 28, 28], np.uint8)
# Of 16 formats: more than 1,000 here, and 10 times as many on request.
CASES = 66
SECONDS = 20


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


def npy_bytes(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz_bytes(**arrays):
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def image_bytes(kind, **options):
    out = io.BytesIO()
    # Smooth, so that a JPEG is small; with a palette, so that a GIF has one.
    image = Image.fromarray(np.add.outer(np.arange(12), 9 * np.arange(16)).astype(np.uint8)).convert("RGB")
    image.save(out, kind, **options)
    return out.getvalue()


def tar_bytes(zipped=True):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in {"set/a": b"A" * 600, "set/b": bytes(range(256))}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(out.getvalue(), mtime=0) if zipped else out.getvalue()


def tfrecord_bytes():
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"hostile-{os.getpid()}.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for number in range(3):
            value = tf.train.Feature(int64_list=tf.train.Int64List(value=[number]))
            writer.write(tf.train.Example(features=tf.train.Features(feature={"inputs": value})).SerializeToString())
    with open(path, "rb") as file:
        content = file.read()
    os.unlink(path)
    return content


@dataclasses.dataclass(frozen=True)
class Format:
    """A file's place under the folder, its bytes, how the folder is read, and whether a checksum covers the data."""

    path: str
    content: bytes
    read: object
    checksum: bool = False


def images(folder, **options):
    return data.ImageFolder(folder, **options)[np.arange(1)]


def records(folder):
    source = data.TFRecords([folder / "train.tfrecord"], {"inputs": ("int64", ())})
    return {"inputs": _joined(source._paths[0], source._sizes[0]).numpy().split(b".")[:-1]}


@tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int64)], autograph=False)
def _joined(path, size):
    # All records as one string: one trace serves every case.
    encoded = tfrecord._records(path, size).map(tf.io.encode_base64)
    return encoded.reduce("", lambda sofar, record: sofar + record + ".")


def lines(folder):
    source = data.load("text_lines", data_dir=folder)
    return source[np.arange(len(source))]


def small_cifar(folder):
    with pytest.MonkeyPatch.context() as patch:
        known = cifar.SETS["cifar10"]
        patch.setitem(cifar.SETS, "cifar10", dataclasses.replace(known, records={"train": 2, "test": 2}))
        return data.load("cifar10", "test", folder).arrays


def small_imdb(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imdb, "PER_CLASS", 1)
        for path in ("train/pos/0_9.txt", "test/neg/0_1.txt", "test/pos/0_9.txt"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(b"Fine.")
        return data.load("imdb", "train", folder).arrays


CIFAR = b"".join(bytes([label]) + bytes(RNG.integers(0, 256, 3072, np.uint8)) for label in (3, 7))
FORMATS = {
    "idx": Format("f", idx_bytes(PIXELS), lambda folder: {"inputs": idx.read(folder / "f", (28, 28))}),
    "idx.gz": Format(
        "f.gz", gzip.compress(idx_bytes(PIXELS)), lambda folder: {"inputs": idx.read(folder / "f.gz", (28, 28))}, True
    ),
    "tar.gz": Format("f.tar.gz", tar_bytes(), lambda folder: archives.members(folder / "f.tar.gz", bool, 20_000), True),
    "idx labels": Format("f", idx_bytes(PIXELS[:, 0, 0] % 10), lambda folder: {"inputs": idx.read(folder / "f", ())}),
    "imdb": Format("train/neg/0_1.txt", "Schön is different.\n".encode(), small_imdb),
    "cifar": Format("test_batch.bin", CIFAR, small_cifar),
    "npz": Format(
        "train.npz",
        npz_bytes(inputs=RNG.normal(size=[5, 4]), labels=np.arange(5)),
        lambda folder: data.load("npz", data_dir=folder, classes=5).arrays,
        True,
    ),
    "npy": Format(
        "train_inputs.npy",
        npy_bytes(RNG.normal(size=[5, 4])),
        lambda folder: data.load("npy", data_dir=folder)[np.arange(5)],
    ),
    "text_lines": Format("train.txt", "eins\nzwei é €\ndrei\n".encode(), lines),
    "char_text": Format(
        "train.txt",
        "eins zwei é € drei".encode(),
        lambda folder: data.load("char_text", data_dir=folder, window=4)[[0]],
    ),
    "tfrecord": Format("train.tfrecord", tfrecord_bytes(), records, True),
    "png": Format("a/f.png", image_bytes("PNG"), images, True),
    "jpeg": Format("a/f.jpg", image_bytes("JPEG"), images),
    "progressive jpeg": Format("a/f.jpg", image_bytes("JPEG", progressive=True), images),
    "gif": Format("a/f.gif", image_bytes("GIF"), images),
    "bmp": Format("a/f.bmp", image_bytes("BMP"), images),
}

damage = st.one_of(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4),
    st.floats(0, 1, exclude_max=True),
    st.binary(min_size=1, max_size=30),
)


def damaged(content, harm):
    """Bytes changed at places (shares of the length), the file cut at a place, or bytes put behind its end."""
    if isinstance(harm, float):
        return content[: int(harm * len(content))]
    if isinstance(harm, bytes):
        return content + harm
    content = bytearray(content)
    for place, change in harm:
        content[int(place * len(content))] ^= change
    return bytes(content)


def same(found, expected):
    return found.keys() == expected.keys() and all(
        np.array_equal(np.asarray(found[name]), np.asarray(expected[name])) for name in expected
    )


def listed(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def undamaged(folder, form):
    path = folder / form.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(form.content)
    return form.read(folder)


def check(folder, form, expected, harm):
    path, before = folder / form.path, listed(folder)
    path.write_bytes(damaged(form.content, harm))
    signal.alarm(SECONDS)
    try:
        found = form.read(folder)
    except (ValueError, tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        found = str(error)
    finally:
        signal.alarm(0)
    assert listed(folder) == before
    if isinstance(found, str):
        # TensorFlow's own errors about records name no file: `damage` does, which is tested beside it.
        assert form.path.endswith("tfrecord") or re.match(rf"{re.escape(str(path))}: [^\n]+$", found), found
    elif form.path.endswith("tfrecord"):
        # Whole records at the end can be missing unnoticed: nothing in the format counts them.
        assert found["inputs"] == expected["inputs"][: len(found["inputs"])]
    elif form.checksum:
        assert same(found, expected)
    else:
        assert {name: np.shape(value)[1:] for name, value in found.items()}.keys() == expected.keys()


@pytest.fixture
def alarmed():
    def late(*_):
        raise AssertionError(f"not done in {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", FORMATS)
def test_damage_is_refused_or_harmless(tmp_path, alarmed, name):
    expected = undamaged(tmp_path, FORMATS[name])

    @given(damage)
    @settings(max_examples=CASES, database=None)
    def attack(harm):
        check(tmp_path, FORMATS[name], expected, harm)

    attack()


@pytest.mark.soak
@pytest.mark.parametrize("name", FORMATS)
def test_ten_times_as_much_damage_is_refused_or_harmless(tmp_path, alarmed, name):
    expected = undamaged(tmp_path, FORMATS[name])

    @given(damage)
    @settings(max_examples=10 * CASES, database=None, derandomize=False, print_blob=True)
    def attack(harm):
        check(tmp_path, FORMATS[name], expected, harm)

    attack()


@pytest.mark.parametrize("zipped", [False, True])
def test_a_tar_in_a_sound_gzip_is_refused_for_its_own_damage(tmp_path, alarmed, zipped):
    """Damage below the gzip, where no checksum covers the bytes of a member: names and sizes are still checked."""
    plain = tar_bytes(zipped=False)

    @given(damage)
    @settings(max_examples=CASES, database=None)
    def attack(harm):
        path = tmp_path / "f.tar.gz"
        path.write_bytes(gzip.compress(damaged(plain, harm), 9 if zipped else 0))
        try:
            found = archives.members(path, {"set/a", "set/b"}.__contains__, 20_000)
        except ValueError as error:
            found = str(error)
        assert listed(tmp_path) == ["f.tar.gz"]
        if isinstance(found, str):
            assert re.match(rf"{re.escape(str(path))}: byte \d+: [^\n]+$", found)
        else:
            assert {len(content) for content in found.values()} <= {600, 256}

    attack()


def test_a_hostile_download_leaves_nothing_outside_the_cache(tmp_path, monkeypatch):
    hostile = io.BytesIO()
    with tarfile.open(fileobj=hostile, mode="w:gz") as tar:
        for name in ("../../escaped", "/tmp/tapeline-escaped", "cifar-10-batches-bin/../../escaped"):
            tar.addfile(tarfile.TarInfo(name))
    content = hostile.getvalue()
    remote = download.Remote(
        "http://127.0.0.1:9/cifar-10-binary.tar.gz", len(content), hashlib.sha256(content).hexdigest()
    )
    monkeypatch.setenv("TAPELINE_CACHE", str(tmp_path / "deep/cache"))
    monkeypatch.setitem(cifar.SETS, "cifar10", dataclasses.replace(cifar.SETS["cifar10"], remote=remote))
    incoming = tmp_path / "deep/cache/cifar10.incoming"
    incoming.mkdir(parents=True)
    (incoming / remote.name).write_bytes(content)
    with pytest.raises(ValueError, match=r"byte 0: member '../../escaped' leads out of the archive"):
        data.load("cifar10", download=True)
    assert listed(tmp_path / "deep/cache") == ["cifar10.incoming", f"cifar10.incoming/{remote.name}", "cifar10.lock"]
    assert listed(tmp_path) == [
        "deep",
        "deep/cache",
        *(f"deep/cache/{name}" for name in listed(tmp_path / "deep/cache")),
    ]
    assert not os.path.exists("/tmp/tapeline-escaped")


@pytest.mark.parametrize("name", ["idx", "cifar", "npz", "npy"])
def test_a_file_that_grows_while_a_source_reads_it_is_refused(tmp_path, monkeypatch, name):
    form = FORMATS[name]
    path = tmp_path / form.path
    path.write_bytes(form.content)
    opened = files.opened

    def growing(path, mark=None):
        manager = opened(path, mark)
        enter = manager.__enter__

        class Growing:
            def __enter__(self):
                stream = enter()
                with open(path, "ab") as more:
                    more.write(b"more")
                return stream

            def __exit__(self, *arguments):
                return manager.__exit__(*arguments)

        return Growing()

    monkeypatch.setattr(files, "opened", growing)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: "):
        form.read(tmp_path)


def test_an_npz_of_stored_members_is_covered_by_its_checksums_too(tmp_path, alarmed):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("inputs.npy", npy_bytes(np.arange(30.0)))
    form = dataclasses.replace(FORMATS["npz"], content=out.getvalue())
    expected = undamaged(tmp_path, form)

    @given(damage)
    @settings(max_examples=CASES, database=None)
    def attack(harm):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(tmp_path, form, expected, harm)

    attack()
