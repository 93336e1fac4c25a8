"""TFRecord files of `tf.train.Example` as a stream, in as many files as there are.

A file is records: their length (8 bytes, little-endian), its masked CRC-32C, the bytes, their masked CRC-32C.
"""

import concurrent.futures
import json
import math
import os

import numpy as np
import tensorflow as tf

from data import files
from data.sources import Info

_SUFFIXES = (".tfrecord", ".tfrecords")
_FRAME = 16
_WORKERS = min(16, os.cpu_count() or 1)
# What an Example has lists for. All else is the bytes of one string.
_LISTS = {"int64": tf.int64, "float32": tf.float32, "string": tf.string}
_RAW = ("uint8", "int8", "uint16", "int16", "int32", "float16", "float64")


class TFRecords:
    """A stream of the examples in TFRecord files, in the order of `paths` and of their records.

    `features` says what an example holds: names (`inputs`, `labels`, …) with pairs (dtype, shape). `int64`, `float32`
    and `string` stand in the Example's lists; `uint8`, `int8`, `uint16`, `int16`, `int32`, `float16` and `float64` are
    the little-endian bytes of one string. `"image"` is an encoded PNG, JPEG, GIF or BMP file of that very shape,
    `[height, width, channels]`, and gives uint8.

    The lengths of all records are read at the start, one small read for each, because TensorFlow believes them: one
    of 64 GiB ends the process. They give `examples`. Raises ValueError naming file, byte and record for a length that
    leads out of the file. A record that is damaged or holds something else, a label outside `classes`, and a value
    that is not finite stop the stream with a `tf.errors.OpError`: `damage()` then says where it is.
    """

    arrays = None
    length = None

    def __init__(self, paths, features, classes=None):
        self._paths = [str(path) for path in paths]
        self._features = {name: _checked_feature(name, *feature) for name, feature in features.items()}
        if "inputs" not in self._features:
            raise ValueError(f"tfrecord: features must have inputs, found {', '.join(features) or 'none'}")
        with concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool:
            walked = list(pool.map(_walk, self._paths))
        self._marks = [mark for mark, _ in walked]
        self._sizes = np.array([files.size(mark) for mark in self._marks], np.int64)
        self.examples = sum(count for _, count in walked)
        self.info = Info("tfrecord", classes, input_shape=self._features["inputs"][1])

    def dataset(self, shard=None):
        """Single examples, dicts of tensors; a `shard`, (number, count), is every count-th file from `number` on.

        Raises ValueError for more shards than files, and for a file that is not what it was at the start.
        """
        number, count = shard or (0, 1)
        if not 0 <= number < count <= len(self._paths):
            raise ValueError(f"tfrecord: {len(self._paths)} files cannot be shared out as shard {number} of {count}")
        for path, mark in zip(self._paths, self._marks, strict=True):
            files.check_mark(path, mark)
        named = tf.data.Dataset.from_tensor_slices((self._paths[number::count], self._sizes[number::count]))
        plain = tf.autograph.experimental.do_not_convert
        return named.flat_map(plain(_records)).map(plain(self._parsed), _WORKERS, deterministic=True)

    def damage(self):
        """One line on the first record that cannot be read, or file that changed (with number and reason), or None.

        Reads every file to its end.
        """
        for number, path in enumerate(self._paths):
            record = -1
            try:
                for record, _ in enumerate(self.dataset((number, len(self._paths)))):  # noqa: B007 - read by `except`
                    pass
            except tf.errors.OpError as error:
                return f"{path}: record {record + 1}: {files.reason(error)}; write the file again"
            except ValueError as error:
                return str(error)
        return None

    def _parsed(self, record):
        wire = {
            name: tf.io.FixedLenFeature(*(([], tf.string) if dtype not in _LISTS else (shape, _LISTS[dtype])))
            for name, (dtype, shape) in self._features.items()
        }
        found = tf.io.parse_single_example(record, wire)
        return checked({name: _value(found[name], *feature) for name, feature in self._features.items()}, self.info)


def checked(example, info):
    """An example of a stream, whose floats must be finite and whose labels must be class numbers of `info`."""
    checks = [_check_finite(name, value) for name, value in example.items() if value.dtype.is_floating]
    if info.classes is not None and "labels" in example:
        checks.append(_check_classes(example["labels"], info.classes))
    with tf.control_dependencies(checks):
        return {name: tf.identity(value) for name, value in example.items()}


