"""Runs that are over, and runs that are started again, with other flags than they began with; and odd data."""

import numpy as np
import pytest
import tensorflow as tf

import data

SMALL = ["--model=mlp", "--units=8", "--batch_size=10", "--epochs=1", "--notensorboard"]
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=[40, 6]).astype(np.float32)
NUMBERS = ["--dataset=npz", "--classes=2", "--data_dir=numbers"]


def written(folder, **arrays):
    """The same arrays as both splits of an npz data set."""
    folder.mkdir()
    for split in ("train", "test"):
        np.savez(folder / f"{split}.npz", **arrays)


@pytest.fixture
def numbers(tmp_path):
    """Rows of floats, of two classes."""
    written(tmp_path / "numbers", inputs=ROWS, labels=(ROWS[:, 0] > 0).astype(np.int64))
    return tmp_path / "numbers"


@pytest.fixture
def finished(command, numbers):
    """A run on them that is over."""
    code, _, error = command(*SMALL, *NUMBERS, "--learning_rate=0.1", "--run_dir=run")
    assert code == 0, error
    return "--run_dir=run"


@pytest.fixture
def refused(command):
    """Arguments -> the line that is said of them."""

    def refused(*arguments):
        code, _, error = command(*arguments)
        assert code == 2, error
        assert "Traceback" not in error
        return error.splitlines()[-1]

    return refused


def test_rows_of_floats_are_trained_on_evaluated_and_exported_as_they_are(command, finished, refused, tmp_path):
    code, said, error = command("--mode=evaluate", finished)
    assert code == 0, error
    assert "test        loss" in said
    assert command("--mode=export", finished)[0] == 0
    served = tf.saved_model.load(str(tmp_path / "run/export")).signatures["serving_default"]
    assert served.structured_input_signature[1]["inputs"].dtype == tf.float32
    assert (served(inputs=tf.constant(ROWS))["outputs"].numpy().argmax(1) == (ROWS[:, 0] > 0)).mean() > 0.6
    (tmp_path / "mine.png").write_bytes(tf.io.encode_png(np.zeros([2, 3, 1], np.uint8)).numpy())
    assert "npz has numbers of its own" in refused("--mode=predict", finished, "--input=mine.png")


def test_data_that_have_moved_are_evaluated_where_they_are(command, finished, refused, numbers, tmp_path):
    before = command("--mode=evaluate", finished)[1]
    numbers.rename(tmp_path / "elsewhere")
    assert "numbers" in refused("--mode=evaluate", finished)
    code, after, error = command("--mode=evaluate", finished, "--data_dir=elsewhere")
    assert code == 0, error
    assert after == before


@pytest.mark.parametrize("flag", ["momentum=3", "clip_norm=1", "units=9", "dataset=fashion_mnist_mini", "seed=1"])
def test_a_finished_run_is_not_taken_for_another(finished, refused, flag):
    name = flag.partition("=")[0]
    assert f"--{name}: a finished run has its own" in refused("--mode=evaluate", finished, f"--{flag}")


def test_what_it_was_and_what_changes_nothing_may_be_said_again(command, finished):
    code, _, error = command("--mode=evaluate", finished, *SMALL, *NUMBERS, "--epochs=7", "--jit_compile")
    assert code == 0, error


@pytest.mark.parametrize("line", ["--foo=3", "--batch_size=abc"])
def test_flags_of_a_run_that_nobody_understands_are_one_line(finished, refused, tmp_path, line):
    with (tmp_path / "run/flags.cfg").open("a") as file:
        file.write(line + "\n")
    assert "flags.cfg: " in refused("--mode=evaluate", finished)


def test_a_damaged_result_is_named(finished, refused, tmp_path):
    (tmp_path / "run/result.json").write_text('{"stopped_by": "epo')
    assert "run/result.json is damaged" in refused(*SMALL, *NUMBERS, "--learning_rate=0.1", finished)


def test_hooks_may_be_switched_off_and_on_when_a_run_goes_on(command, numbers):
    run = [*SMALL, *NUMBERS, "--validation_fraction=0.2", "--run_dir=run"]
    for epochs, options in enumerate(
        (
            ["--early_stopping"],
            ["--explosion_factor=0"],
            ["--early_stopping"],
            ["--early_stopping", "--norestore_best"],
        ),
        1,
    ):
        code, _, error = command(*run, f"--epochs={epochs}", "--patience=9", *options)
        assert code == 0, error


def test_data_without_labels_are_refused_in_a_line(refused, tmp_path):
    written(tmp_path / "numbers", inputs=ROWS)
    assert "Supervised needs labels, and the batch has inputs only" in refused(*SMALL, *NUMBERS, "--run_dir=run")


