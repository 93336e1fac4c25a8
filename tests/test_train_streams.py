"""The command line on data that is not in memory: streams that are killed and go on, weights by class, balance."""

import json
import os
import re

import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from commands import result, start, wait_for_lines

from cli import hooks, pipelines

RNG = np.random.default_rng(0)
CLASSES, COUNT = 3, 240
# The label is where the bright rows are.
LABELS = RNG.integers(0, CLASSES, COUNT)
IMAGES = RNG.integers(0, 100, [COUNT, 6, 6, 1], np.uint8)
for image, label in zip(IMAGES, LABELS, strict=True):
    image[2 * label : 2 * label + 2] += 100


def written(path, rows):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in rows:
            features = {
                "inputs": tf.train.Feature(bytes_list=tf.train.BytesList(value=[IMAGES[row].tobytes()])),
                "labels": tf.train.Feature(int64_list=tf.train.Int64List(value=[LABELS[row]])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    for part in range(3):
        written(folder / f"train.tfrecord-{part:05}-of-00003", range(part, 210, 3))
    written(folder / "test.tfrecord", range(210, COUNT))
    (folder / "features.json").write_text(json.dumps({"inputs": ["uint8", [6, 6, 1]], "labels": ["int64", []]}))
    return folder


def arguments(records):
    return ["--dataset=tfrecord", f"--data_dir={records}", f"--classes={CLASSES}", "--validation_fraction=0"] + [
        "--batch_size=20", "--epochs=8", "--steps_per_loop=4", "--checkpoint_every=7", "--augment=random_crop(1)",
        "--notensorboard",
    ]  # fmt: skip


def test_a_run_over_records_that_is_killed_and_started_again_is_the_undisturbed_run(records, command, tmp_path):
    assert command("--model=mlp", "--units=8", *arguments(records), "--run_dir=undisturbed")[0] == 0
    run_dir = tmp_path / "run"
    process = start(run_dir, "--optimizer=adam", "--schedule=constant", *arguments(records))
    wait_for_lines(process, run_dir, 6)
    process.kill()
    process.communicate()
    assert not (run_dir / "result.json").exists()
    saved = max((run_dir / "checkpoints").glob("step-*"))
    assert "hooks.iterator.state" in dict(tf.train.list_variables(str(saved / "variables")))

    assert command("--model=mlp", "--units=8", *arguments(records), "--run_dir=run")[0] == 0
    expected, found = result(tmp_path / "undisturbed"), result(run_dir)
    assert 0 < found["resumed_from"] < found["steps"] == 8 * 11
    for key in ("steps", "epochs", "train", "test", "weights_sha256", "stopped_by"):
        assert found[key] == expected[key], key
    assert (run_dir / "history.jsonl").read_text() == (tmp_path / "undisturbed" / "history.jsonl").read_text()
    assert found["test"]["accuracy"] > 0.7


def test_a_damaged_record_ends_the_run_in_one_line(records, command, tmp_path):
    for path in records.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    bad = tmp_path / "train.tfrecord-00001-of-00003"
    content = bytearray(bad.read_bytes())
    # Behind the length and its checksum, which would be found at the start.
    content[60] ^= 1
    bad.write_bytes(content)
    code, _, err = command("--model=mlp", "--units=4", *arguments(tmp_path), "--run_dir=run")
    assert code == 2
    line = rf"^train.py: error: {bad}: record 0: corrupted record at [^\n]+; write the file again\n$"
    assert re.search(line, err), err


def test_a_file_that_changes_while_it_trains_ends_the_run_in_one_line(command, tmp_path, monkeypatch):
    np.save(tmp_path / "train_inputs.npy", IMAGES)
    np.save(tmp_path / "train_labels.npy", LABELS)
    begun = hooks.Accepted.on_fit_begin

    def changing(self, run):
        os.utime(tmp_path / "train_inputs.npy", ns=(1, 1))
        begun(self, run)

    monkeypatch.setattr(hooks.Accepted, "on_fit_begin", changing)
    options = ["--dataset=npy", "--data_dir=.", "--classes=3", "--test_fraction=0.1", "--batch_size=20", "--epochs=2"]
    code, _, err = command("--model=mlp", "--units=4", *options, "--run_dir=run")
    assert code == 2
    line = (
        r"^train.py: error: train_inputs.npy: the file changed after the run had looked at it; leave it alone [^\n]*\n$"
    )
    assert re.search(line, err), err


def test_a_stream_is_not_split(records, command):
    code, _, err = command(*arguments(records), "--validation_fraction=0.1", "--run_dir=run")
    assert code == 2
    assert "split: tfrecord is a stream, whose examples can't be picked" in err


def test_weights_by_class_and_balance_by_flags(tmp_path):
    few = np.concatenate([np.flatnonzero(LABELS == 0)[:5], np.flatnonzero(LABELS == 1), np.flatnonzero(LABELS == 2)])
    for split in ("train", "test"):
        np.savez(tmp_path / f"{split}.npz", inputs=IMAGES[few], labels=LABELS[few].astype(np.int32))
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    options = ["--dataset=npz", f"--data_dir={tmp_path}", "--classes=3", "--batch_size=16"]
    flags.FLAGS(["train.py", *options, "--balanced", "--class_weights=1=0.5,2=0"])
    trained, _, test = pipelines.make_pipelines()
    assert trained.examples == 3 * np.bincount(LABELS[few]).max()
    batch = next(iter(trained.training(seed=0)))
    np.testing.assert_array_equal(batch["weights"], np.float32([1, 0.5, 0])[batch["labels"]])
    assert (test.examples, "weights" in test.evaluation().element_spec) == (len(few), False)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("--class_weights=1", "--class_weights must be class=weight with commas between, got --class_weights=1"),
        ("--class_weights=1=x", "--class_weights must be class=weight"),
        ("--class_weights=10=1", "Pipeline: weights name class 10, expected 0 to 9"),
        ("--class_weights=1=-1", "Pipeline: the weight of class 1 is -1.0, expected 0 or more"),
    ],
)
def test_wrong_weights_are_named_in_one_line(command, given, reason):
    code, _, err = command("--model=mlp", given, "--run_dir=run")
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert reason in err
