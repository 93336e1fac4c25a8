"""The command line where signals come early, disks fail and folders are taken: one line, and nothing is lost."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import ROOT, SMALL, finish, result, start

from engine.files import checkpoints
from engine.files.lock import Lock


def mounted(folder, options):
    """Mounts a file system of its own on a folder."""
    folder.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a file system of its own needs root and mount: run the tests in a container that may")


@pytest.fixture
def disk(tmp_path):
    """A folder to mount a file system on."""
    folder = tmp_path / "disk"
    yield folder
    subprocess.run(["umount", folder], capture_output=True)


def test_a_signal_during_the_imports_is_one_line(tmp_path):
    process = start(tmp_path / "run")
    while "libtensorflow" not in Path(f"/proc/{process.pid}/maps").read_text():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert finish(process, 130) == ("", "train.py: SIGINT, and no step to be saved: start it again to go on\n")
    assert not (tmp_path / "run").exists()


def test_a_signal_before_the_first_step_waits_for_no_tracing(tmp_path):
    process = start(tmp_path / "run", "--jit_compile")
    while not (line := process.stdout.readline()).startswith("run directory"):
        assert line
    process.send_signal(signal.SIGTERM)
    _, err = finish(process, 143)
    assert err == "train.py: SIGTERM, and no step to be saved: start it again to go on\n"
    assert not (tmp_path / "run" / "result.json").exists()


AS_FIT_BEGINS = """
import os, runpy, signal, sys, time
import engine

bind = engine.hooks.LeaveBeforeFirstStep.bind

def bound(*arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(1)
    bind(*arguments)

engine.hooks.LeaveBeforeFirstStep.bind = bound
sys.argv[0] = "train.py"
runpy.run_path(PROGRAM, run_name="__main__")
"""


def test_a_signal_as_the_fit_begins_is_the_same_line(tmp_path):
    code = AS_FIT_BEGINS.replace("PROGRAM", repr(str(ROOT / "train.py")))
    command = [sys.executable, "-c", code, *SMALL, "--run_dir=run", "--notensorboard"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 143, done.stderr
    assert done.stderr.splitlines()[-1] == "train.py: SIGTERM, and no step to be saved: start it again to go on"
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_disk_too_small_for_one_checkpoint_is_told_in_one_line(command, disk):
    mounted(disk, "size=64k")
    code, _, err = command(*SMALL, "--units=64", "--epochs=1", "--run_dir=disk/run", "--notensorboard")
    assert code == 2
    *_, last = err.splitlines()
    assert last.startswith("train.py: error: checkpoint disk/run/checkpoints/step-00000011 could not be written: ")
    assert last.endswith("No space left on device")
    assert [path.name for path in (disk / "run/checkpoints").iterdir()] == [".lock"]


def test_a_disk_that_can_only_be_read_is_told_in_one_line(command, disk):
    mounted(disk, "size=64k,ro")
    code, _, err = command(*SMALL, "--run_dir=disk/run")
    assert (code, err) == (
        2,
        "train.py: error: the run directory disk/run can't be written: Read-only file system\n",
    )


@pytest.fixture
def two_epochs(command, tmp_path):
    """The folder of a run of two epochs, which saved after 11 and 22 steps."""
    assert command(*SMALL, "--epochs=2", "--decay_steps=33", "--run_dir=run")[0] == 0
    return tmp_path / "run"


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_folder_that_another_process_trains_in_is_refused_before_anything_is_read(command, two_epochs):
    owner, before = Lock(two_epochs), files(two_epochs)
    owner.acquire()
    code, out, err = command(*SMALL, "--epochs=3", "--decay_steps=33", "--run_dir=run", "--seed=1")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("train.py: error: run is in use by process ")
    assert files(two_epochs) == before
    owner.release()
    assert "is finished" in command(*SMALL, "--epochs=2", "--decay_steps=33", "--run_dir=run")[1]


def test_a_checkpoint_of_a_newer_version_is_refused_in_one_line_and_stays(command, two_epochs):
    newest = two_epochs / "checkpoints/step-00000022"
    facts = {**checkpoints.facts_of(newest), "format": 99}
    (newest / "manifest.json").write_text(json.dumps({**facts, "sha256": checkpoints._digest(facts)}))
    before = files(two_epochs)
    code, _, err = command(*SMALL, "--epochs=3", "--decay_steps=33", "--run_dir=run")
    expected = "checkpoint run/checkpoints/step-00000022 has format 99, this version reads 1 and 2"
    assert (code, err) == (2, f"train.py: error: {expected}\n")
    assert files(two_epochs) == before


def test_a_flipped_byte_in_the_newest_checkpoint_costs_an_epoch_and_no_bit_of_the_result(command, two_epochs):
    victim = two_epochs / "checkpoints/step-00000022/variables.data-00000-of-00001"
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    code, _, err = command(*SMALL, "--epochs=3", "--decay_steps=33", "--run_dir=run")
    assert code == 0
    assert "step-00000022 is damaged: variables.data-00000-of-00001 is missing or is not what was written" in err
    assert "set aside, going back to step-00000011" in err
    assert command(*SMALL, "--epochs=3", "--decay_steps=33", "--run_dir=other")[0] == 0
    resumed, undisturbed = result(two_epochs), result(two_epochs.parent / "other")
    assert resumed["resumed_from"] == 11
    assert resumed["weights_sha256"] == undisturbed["weights_sha256"]
    histories = [(run / "history.jsonl").read_text() for run in (two_epochs, two_epochs.parent / "other")]
    assert histories[0] == histories[1]
