"""The command line, as a person uses it: real processes, real files, real signals; and every error in one line."""

import gzip
import json
import re
import signal
import struct

import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from commands import SMALL, finish, result, start, wait_for_lines

import engine
import train
from cli import networks, pipelines

RESULT_KEYS = {"steps", "epochs", "train", "validation", "test", "weights_sha256", "parameters", "resumed_from"} | {
    "examples_per_second", "time_to_first_step_s", "wall_s", "traces", "stopped_by",
}  # fmt: skip


LONG = [
    "--epochs=40",
    "--steps_per_loop=4",
    "--dropout=0.3",
    "--augment=random_crop,flip_left_right",
    "--early_stopping",
    "--patience=99",
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("cli") / "undisturbed"
    process = start(run_dir, *LONG)
    return run_dir, *finish(process)


def test_a_run_leaves_the_documented_directory(undisturbed):
    run_dir, out, _ = undisturbed
    assert {path.name for path in run_dir.iterdir()} == {
        ".lock", "flags.cfg", "environment.jsonl", "history.jsonl", "checkpoints", "tensorboard", "result.json",
    }  # fmt: skip
    found = result(run_dir)
    assert set(found) == RESULT_KEYS
    assert (found["steps"], found["epochs"], found["stopped_by"], found["traces"]) == (440, 40, "epochs", 1)
    assert found["resumed_from"] is None
    assert found["parameters"] == 784 * 8 + 8 + 8 * 10 + 10
    for split in ("train", "validation", "test"):
        assert set(found[split]) == {"loss", "data_loss", "accuracy"}
    assert found["wall_s"] > found["time_to_first_step_s"] > 0
    assert f"tensorboard --logdir {run_dir}/tensorboard" in out
    assert "epoch 40/40" in out
    records = [json.loads(line) for line in (run_dir / "history.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if r["split"] == "train"][:4] == [4, 8, 11, 15]
    assert len([r for r in records if r["split"] == "validation"]) == 40
    assert {split.name for split in (run_dir / "tensorboard").iterdir()} == {"train", "validation"}


def test_nothing_is_drawn_where_there_is_no_terminal(undisturbed):
    assert "step/s" not in undisturbed[2]
    assert "\r" not in undisturbed[1] + undisturbed[2]


def test_a_run_killed_interrupted_and_resumed_is_the_undisturbed_run(tmp_path, undisturbed):
    run_dir = tmp_path / "run"
    process = start(run_dir, *LONG)
    wait_for_lines(process, run_dir, 30)
    process.kill()
    process.communicate()
    assert not (run_dir / "result.json").exists()

    process = start(run_dir, *LONG)
    wait_for_lines(process, run_dir, 90)
    process.send_signal(signal.SIGINT)
    finish(process, 130)
    interrupted = result(run_dir)
    assert interrupted["stopped_by"] == "signal"
    assert 0 < interrupted["resumed_from"] < interrupted["steps"] < 440
    assert (run_dir / "checkpoints" / f"step-{interrupted['steps']:08d}" / "manifest.json").exists()

    finish(start(run_dir, *LONG))
    expected, found = result(undisturbed[0]), result(run_dir)
    assert found["resumed_from"] == interrupted["steps"]
    for key in ("steps", "epochs", "train", "validation", "test", "weights_sha256", "stopped_by"):
        assert found[key] == expected[key], key
    assert (run_dir / "history.jsonl").read_text() == (undisturbed[0] / "history.jsonl").read_text()


# What follows runs in this process: an error needs no TensorFlow of its own.


def test_a_finished_run_that_is_started_again_prints_its_result(undisturbed, command):
    run_dir, *_ = undisturbed
    before = (run_dir / "history.jsonl").read_text()
    code, out, _ = command(*SMALL, *LONG, f"--run_dir={run_dir}")
    assert code == 0
    assert "is finished: stopped by epochs after step 440" in out
    assert f"accuracy {result(run_dir)['test']['accuracy']:.4f}" in out
    assert (run_dir / "history.jsonl").read_text() == before


def test_flags_cfg_repeats_the_run(command, tmp_path):
    assert command(*SMALL, "--epochs=1", "--run_dir=first")[0] == 0
    assert command("--flagfile=first/flags.cfg", "--run_dir=second")[0] == 0
    assert result(tmp_path / "first")["weights_sha256"] == result(tmp_path / "second")["weights_sha256"]
    assert (tmp_path / "first/flags.cfg").read_text() == (tmp_path / "second/flags.cfg").read_text()


def test_a_finished_run_goes_on_when_epochs_are_added_and_its_schedule_does_not_move(command, tmp_path):
    command(*SMALL, "--epochs=2", "--run_dir=run")
    assert command(*SMALL, "--epochs=3", "--run_dir=run")[0] == 0
    found = result(tmp_path / "run")
    assert (found["resumed_from"], found["epochs"]) == (22, 3)
    assert "--decay_steps=22" in (tmp_path / "run/flags.cfg").read_text()


def test_early_stopping_ends_the_run_with_the_best_weights(command, tmp_path):
    arguments = [*SMALL, "--early_stopping", "--patience=0", "--min_delta=10", "--epochs=9", "--run_dir=run"]
    assert command(*arguments)[0] == 0
    found = result(tmp_path / "run")
    assert (found["stopped_by"], found["epochs"]) == ("early_stopping", 2)
    model = networks.make_model(pipelines.make_pipelines()[0].info)
    engine.restore(model, tmp_path / "run/checkpoints/model")
    assert engine.weights_sha256(model) == found["weights_sha256"]
    engine.restore(model, tmp_path / "run/checkpoints/step-00000011")
    assert engine.weights_sha256(model) == found["weights_sha256"]
    assert "is finished" in command(*arguments)[1]


def test_an_early_stopped_run_that_lost_its_result_ends_where_it_ended(command, tmp_path):
    arguments = [*SMALL, "--early_stopping", "--patience=0", "--min_delta=10", "--epochs=9", "--run_dir=run"]
    command(*arguments)
    expected = result(tmp_path / "run")
    (tmp_path / "run/result.json").unlink()
    assert command(*arguments)[0] == 0
    found = result(tmp_path / "run")
    assert [found[key] for key in ("steps", "weights_sha256", "train", "test", "stopped_by")] == [
        expected[key] for key in ("steps", "weights_sha256", "train", "test", "stopped_by")
    ]


def test_a_wrong_flag_harms_no_finished_run_and_claims_no_new_directory(command, tmp_path):
    wrong = [*SMALL, "--early_stopping", "--monitor=train.f1", "--epochs=1"]
    assert command(*wrong, "--run_dir=run")[0] == 2
    assert command(*SMALL, "--epochs=1", "--run_dir=run", "--seed=4")[0] == 0
    files = {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert command(*wrong, "--epochs=2", "--run_dir=run", "--seed=4")[0] == 2
    assert files == {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}


def test_empty_lists_are_repeated_too(command, tmp_path):
    assert command("--model=mlp", "--units=", "--batch_size=500", "--max_steps=1", "--run_dir=first")[0] == 0
    assert command("--flagfile=first/flags.cfg", "--run_dir=second")[0] == 0
    found = [result(tmp_path / name) for name in ("first", "second")]
    assert found[0]["parameters"] == found[1]["parameters"] == 7850
    assert found[0]["weights_sha256"] == found[1]["weights_sha256"]


def test_a_run_that_ends_in_numbers_that_are_not_finite_says_so_again(command):
    arguments = [
        "--model=mlp",
        "--units=4",
        "--optimizer=sgd",
        "--learning_rate=1e30",
        "--max_steps=3",
        "--run_dir=run",
    ]
    code, *_ = command(*arguments)
    assert code == 1
    assert command(*arguments)[0] == 1


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_the_convnet_runs_in_every_precision_with_a_line_for_each_step(command, tmp_path, precision):
    code, *_ = command(
        "--model=convnet", "--filters=2,4", "--units=8", "--batch_norm", f"--precision={precision}",
        "--optimizer=sgd", "--nesterov", "--max_steps=5", "--batch_size=64",
        "--log_every_step", "--notensorboard", "--run_dir=run",
    )  # fmt: skip
    assert code == 0
    records = [json.loads(line) for line in (tmp_path / "run/history.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5]
    assert not (tmp_path / "run/tensorboard").exists()
    assert result(tmp_path / "run")["stopped_by"] == "max_steps"


def idx(folder, name, array, *, header=None, cut=None, compress=False):
    """Writes an IDX file; the format is four bytes of magic, the sizes, and the bytes."""
    content = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    content = (header or content) + array.astype(np.uint8).tobytes()
    content = gzip.compress(content) if compress else content
    (folder / (name + (".gz" if compress else ""))).write_bytes(content[:cut])


def idx_folder(folder, *, label=3, **harm):
    folder.mkdir(exist_ok=True)
    for split, count in (("train", 40), ("t10k", 20)):
        idx(folder, f"{split}-images-idx3-ubyte", np.zeros((count, 28, 28)), **harm)
        idx(folder, f"{split}-labels-idx1-ubyte", np.full(count, label))
    return folder


def test_the_full_set_is_read_from_idx_files(command, tmp_path):
    idx_folder(tmp_path / "idx", compress=True)
    code, out, _ = command(
        "--dataset=fashion_mnist",
        "--data_dir=idx",
        "--model=mlp",
        "--units=4",
        "--batch_size=16",
        "--epochs=1",
        "--run_dir=r",
    )
    assert code == 0
    assert "on 40 examples of fashion_mnist" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch_size=0"], "batch_size"),
        (["--batch_size=6001"], "6000, the size of fashion_mnist_mini, found 6001"),
        (["--learning_rate=0"], "--learning_rate must be a finite number above 0, got 0.0"),
        (["--learning_rate=nan"], "--learning_rate must be a finite number above 0, got nan"),
        (["--optimizer=adan"], "<sgd|adamw|lars|lamb|"),
        (["--momentum=0.9", "--optimizer=adam"], "--momentum needs --optimizer=sgd or lars or rmsprop or muon"),
        (["--nonesterov", "--optimizer=lion"], "--nesterov needs --optimizer=sgd or muon"),
        (["--average=ema", "--optimizer=schedule_free_sgd"], "--average=ema needs an --optimizer without"),
        (["--dataset=mnits"], "fashion_mnist_mini"),
        (["--precision=float8"], "<float32|float64|bfloat16|float16>"),
        (["--strategy=tpu"], "<auto|one_device|mirrored|multi_worker>"),
        (["--strategy=one_device", "--num_replicas=2"], "one_device has one replica"),
        (["--strategy=multi_worker"], "needs TF_CONFIG"),
        (["--num_replicas=9"], "9 replicas need 9 logical devices"),
        (["--clip_norm=0"], "--clip_norm must be a finite number above 0"),
        (["--average=ema", "--average_decay=1"], "average_decay"),
        (["--average_decay=0.5"], "--average_decay needs --average=ema"),
        (["--noaverage_warmup"], "--average_warmup needs --average=ema"),
        (["--average=ema", "--average_start=3"], "--average_start needs --average=swa or polyak"),
        (["--average=swa"], "--average=swa needs --average_every"),
        (["--schedule=inverse_sqrt", "--stable_steps=3"], "--stable_steps does not go with --schedule=inverse_sqrt"),
        (["--reduce_on_plateau"], "reduce_on_plateau monitors validation.loss, but fit has no validation pipeline"),
        (["--augment=flip"], "augment: augmentations are flip_left_right, flip_up_down, .*, found 'flip'"),
        (["--augment=rotation(200)"], "rotation: degrees must be a number from 0 to 180, found 200"),
        (["--augment=random_crop(size=2)"], r"augment: random_crop\(padding=4, fill_mode='constant'\): "),
        (["--epoch=3"], "Unknown command line flag 'epoch'. Did you mean: epochs"),
        (["--epochs=0"], "epochs"),
        (["--units=12,x"], "--units must be whole numbers with commas between, got --units=12,x"),
        (["--units=0"], "units"),
        (["--model=convnet", "--filters=4,4,4,4,4"], "layer 6 Conv2D.*layer 5 MaxPool2D"),
        (["--dropout=1"], "rate"),
        (["--momentum=1.5", "--optimizer=sgd"], "momentum"),
        (["--dataset=fashion_mnist"], "data_dir"),
        (["--dataset=npz", "--data_dir=nowhere"], "--dataset=npz needs --classes"),
        (["--dataset=image_folder", "--data_dir=.", "--image_size=8"], r"image_size must be \(height, width\)"),
        (["--dataset=fashion_mnist", "--data_dir=nowhere"], "nowhere"),
        (["--run_dir=/dev/null/run"], "run directory /dev/null/run can't be written"),
        (["--early_stopping", "--monitor=val_loss"], "validation.loss"),
        (["--early_stopping", "--monitor=train.f1"], "accuracy"),
        (["--schedule=piecewise"], "boundaries"),
        (["stray"], "unexpected argument 'stray'"),
    ],
)
def test_what_is_wrong_is_named_in_one_line_before_anything_trains(command, tmp_path, arguments, message):
    code, _, err = command("--model=mlp", "--units=4", "--run_dir=run", *arguments)
    assert code != 0
    assert re.search(message, err), err
    assert len(err.strip().splitlines()) <= 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ({"cut": 1000}, "train-images-idx3-ubyte"),
        ({"cut": 60, "compress": True}, "train-images-idx3-ubyte.gz"),
        ({"header": b"\x00\x00\x0d\x03" + bytes(12)}, "train-images-idx3-ubyte"),
        ({"label": 10}, "10"),
    ],
)
def test_damaged_data_is_named(command, tmp_path, harm, message):
    idx_folder(tmp_path / "idx", **harm)
    code, _, err = command("--dataset=fashion_mnist", "--data_dir=idx", "--batch_size=16", "--run_dir=run")
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_resuming_with_other_flags_names_what_differs(command):
    command(*SMALL, "--epochs=1", "--run_dir=run")
    code, _, err = command(*SMALL, "--epochs=2", "--run_dir=run", "--seed=1", "--learning_rate=0.5", "--keep=9")
    assert code == 2
    assert "--learning_rate=0.001 is now --learning_rate=0.5; --seed=0 is now --seed=1" in err
    assert "keep" not in err


def test_a_run_may_go_on_with_another_number_of_replicas_and_parts(command, tmp_path):
    """float64, where rounding is all that tells the runs apart."""
    options = ["--precision=float64", "--dropout=0.3", "--augment=random_crop", "--log_every_step", "--decay_steps=44"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert command(*SMALL, *options, "--epochs=4", "--run_dir=whole")[0] == 0
    assert command(*SMALL, *options, "--epochs=2", "--run_dir=cut", "--num_replicas=3")[0] == 0
    assert command(*SMALL, *options, "--epochs=4", "--run_dir=cut", "--accumulate_steps=3")[0] == 0
    losses = [
        [json.loads(line)["loss"] for line in (run / "history.jsonl").read_text().splitlines()] for run in (whole, cut)
    ]
    assert len(losses[0]) == 48
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-10)
    assert result(cut)["resumed_from"] == 22


def test_a_run_on_mixed_labels_is_repeated_by_its_flagfile(command, tmp_path):
    augment = "--augment=mixup(0.4), cutmix, random_crop(padding=1, fill_mode='reflect')"
    assert command(*SMALL, augment, "--epochs=2", "--units=32", "--learning_rate=0.01", "--run_dir=first")[0] == 0
    assert command("--flagfile=first/flags.cfg", "--run_dir=second")[0] == 0
    first, second = (result(tmp_path / name) for name in ("first", "second"))
    for split in ("train", "validation", "test"):
        assert set(first[split]) == {"loss", "data_loss", "accuracy"}
        assert first[split] == second[split]
    assert first["weights_sha256"] == second["weights_sha256"]
    # Pictures as they are, with labels as rows: after two epochs, far above the 0.1 of chance.
    assert first["test"]["accuracy"] > 0.3


def test_clipping_average_precision_and_xla_by_flags(command, tmp_path):
    """The model that is saved holds the averages; the hash is of the weights themselves."""
    run_dir = tmp_path / "run"
    options = ["--clip_global_norm=1", "--average=ema", "--average_decay=0.9", "--precision=bfloat16"]
    options += ["--loss_scaling=dynamic", "--jit_compile", "--max_traces=1", "--epochs=1"]
    assert command(*SMALL, *options, "--run_dir=run")[0] == 0
    train_lines = [json.loads(line) for line in (run_dir / "history.jsonl").read_text().splitlines()]
    assert (train_lines[0]["skipped_steps"], train_lines[0]["loss_scale"]) == (0, 2.0**15)
    saved = engine.files.restoring.saved_variables(run_dir / "checkpoints" / "step-00000011")
    assert {"optimizer.rule.step", "average.updates", "loss_scale.scale"} <= set(saved)
    model = networks.make_model(pipelines.make_pipelines()[0].info)
    engine.restore(model, run_dir / "checkpoints" / "model")
    averaged = engine.weights_sha256(model)
    engine.restore(model, run_dir / "checkpoints" / "step-00000011")
    assert engine.weights_sha256(model) == result(run_dir)["weights_sha256"] != averaged


def test_swa_and_a_plateau_by_flags(command, tmp_path):
    options = ["--average=swa", "--average_every=5", "--reduce_on_plateau", "--plateau_factor=0.5"]
    options += ["--plateau_patience=1", "--min_delta=9", "--plateau_cooldown=1", "--epochs=4", "--schedule=constant"]
    assert command(*SMALL, *options, "--run_dir=run")[0] == 0
    records = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    # The first look is the best; the next reduces; the one after that is forgiven.
    rates = [record["learning_rate"] for record in records if record["split"] == "train"]
    assert rates == [1e-3, 1e-3, 5e-4, 2.5e-4]
    saved = engine.files.restoring.saved_variables(tmp_path / "run" / "checkpoints" / "step-00000044")
    assert {"optimizer.learning_rate.factor", "hooks.reduce_on_plateau.best", "average.updates"} <= set(saved)


def test_a_finished_run_is_exported(command, tmp_path):
    assert command(*SMALL, "--epochs=1", "--run_dir=run", "--average=ema", "--learning_rate=0.01")[0] == 0
    # Of the first weights hardly anything is left after 11 updates.
    assert result(tmp_path / "run")["test"]["accuracy"] > 0.25
    code, out, _ = command("--mode=export", "--run_dir=run")
    assert code == 0
    assert "run/export (a SavedModel, compared with the model) and run/model.h5" in out
    model = engine.load_model(tmp_path / "run" / "model.h5")
    saved = networks.make_model(pipelines.make_pipelines()[0].info)
    engine.restore(saved, tmp_path / "run" / "checkpoints" / "model")
    assert engine.weights_sha256(model) == engine.weights_sha256(saved)
    images = np.zeros((2, 28, 28, 1), np.uint8)
    served = tf.saved_model.load(str(tmp_path / "run" / "export")).signatures["serving_default"]
    np.testing.assert_allclose(
        served(inputs=tf.constant(images))["outputs"], model(images / np.float32(255)), atol=1e-6
    )
    assert command("--mode=export", "--run_dir=none")[0] == 2
    assert command("--mode=export")[0] == 2


def test_a_step_that_is_not_finite_ends_a_run_and_is_replayed(command, tmp_path):
    """One example weighs so much that its loss overflows; the others say that its label is wrong."""
    weights, labels = np.ones(400, np.float32), np.zeros(400, np.int32)
    weights[137], labels[137] = 3e38, 3
    inputs = np.random.default_rng(0).integers(0, 255, (400, 8, 8, 1)).astype(np.uint8)
    (tmp_path / "set").mkdir()
    np.savez(tmp_path / "set" / "train.npz", inputs=inputs, labels=labels, weights=weights)
    np.savez(tmp_path / "set" / "test.npz", inputs=inputs[:50], labels=labels[:50])
    flags = ["--dataset=npz", f"--data_dir={tmp_path}/set", "--classes=4", "--model=mlp", "--units=8", "--seed=2"]
    flags += ["--batch_size=20", "--learning_rate=0.1", "--epochs=2", "--checkpoint_every=5", "--notensorboard"]
    code, _, err = command(*flags, "--run_dir=run")
    assert code == 1
    found = re.search(r"step (\d+) is not finite: loss inf; forward, in the sum Σwℓ", err)
    assert result(tmp_path / "run")["stopped_by"] == "non_finite"
    folder = f"run/failures/step-{found[1]}"
    code, out, _ = command(f"--replay={folder}")
    assert code == 0
    assert out.startswith(f"step {found[1]} is not finite: loss inf; forward, in the sum Σwℓ")
    assert re.search('first op: Detected Infinity or NaN in output 0 of eagerly-executing op "(Mul|MulNoNan|Sum)"', out)
    assert command("--replay=run/failures/step-99999")[0] == 2
    for policy in ("skip", "rollback"):
        assert command(*flags, f"--on_non_finite={policy}", f"--run_dir={policy}")[0] == 0
        assert result(tmp_path / policy)["stopped_by"] == "epochs"
        assert result(tmp_path / policy)["steps"] == 40 if policy == "skip" else result(tmp_path / policy)["steps"] < 40


def test_help_names_every_flag_with_what_it_takes(capsys):
    with pytest.raises(SystemExit) as left:
        train.parse(["train.py", "--helpshort"])
    said = capsys.readouterr().out
    assert left.value.code == 0
    own = [
        f for module, found in flags.FLAGS.flags_by_module_dict().items() if module.startswith("cli.") for f in found
    ]
    assert len(own) > 80
    for flag in own:
        assert f"\n  --{flag.name}" in said, flag.name
        assert len(flag.help) > 10, flag.name
    assert "--optimizer=sgd|adamw|" in said
    assert max(map(len, said.splitlines())) < 300