def load(split, data_dir, features=None, classes=None):
    """`TFRecords` of the files `<split>*.tfrecord[s]`, also inside the folder `<split>`, in the order of their names.

    `features` is what the class takes; unless given, `features.json` in `data_dir` says the same:
    `{"inputs": ["uint8", [28, 28, 1]], "labels": ["int64", []]}`.
    """
    folder = files.folder(data_dir, f"{split}*.tfrecord and features.json")
    found = sorted(
        path for pattern in (f"{split}*", f"{split}/*") for path in folder.glob(pattern) if _is_records(path.name)
    )
    if not found:
        raise FileNotFoundError(f"{folder} has no {split}*.tfrecord; put one there, or correct data_dir")
    return TFRecords(found, _features(folder) if features is None else features, classes)


def _is_records(name):
    # Names end in .tfrecord, .tfrecords, or in .tfrecord-00003-of-00100.
    return any(name.endswith(suffix) or f"{suffix}-" in name for suffix in _SUFFIXES)


def _features(folder):
    path = folder / "features.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no features.json and no features were given: write one of them")
    try:
        features = json.loads(files.read(path, 1 << 20))
        return {name: (dtype, tuple(shape)) for name, (dtype, shape) in features.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f'{path}: expected {{"inputs": [dtype, [sizes]], …}}, found {error}') from error


def _checked_feature(name, dtype, shape):
    if dtype not in (*_LISTS, *_RAW, "image"):
        known = ", ".join((*_LISTS, *_RAW, "image"))
        raise ValueError(f"tfrecord: the dtype of {name} must be one of {known}, found {dtype!r}")
    if not all(isinstance(size, int) and size > 0 for size in shape):
        raise ValueError(f"tfrecord: the shape of {name} must be of positive integers, found {shape!r}")
    if dtype == "image" and (len(shape) != 3 or shape[2] not in (1, 3)):
        raise ValueError(f"tfrecord: {name} must have shape (height, width, 1 or 3) to be an image, found {shape!r}")
    return dtype, tuple(shape)


def _walk(path):
    """The mark of a file, and its number of records; ValueError if their lengths do not lead to its end."""
    mark = files.mark(path)
    with files.opened(path, mark) as stream:
        at, count, size = 0, 0, files.size(mark)
        while at < size or not count:
            length = int.from_bytes(stream.read(8), "little")
            if at + _FRAME + length > size:
                found = f"record {count} of {length} bytes leads beyond the end, at byte {size}"
                raise ValueError(f"{path}: byte {at}: {found}; write the file again")
            stream.seek(_FRAME - 8 + length, os.SEEK_CUR)
            at, count = at + _FRAME + length, count + 1
    return mark, count


def _records(path, size):
    """The records of a file, which must still be of that size.

    TensorFlow itself takes a file that was cut off inside a record's header for a whole one.
    """
    records = tf.data.TFRecordDataset(path).map(lambda record: (record, False))
    ended = records.concatenate(tf.data.Dataset.from_tensors((b"", True)))

    def count(read, element):
        record, end = element
        found = tf.strings.join(["ends inside a record: expected ", tf.strings.as_string(size), " bytes of records"])
        with tf.control_dependencies([tf.debugging.Assert(~end | (read == size), [path, found])]):
            more = tf.strings.length(record)
            return read + tf.where(end, tf.constant(0, tf.int64), tf.cast(more, tf.int64) + _FRAME), element

    counted = ended.scan(tf.constant(0, tf.int64), tf.autograph.experimental.do_not_convert(count))
    return counted.filter(lambda _, end: ~end).map(lambda record, _: record)


def _value(value, dtype, shape):
    if dtype in _LISTS:
        return value
    if dtype == "image":
        decoded = tf.io.decode_image(value, shape[2], expand_animations=False)
        return tf.ensure_shape(decoded, shape)
    width = math.prod(shape) * np.dtype(dtype).itemsize
    whole = tf.debugging.assert_equal(tf.strings.length(value), width, f"expected {width} bytes of {dtype} {shape}")
    with tf.control_dependencies([whole]):
        return tf.reshape(tf.io.decode_raw(value, dtype), shape)


def _check_finite(name, value):
    return tf.debugging.Assert(tf.reduce_all(tf.math.is_finite(value)), [f"{name} has a value that is not finite"])


def _check_classes(labels, classes):
    inside = (labels >= 0) & (labels < tf.constant(classes, labels.dtype))
    return tf.debugging.Assert(tf.reduce_all(inside), [f"expected labels from 0 to {classes - 1}, found", labels])
