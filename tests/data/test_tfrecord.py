"""TFRecord files are a stream of what was written, which can be saved anywhere and stops at damage."""

import itertools
import json
import os
import re
import struct

import numpy as np
import pytest
import tensorflow as tf

import data

FEATURES = {
    "inputs": ("uint8", (2, 3)),
    "labels": ("int64", ()),
    "weights": ("float32", (2,)),
    "name": ("string", ()),
    "angle": ("float64", (1,)),
    "picture": ("image", (4, 5, 3)),
}


def example(number):
    rng = np.random.default_rng(number)
    return {
        "inputs": rng.integers(0, 256, [2, 3], np.uint8),
        "labels": np.int64(number),
        "weights": rng.normal(size=2).astype(np.float32),
        "name": f"é{number}".encode(),
        "angle": rng.normal(size=1),
        "picture": rng.integers(0, 256, [4, 5, 3], np.uint8),
    }


def serialised(number, **changes):
    given = {**example(number), **changes}
    made = {
        "labels": tf.train.Feature(int64_list=tf.train.Int64List(value=[given["labels"]])),
        "weights": tf.train.Feature(float_list=tf.train.FloatList(value=given["weights"])),
    }
    strings = {
        "inputs": given["inputs"].tobytes(),
        "name": given["name"],
        "angle": given["angle"].astype("<f8").tobytes(),
        "picture": tf.io.encode_png(given["picture"]).numpy(),
    }
    for name, content in strings.items():
        made[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
    return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()


def write(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    counter = itertools.count()
    for part, count in enumerate([3, 1, 4]):
        write(folder / f"train.tfrecord-{part:05}-of-00003", [serialised(next(counter)) for _ in range(count)])
    write(folder / "test.tfrecord", [serialised(100)])
    (folder / "features.json").write_text(json.dumps(FEATURES))
    return folder


@pytest.fixture(scope="module")
def source(files):
    return data.load("tfrecord", data_dir=files, classes=8)


def numbers(dataset):
    return [int(row["labels"]) for row in dataset]


def test_what_was_written_is_read_in_the_order_of_the_files(source):
    rows = list(source.dataset())
    assert len(rows) == 8
    for number, row in enumerate(rows):
        for name, value in example(number).items():
            np.testing.assert_array_equal(row[name].numpy(), value)
            assert row[name].shape == FEATURES[name][1]
    assert (source.length, source.arrays, source.examples) == (None, None, 8)
    assert source.info == data.Info("tfrecord", 8, input_shape=(2, 3))
    assert source.damage() is None


def test_splits_are_told_apart_by_their_names(files):
    assert numbers(data.load("tfrecord", "test", files).dataset()) == [100]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_shards_are_disjoint_and_together_the_whole(source, count):
    shards = [numbers(source.dataset((number, count))) for number in range(count)]
    assert sorted(itertools.chain(*shards)) == list(range(8))


def test_more_shards_than_files_are_refused(source):
    with pytest.raises(ValueError, match=r"3 files cannot be shared out as shard 3 of 4"):
        source.dataset((3, 4))


def test_an_iterator_is_saved_and_restored_anywhere(source, tmp_path):
    dataset = source.dataset()
    for stop in (0, 2, 3, 8):
        iterator = iter(dataset)
        for _ in range(stop):
            next(iterator)
        path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / f"{stop}"))
        fresh = iter(dataset)
        tf.train.Checkpoint(iterator=fresh).read(path).assert_consumed()
        assert [int(row["labels"]) for row in fresh] == list(range(stop, 8))


def flipped(content, position):
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


FIRST = len(serialised(0)) + 16


def test_a_damaged_record_is_found_and_named(tmp_path):
    good = write(tmp_path / "train.tfrecord", [serialised(0), serialised(1)])
    bad = tmp_path / "train2.tfrecord"
    content = bytearray(good.read_bytes())
    content[FIRST + 50] ^= 1
    bad.write_bytes(content)
    found = data.TFRecords([good, bad], {"inputs": FEATURES["inputs"]}).damage()
    assert re.search(rf"^{bad}: record 1: corrupted record at {FIRST + 12}.*; write the file again$", found), found


