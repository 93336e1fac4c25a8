"""What goes wrong in reading is told by the source, with its file or row, and not by a page of TensorFlow's."""

import numpy as np
import pytest
import tensorflow as tf
from feeding import taken

import data


class Bad:
    """Readable but for row 5."""

    arrays, info = None, data.Info("bad")

    def __init__(self, error):
        self._error = error

    def __len__(self):
        return 8

    def __getitem__(self, indices):
        if 5 in indices:
            raise self._error
        return {"inputs": np.zeros([len(indices), 2], np.float32), "labels": np.zeros(len(indices), np.int32)}


@pytest.mark.parametrize("error", [ValueError("a.npy: row 5: mend it"), FileNotFoundError(2, "gone", "b.png")])
def test_an_exception_of_a_source_is_found_behind_tensorflow_s(error):
    pipeline = data.Pipeline(Bad(error), 4, shuffle=False, cache=False)
    for dataset in (pipeline.training(0), pipeline.evaluation()):
        with pytest.raises(tf.errors.OpError) as found:
            taken(dataset, 2)
        assert pipeline.cause(found.value) is error


def test_another_error_has_no_cause_in_the_source():
    pipeline = data.Pipeline(Bad(ValueError("a.npy: row 5: mend it")), 4, shuffle=False, cache=False)
    other = tf.errors.ResourceExhaustedError(None, None, "no memory left")
    assert pipeline.cause(other) is None
    with pytest.raises(tf.errors.OpError):
        taken(pipeline.training(0), 2)
    assert pipeline.cause(other) is None
    assert data.Pipeline(data.Arrays(np.zeros(3)), 1).cause(other) is None


def test_a_damaged_record_is_named_once_a_stream_stops_at_it(tmp_path):
    path = tmp_path / "train.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(4):
            value = tf.train.Feature(int64_list=tf.train.Int64List(value=[number]))
            writer.write(tf.train.Example(features=tf.train.Features(feature={"inputs": value})).SerializeToString())
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    pipeline = data.Pipeline(data.TFRecords([path], {"inputs": ("int64", ())}), 2)
    with pytest.raises(tf.errors.DataLossError) as found:
        taken(pipeline.training(0), 2)
    cause = pipeline.cause(found.value)
    assert isinstance(cause, ValueError)
    assert str(cause).startswith(f"{path}: record 3: corrupted record")
    assert pipeline.cause(tf.errors.ResourceExhaustedError(None, None, "no memory left")) is None
