"""What the command line does beside training: evaluate, list, and say on what it runs."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from absl import flags as absl_flags
from absl.testing import flagsaver
from commands import ROOT

import data
import engine
import train
from cli import devices

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


@pytest.mark.parametrize(
    ("precision", "instructions", "told"),
    [("bfloat16", "avx2 fma", True), ("bfloat16", "avx512_bf16 avx2", False), ("float32", "avx2", False)],
)
def test_bfloat16_without_instructions_for_it_is_said_to_be_slow(tmp_path, precision, instructions, told):
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\nflags\t\t: fpu {instructions}\nbugs\t\t:\n")
    with flagsaver.as_parsed(precision=precision):
        absl_flags.FLAGS.mark_as_parsed()
        assert bool(devices.advice(file)) == told
        file.write_text("Features : asimd\n")
        assert devices.advice(file) is None
        assert devices.advice(tmp_path / "missing") is None


def test_own_pictures_are_named_and_what_is_no_picture_is_left_out(finished, command, tmp_path):
    images = data.load("fashion_mnist_mini", split="test").arrays["inputs"][:3]
    (tmp_path / "mine").mkdir()
    for number, image in enumerate(images):
        # Colours and another size, as a photograph has them.
        wide = np.kron(np.repeat(image, 3, axis=2), np.ones([2, 2, 1], np.uint8))
        (tmp_path / "mine" / f"{number}.png").write_bytes(tf.io.encode_png(wide).numpy())
    (tmp_path / "mine" / "broken.png").write_bytes(b"\x89PNG but no more")
    given = ["--mode=predict", f"--run_dir={finished}", f"--input={tmp_path / 'mine'}", "--top=2"]
    code, said, error = command(*given, f"--output={tmp_path / 'found.json'}")
    assert code == 0, error
    assert "broken.png can't be read and is left out" in error
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["item"].rpartition("/")[2] for row in found] == ["0.png", "1.png", "2.png"]
    assert all(len(row["top"]) == 2 and row["label"] in said for row in found)
    code, said, _ = command(*given[:2], f"--input={tmp_path / 'mine' / '1.png'}", f"--output={tmp_path / 'found.csv'}")
    assert code == 0
    assert (tmp_path / "found.csv").read_text().splitlines()[1].startswith(found[1]["item"] + "," + found[1]["label"])


def test_own_texts_are_judged_line_by_line(command, tmp_path):
    small = ["--dataset=movie_reviews", "--model=text_average", "--vocabulary_size=500", "--validation_fraction=0.1"]
    code, _, error = command(*small, "--max_steps=30", "--notensorboard", f"--run_dir={tmp_path / 'run'}")
    assert code == 0, error
    (tmp_path / "texts.txt").write_text("a wonderful film\n\nbad, bad, bad\n")
    code, said, error = command("--mode=predict", f"--run_dir={tmp_path / 'run'}", f"--input={tmp_path / 'texts.txt'}")
    assert code == 0, error
    assert [line.split()[0].rpartition("/")[2] for line in said.splitlines()] == ["texts.txt:1", "texts.txt:3"]
    code, said, error = command("--mode=predict", f"--run_dir={tmp_path / 'run'}", "--input=a wonderful film")
    assert code == 0, error
    assert said.startswith("a wonderful film")
    assert "needs --input" in command("--mode=predict", f"--run_dir={tmp_path / 'run'}")[2]
    assert "as .csv or .json" in command("--mode=predict", f"--run_dir={tmp_path}", "--input=x", "--output=a.txt")[2]


def test_where_a_run_was_made_is_written_down(finished, command):
    command(*SMALL, f"--run_dir={finished}", "--epochs=2")
    lines = [json.loads(line) for line in (finished / "environment.jsonl").read_text().splitlines()]
    assert [line["tensorflow"] for line in lines] == [tf.version.VERSION] * 2
    assert lines[0]["devices"][0]["name"] == "CPU:0"
    assert lines[0] == json.loads(json.dumps(engine.environment()))


def test_what_tensorboard_shows_can_be_left_out(command, tmp_path):
    given = [flag for flag in SMALL if flag != "--notensorboard"]
    less = [
        "--notensorboard_histograms",
        "--tensorboard_samples=0",
        "--tensorboard_confusion=0",
        "--notensorboard_graph",
    ]
    for name, flags in (("all", []), ("less", less)):
        assert command(*given, *flags, f"--run_dir={tmp_path / name}")[0] == 0
    size = {name: sum(f.stat().st_size for f in (tmp_path / name).rglob("events.*")) for name in ("all", "less")}
    assert size["less"] < 20_000 < size["all"]


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


def test_a_summary_says_what_the_network_is(command, tmp_path):
    code, said, error = command("--mode=summary", "--model=mlp", "--units=8", f"--output={tmp_path / 'net.mmd'}")
    assert code == 0, error
    assert "6,370" in said
    assert (tmp_path / "net.mmd").read_text().startswith(("graph", "flowchart"))
    code, said, error = command("--mode=summary", "--dataset=movie_reviews", "--model=text_average", "--max_length=9")
    assert code == 0, error
    assert "embedding" in said


def test_a_sweep_suggests_a_rate_and_leaves_nothing_behind(command, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plot draws the curve")
    given = ["--mode=lr_find", *SMALL, "--sweep_steps=20", f"--output={tmp_path / 'rates.png'}"]
    code, said, error = command(*given)
    assert code == 0, error
    assert "suggested learning rate:" in said
    assert (tmp_path / "rates.png").read_bytes()[:4] == b"\x89PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["rates.png"]


def test_a_profile_names_the_dearest_operations(command, tmp_path):
    folder = tmp_path / "profile"
    given = ["--mode=profile", *SMALL, "--profile_first=3", "--profile_steps=2", f"--output={folder}"]
    code, _, error = command(*given)
    assert code == 0, error
    assert "MatMul" in (folder / "ops.txt").read_text()


def test_tuning_ends_in_a_flagfile_that_trains(command, tmp_path):
    code, said, error = command("--mode=tune", *SMALL, f"--output={tmp_path / 'fast.cfg'}")
    assert code == 0, error
    assert "ms a step" in said
    lines = (tmp_path / "fast.cfg").read_text().splitlines()[1:]
    assert [line.partition("=")[0] for line in lines] == ["--jit_compile", "--steps_per_loop"]
    given = [*SMALL, "--max_steps=2", f"--flagfile={tmp_path / 'fast.cfg'}", f"--run_dir={tmp_path / 'run'}"]
    assert command(*given)[0] == 0
    assert lines[0] in (tmp_path / "run" / "flags.cfg").read_text()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([], "auto"),
        (["--jit_compile"], "true"),
        (["--nojit_compile"], "false"),
        (["--jit_compile=loop"], "loop"),
        (["--jit_compile=false"], "false"),
    ],
)
def test_how_a_run_is_compiled_is_said_in_any_of_these_ways(given, kept, command, tmp_path):
    code, _, error = command(*SMALL, "--max_steps=1", f"--run_dir={tmp_path / 'run'}", *given)
    assert code == 0, error
    assert f"--jit_compile={kept}\n" in (tmp_path / "run" / "flags.cfg").read_text()
    again, said, error = command(*SMALL, "--max_steps=1", f"--run_dir={tmp_path / 'run'}", *given)
    assert again == 0, error
    assert "is finished" in said


def test_a_run_that_is_older_than_a_flag_goes_on_as_if_it_had_the_default(command, tmp_path):
    given = [*SMALL, "--max_steps=2", f"--run_dir={tmp_path / 'run'}"]
    assert command(*given)[0] == 0
    file = tmp_path / "run" / "flags.cfg"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if "--pooling" not in line))
    longer = [*SMALL, "--max_steps=3", f"--run_dir={tmp_path / 'run'}"]
    code, _, error = command(*longer, "--pooling=mean")
    assert code == 2
    assert "--pooling=last is now --pooling=mean" in error
    code, _, error = command(*longer)
    assert code == 0, error


@pytest.mark.parametrize("mode", ["summary", "lr_find", "train"])
def test_a_flag_of_another_network_is_told_of(mode, command, tmp_path):
    given = [*SMALL, "--max_steps=1", f"--mode={mode}", f"--run_dir={tmp_path / 'run'}"]
    code, said, error = command(*given, "--views=2", "--num_heads=4")
    assert code == 0, error
    assert said.startswith("note: --views is not for --model=mlp, but for fast_cifar\n")
    assert "num_heads" not in said


@pytest.mark.parametrize("mode", ["summary", "lr_find"])
def test_a_drawing_has_the_suffix_of_its_kind(mode, command):
    code, _, error = command(f"--mode={mode}", "--output=drawing.txt")
    assert code == 2
    assert "--output=drawing.txt: " in error


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--epoch=3", "there is no --epoch: did you mean --epochs?"),
        ("--lr=0.1", "there is no --lr: did you mean --learning_rate?"),
        ("--batch-size=64", "did you mean --batch_size?"),
        ("--gpu", "did you mean --device?"),
        ("--config=configs/x.cfg", "did you mean --flagfile?"),
        ("--frobnicate=1", "there is no --frobnicate: --helpshort lists all flags"),
        ("--model=cnn", "--model=cnn: did you mean convnet? there are mlp, convnet, fast_cifar, resnet20"),
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
        ("--jit_compile=xla", "--jit_compile=xla: expected auto, true, false or loop"),
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


@pytest.mark.parametrize("asked", ["--helpshort", "--list=optimizers"])
def test_who_closes_the_pipe_has_read_enough(asked):
    read, write = os.pipe()
    os.close(read)
    found = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), asked], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (found.returncode, found.stderr) == (0, "")