def masked_crc32c(content):
    """CRC-32C (Castagnoli, reflected polynomial 82F63B78), rotated and offset as the format has it."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def test_the_checksum_that_the_hostile_length_carries_is_the_right_one(tmp_path):
    content = write(tmp_path / "train.tfrecord", [b"record"]).read_bytes()
    assert content[8:12] == struct.pack("<I", masked_crc32c(content[:8]))


HARM = {
    "a length that is one too long": lambda content: content[:FIRST] + b"\xff" + content[FIRST + 1 :],
    "an end inside a record": lambda content: content[:-3],
    "an end inside a header": lambda content: content[: FIRST + 7],
    "an end before a checksum": lambda content: content[:-4],
    # TensorFlow would allocate it, and the process would end.
    "a length of 64 GiB with its checksum": lambda content: (
        content[:FIRST] + struct.pack("<QI", 2**36, masked_crc32c(struct.pack("<Q", 2**36))) + b"more"
    ),
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_lengths_that_lead_out_of_the_file_are_refused_before_tensorflow_reads_them(tmp_path, harm):
    path = write(tmp_path / "train.tfrecord", [serialised(0), serialised(1)])
    path.write_bytes(harm(path.read_bytes()))
    line = rf"^{path}: byte {FIRST}: record 1 of \d+ bytes leads beyond the end, at byte \d+; write the file again$"
    with pytest.raises(ValueError, match=line):
        data.TFRecords([path], FEATURES)


def test_a_file_that_is_cut_off_later_stops_the_stream(tmp_path):
    path = write(tmp_path / "train.tfrecord", [serialised(0), serialised(1)])
    source = data.TFRecords([path], FEATURES)
    dataset = source.dataset()
    os.truncate(path, FIRST + 7)
    assert sum(1 for _ in tf.data.TFRecordDataset(str(path))) == 1
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{path}.*ends inside a record"):
        numbers(dataset)
    assert source.damage().startswith(f"{path}: the file changed after the run had looked at it")


def test_a_file_that_was_written_again_is_refused(tmp_path):
    path = write(tmp_path / "train.tfrecord", [serialised(0), serialised(1)])
    source = data.TFRecords([path], FEATURES)
    write(path, [serialised(0), serialised(2)])
    os.utime(path, ns=(1, 1))
    with pytest.raises(ValueError, match=rf"^{path}: the file changed after the run had looked at it"):
        source.dataset()


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"no example", "Could not parse"),
        (tf.train.Example().SerializeToString(), "required but could not be found"),
        (serialised(0, inputs=np.zeros([2, 4], np.uint8)), r"expected 6 bytes of uint8 \(2, 3\)"),
        (serialised(0, weights=np.zeros(3, np.float32)), "weights"),
        (serialised(0, picture=np.zeros([5, 4, 3], np.uint8)), "shape"),
        (serialised(0, weights=np.array([0, np.nan], np.float32)), "weights has a value that is not finite"),
        (serialised(0, angle=np.array([np.inf])), "angle has a value that is not finite"),
        (serialised(0, labels=8), r"expected labels from 0 to 7, found\] \[8"),
        (serialised(0, labels=-1), r"expected labels from 0 to 7, found\] \[-1"),
    ],
)
def test_records_of_something_else_are_found_and_named(tmp_path, record, reason):
    found = data.TFRecords([write(tmp_path / "a.tfrecord", [serialised(0), record])], FEATURES, classes=8).damage()
    assert re.search(rf"^{tmp_path}/a.tfrecord: record 1: [^\n]*{reason}[^\n]*$", found), found


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        ({"labels": ("int64", ())}, "features must have inputs, found labels"),
        ({"inputs": ("complex64", ())}, "the dtype of inputs must be one of int64, .*, found 'complex64'"),
        ({"inputs": ("uint8", (0, 2))}, r"the shape of inputs must be of positive integers, found \(0, 2\)"),
        ({"inputs": ("image", (28, 28))}, r"inputs must have shape \(height, width, 1 or 3\)"),
    ],
)
def test_features_that_cannot_be_are_refused(files, features, reason):
    with pytest.raises(ValueError, match=reason):
        data.load("tfrecord", data_dir=files, features=features)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no train\*.tfrecord; put one there"):
        data.load("tfrecord", data_dir=tmp_path)
    (tmp_path / "train.tfrecord").touch()
    with pytest.raises(FileNotFoundError, match=r"has no features.json and no features were given"):
        data.load("tfrecord", data_dir=tmp_path)
    (tmp_path / "features.json").write_text('{"inputs": 3}')
    with pytest.raises(ValueError, match=r'features.json: expected {"inputs": \[dtype, \[sizes\]\], …}, found'):
        data.load("tfrecord", data_dir=tmp_path)
    (tmp_path / "features.json").write_text('{"inputs": ["uint8", [2]]}')
    with pytest.raises(ValueError, match=r"train.tfrecord: byte 0: record 0 of 0 bytes leads beyond the end"):
        data.load("tfrecord", data_dir=tmp_path)
