"""Scripts of `benchmarks/` that need no peer run, as small as they go, and print their rows. Here times say nothing."""

import runpy
import sys
from pathlib import Path

import pytest

import engine  # noqa: F401

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
# What a line of each script's output holds.
SCRIPTS = {
    "augmentations --size=8 --batch=2 --rounds=1 --only cutout(8) flip_left_right": ["cutout(8)", "flip_left_right"],
    "checkpoints --megabytes=1 --repeats=1": ["| ours |", "| `tf.train.Checkpoint` |", "| one copy |"],
    "feature_cache --model=resnet18 --size=32 --pictures=32 --epochs=1": ["features once", "in every step", "apart"],
    "feeding --rounds=1 --batch_size=8 --seconds=0.001": ["pipeline, uint8", "model: convnet"],
    "finite_flags --rounds=1 --steps=1": ["MLP 784-128-64-10", "convnet 32-64, BatchNorm", "32×32×3"],
    "lstm --batch=2 --steps=3 --features=2 --units=3 --rounds=1": ["LSTM, ours", "GRU, plain loop"],
    "optimizers --rounds=1 --shapes=tiny --only SGD": ["SGD"],
}


@pytest.fixture(autouse=True)
def step_as_it_was(monkeypatch):
    """`finite_flags` takes functions out of the step."""
    step = sys.modules["engine.step"]
    for name in ("sums_of_squares", "untrained_variables"):
        monkeypatch.setattr(step, name, getattr(step, name))


@pytest.mark.parametrize(("command", "rows"), SCRIPTS.items(), ids=[command.split()[0] for command in SCRIPTS])
def test_a_script_runs_and_prints_its_rows(command, rows, monkeypatch, capsys):
    script, *flags = command.split()
    monkeypatch.setattr(sys, "argv", [script, *flags])
    runpy.run_path(str(BENCHMARKS / f"{script}.py"), run_name="__main__")
    printed = capsys.readouterr().out.splitlines()
    for row in rows:
        assert any(row in line for line in printed), printed