def test_weights_below_0_are_refused(refused, tmp_path):
    weights = np.where(np.arange(40) == 7, -1, 1).astype(np.float32)
    written(tmp_path / "numbers", inputs=ROWS, labels=np.zeros(40, np.int64), weights=weights)
    assert "the weight in row 7 is -1.0, expected 0 or more" in refused(*SMALL, *NUMBERS, "--run_dir=run")
    with pytest.raises(ValueError, match=r"the weight in row 7 is -1\.0"):
        data.Sequences([np.ones(2, np.int32)] * 40, weights=weights)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Pictures as a stream."""
    folder = tmp_path_factory.mktemp("records")
    pictures, labels = RNG.integers(0, 256, [40, 8, 8, 3], np.uint8), np.arange(40) % 2
    for split in ("train", "test"):
        with tf.io.TFRecordWriter(str(folder / f"{split}.tfrecord")) as writer:
            for picture, label in zip(pictures, labels, strict=True):
                features = {
                    "inputs": tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture.tobytes()])),
                    "labels": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    (folder / "features.json").write_text('{"inputs": ["uint8", [8, 8, 3]], "labels": ["int64", []]}')
    return f"--data_dir={folder}"


def test_a_run_on_a_stream_is_exported(command, records, tmp_path):
    stream = ["--dataset=tfrecord", "--classes=2", records]
    options = ["--model=fast_cifar", "--filters=4,4", "--batch_size=20", "--max_steps=1", "--notensorboard"]
    code, _, error = command(*options, *stream, "--run_dir=run")
    assert code == 0, error
    code, _, error = command("--mode=export", "--run_dir=run")
    assert code == 0, error
    served = tf.saved_model.load(str(tmp_path / "run/export")).signatures["serving_default"]
    assert served(inputs=tf.zeros([3, 8, 8, 3], tf.uint8))["outputs"].shape == [3, 2]


def test_a_vocabulary_wants_more_than_a_stream(refused, tmp_path):
    (tmp_path / "texts").mkdir()
    for split in ("train", "test"):
        with tf.io.TFRecordWriter(str(tmp_path / f"texts/{split}.tfrecord")) as writer:
            features = {
                "inputs": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"to be"])),
                "labels": tf.train.Feature(int64_list=tf.train.Int64List(value=[1])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    (tmp_path / "texts/features.json").write_text('{"inputs": ["string", []], "labels": ["int64", []]}')
    stream = ["--dataset=tfrecord", "--classes=2", "--data_dir=texts", "--batch_size=1"]
    said = refused("--model=text_average", *stream, "--run_dir=run")
    assert "needs all texts, for its vocabulary: tfrecord is a stream" in said


@pytest.fixture
def lines(tmp_path):
    """A folder of lines of text."""
    (tmp_path / "lines").mkdir()
    for split in ("train", "test"):
        (tmp_path / "lines" / f"{split}.txt").write_text("to be or not to be\nthat is the question\n" * 9)
    return ["--dataset=text_lines", "--data_dir=lines"]


LANGUAGE = ["--model=lstm_lm", "--units=4", "--embedding_dim=4", "--batch_size=4", "--max_steps=2", "--max_length=5"]
LANGUAGE += ["--notensorboard", "--run_dir=run"]


def test_line_ends_are_characters_that_a_language_model_knows(command, lines):
    assert command(*LANGUAGE, *lines, "--tokenizer=characters")[0] == 0
    code, said, error = command("--mode=generate", "--run_dir=run", "--length=40")
    assert code == 0, error
    assert said.startswith("\n")
    assert "\n" in said[1:-1]


def test_a_prompt_without_a_token_is_refused(command, refused, lines):
    assert command(*LANGUAGE, *lines)[0] == 0
    assert "has no token of --tokenizer=words: begin with a word" in refused("--mode=generate", "--run_dir=run")
    code, _, error = command("--mode=generate", "--run_dir=run", "--prompt=to be", "--length=3", "--seed=5")
    assert code == 0, error


def test_the_export_of_a_classifier_of_texts_has_its_vocabulary_beside(command, tmp_path):
    options = ["--dataset=movie_reviews", "--model=text_average", "--embedding_dim=4", "--vocabulary_size=300"]
    assert command(*options, "--max_steps=1", "--notensorboard", "--run_dir=run")[0] == 0
    code, said, _ = command("--mode=export", "--run_dir=run")
    assert code == 0
    assert "run/vocabulary.txt" in said
    tokenizer = data.text.Words.load(tmp_path / "run/vocabulary.txt")
    served = tf.saved_model.load(str(tmp_path / "run/export")).signatures["serving_default"]
    ids = tf.constant(tokenizer.encode("what a film")[np.newaxis], tf.int32)
    assert served(inputs=ids)["outputs"].shape == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mode=tune", "--output=none/x.cfg"], "there is no none"),
        (["--mode=summary", "--output=none/x.dot"], "there is no none"),
        (["--mode=lr_find", "--output=none/x.png"], "there is no none"),
        (["--mode=summary", "--output=x.png"], "a drawing is written as .mmd or .dot"),
        (["--mode=profile", "--output=file"], "a profile is a folder"),
        (["--class_weights=0=2,0=3"], "a class has one weight"),
        (["--bias_rate=2"], "--bias_rate is of normalisation's beta, and --model=mlp has none"),
        (["--schedule=piecewise", "--boundaries=-5"], "needs --boundaries above 0"),
        (["--freeze=layers.1.bias"], "it has layers.0, layers.1"),
    ],
)
def test_what_can_not_be_is_said_before_anything_is_computed(refused, numbers, tmp_path, arguments, said):
    (tmp_path / "file").write_text("")
    assert said in refused(*SMALL, *NUMBERS, "--run_dir=run", *arguments)
    assert not (tmp_path / "run/history.jsonl").exists()
