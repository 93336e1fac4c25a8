"""What the command line does beside training: evaluate, list, and say on what it runs."""

import json

import numpy as np
import pytest
import tensorflow as tf

import data
import engine
import train

SMALL = ["--model=mlp", "--units=8", "--batch_size=500", "--epochs=1", "--notensorboard"]


@pytest.fixture
def finished(command, tmp_path):
    """A run that has ended."""
    code, said, error = command(*SMALL, f"--run_dir={tmp_path / 'run'}")
    assert code == 0, error
    assert "devices: CPU:0" in said
    return tmp_path / "run"


def test_evaluate_says_what_training_said_and_how_each_class_does(finished, command):
    code, said, error = command("--mode=evaluate", f"--run_dir={finished}")
    assert code == 0, error
    result, found = (json.loads((finished / name).read_text()) for name in ("result.json", "evaluation.json"))
    assert found["test"] == pytest.approx(result["test"], rel=1e-6)
    matrix = np.array(found["confusion"])
    labels = data.load("fashion_mnist_mini", split="test").arrays["labels"]
    np.testing.assert_array_equal(matrix.sum(1), np.bincount(labels, minlength=10))
    assert matrix.trace() / 2000 == pytest.approx(result["test"]["accuracy"])
    assert [line.split("  ")[0] for line in said.splitlines()[2:4]] == ["T-shirt/top", "Trouser"]


def test_where_a_run_was_made_is_written_down(finished, command):
    command(*SMALL, f"--run_dir={finished}", "--epochs=2")
    lines = [json.loads(line) for line in (finished / "environment.jsonl").read_text().splitlines()]
    assert [line["tensorflow"] for line in lines] == [tf.version.VERSION] * 2
    assert lines[0]["devices"][0]["name"] == "CPU:0"
    assert lines[0] == json.loads(json.dumps(engine.environment()))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("models", ["mlp", "resnet20", "resnet50", "efficientnet_lite0", "text_gru", "transformer_lm"]),
        ("datasets", ["fashion_mnist_mini", "cifar100", "tfds:NAME", *data.NAMES]),
        ("optimizers", ["sgd", "muon", "schedule_free_adamw"]),
        ("schedules", ["constant", "one_cycle"]),
        ("augmentations", list(data.augment.NAMES)),
    ],
)
def test_what_there_is_to_choose_from(kind, names, command):
    code, said, _ = command(f"--list={kind}")
    listed = dict(line.split(maxsplit=1) for line in said.splitlines())
    assert code == 0
    assert set(names) <= set(listed)
    assert all(len(what) > 10 for what in listed.values())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--device=tpu"], "--device must be cpu, gpu or gpu:<number>, got tpu"),
        (["--device=gpu:7"], "--device=gpu:7: there are no GPUs; --device=cpu will do"),
        (["--mode=evaluate"], "--mode=evaluate needs --run_dir, the folder of a finished run"),
        (["--mode=evaluate", "--run_dir=nowhere"], "nowhere/flags.cfg is not there"),
    ],
)
def test_what_can_be_mended_is_said_in_one_line(flags, said, command):
    if "gpu" in flags[0] and tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU")
    code, _, error = command(*flags)
    assert code == 2
    assert said in error
    assert error.count("\n") == 1


def test_a_run_that_was_stopped_has_nothing_to_evaluate_yet(command, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "flags.cfg").write_text("--model=mlp\n")
    assert "the run is not finished" in command("--mode=evaluate", f"--run_dir={tmp_path / 'run'}")[2]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--epoch=3", "there is no --epoch: did you mean --epochs?"),
        ("--lr=0.1", "there is no --lr: did you mean --learning_rate?"),
        ("--batch-size=64", "did you mean --batch_size?"),
        ("--gpu", "did you mean --device?"),
        ("--config=configs/x.cfg", "did you mean --flagfile?"),
        ("--frobnicate=1", "there is no --frobnicate: --helpshort lists all flags"),
        ("--model=cnn", "--model=cnn: did you mean convnet? there are mlp, convnet, resnet20"),
        ("--model=resnet", "did you mean resnet"),
        ("--dataset=cifar", "did you mean cifar10? there are fashion_mnist_mini"),
        ("--dataset=MNIST", "did you mean mnist?"),
        ("--optimizer=Adam", "did you mean adam?"),
        ("--precision=fp16", "did you mean float16?"),
        ("--mode=test", "did you mean evaluate?"),
        ("--schedule=step", "did you mean piecewise?"),
        ("--learning_rate=abc", "--learning_rate=abc: expected a number"),
        ("--epochs=1.5", "--epochs=1.5: expected a whole number"),
        ("--epochs=0", "--epochs=0: "),
        ("--validation_fraction=1.5", "1.5 is not a number in the range [0, 0.9]"),
        ("--flagfile=missing.cfg", "'missing.cfg': there is no such flagfile; configs/ has some"),
    ],
)
def test_what_was_probably_meant(typed, said, capsys):
    with pytest.raises(SystemExit) as left:
        train.parse(["train.py", typed])
    error = capsys.readouterr().err
    assert left.value.code == 2
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["configs/mlp.cfg"], "did you mean --flagfile=configs/mlp.cfg?"),
        (["--units=128", "64"], "'64': lists have commas and no spaces"),
        (["fast"], "unexpected argument 'fast': every setting is a --flag=value"),
        (["--model=text_lstm"], "--model=text_lstm takes texts, which fashion_mnist_mini has not"),
        (["--model=mlp", "--dataset=movie_reviews"], "--model=mlp takes pictures or numbers, not movie_reviews"),
        (["--model=resnet50", "--dataset=movie_reviews"], "takes pictures or numbers, not movie_reviews"),
    ],
)
def test_what_does_not_go_together(typed, said, command):
    code, _, error = command(*typed)
    assert code == 2
    assert said in error
    assert error.count("\n") == 1
