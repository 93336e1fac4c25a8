"""Disks that are full, clocks that were set back, folders that others hold: loud, and nothing is lost."""

import contextlib
import json
import os
import subprocess
import time

import numpy as np
import pytest
import tensorflow as tf
from parts import classified, mlp, trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import data
import engine
import optim
from engine.files import checkpoints
from engine.files.lock import Lock
from engine.files.run_directory import RunDirectory


def fitted(folder, *hooks, epochs=8, keep=9):
    made = trainer(mlp(dropout=0.5), optimizer=optim.Adam(0.03), steps_per_loop=1)
    files = [
        engine.hooks.Checkpoint(folder / "checkpoints", keep=keep),
        engine.hooks.HistoryFile(folder / "history.jsonl"),
        engine.hooks.TensorBoard(folder / "tensorboard"),
    ]
    held_out = data.Pipeline(classified(20, seed=1), 20, shuffle=False)
    made.fit(data.Pipeline(classified(), 10), epochs=epochs, validation=held_out, hooks=[*hooks, *files])
    return engine.weights_sha256(made.model)


def scalars(folder):
    """What TensorBoard's own reader finds: (step, value) of the loss, by split."""
    found = {}
    for split in sorted(folder.iterdir()):
        reader = EventAccumulator(str(split), size_guidance={"tensors": 0})
        reader.Reload()
        found[split.name] = [
            (event.step, float(tf.make_ndarray(event.tensor_proto))) for event in reader.Tensors("loss")
        ]
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Hash, history and scalars of eight epochs of five steps."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return fitted(folder), (folder / "history.jsonl").read_text(), scalars(folder / "tensorboard")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 600 kB; the function fills it to the last byte, or makes room again."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a file system of its own needs root and mount: run the tests in a container that may")
    filler = folder / "filler"

    def full(yes):
        if not yes:
            filler.unlink()
            return
        # What is being written is not meant.
        while not (folder / "checkpoints" / "step-00000005").exists():
            time.sleep(0.01)
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(1 << 12)):
                pass

    yield folder, full
    subprocess.run(["umount", folder], check=True)


class During(engine.hooks.Hook):
    """Calls a function with True when one step is done and with False at another."""

    def __init__(self, begin, end, call):
        super().__init__("during")
        self._calls, self._call = {begin: True, end: False}, call

    def on_loop_end(self, run, record):
        if run.step in self._calls:
            self._call(self._calls[run.step])


def test_a_disk_that_is_full_for_a_while_costs_the_checkpoints_of_that_while_and_no_line(
    small_disk, undisturbed, caplog
):
    folder, full = small_disk
    assert fitted(folder, During(8, 38, full)) == undisturbed[0]
    kept = [int(step.name[5:]) for step in checkpoints.folders(folder / "checkpoints")]
    assert (kept[0], kept[-1]) == (5, 40)
    assert not set(kept) & {10, 15, 20, 25, 30}
    assert (folder / "history.jsonl").read_text() == undisturbed[1]
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert f"{folder}/history.jsonl could not be written: No space left on device; its lines wait in memory" in "".join(
        told
    )
    assert sum(line.endswith("training goes on, the older checkpoints stand") for line in told) >= 5
    assert not list((folder / "checkpoints").glob(".writing-*"))


def test_a_disk_that_stays_full_fails_the_fit_and_the_run_goes_on_when_there_is_room(small_disk, undisturbed):
    folder, full = small_disk
    with pytest.raises(OSError, match=rf"^{folder}/.* could not be written: No space left on device$"):
        fitted(folder, During(8, 99, full))
    assert [step.name for step in checkpoints.folders(folder / "checkpoints")] == ["step-00000005"]
    full(False)
    assert fitted(folder) == undisturbed[0]
    assert (folder / "history.jsonl").read_text() == undisturbed[1]


def crash(yes):
    raise MemoryError("the end")


def test_what_a_killed_run_wrote_is_there_once_though_the_clock_was_set_back_and_lines_were_cut_short(
    tmp_path, undisturbed
):
    """Its files are of the year 2100, the older a checkpoint the newer its time; three steps are in no checkpoint."""
    with pytest.raises(MemoryError):
        fitted(tmp_path, During(13, 99, crash))
    future = 4_102_444_800
    for age, file in enumerate(sorted(tmp_path.rglob("*"), reverse=True)):
        os.utime(file, (future + age, future + age))
    for file in (tmp_path / "tensorboard").glob("*/events*"):
        with file.open("ab") as torn:
            torn.write(b"\x07\0\0\0\0\0\0\0half")
        file.rename(file.with_name(file.name.replace(file.name.split(".")[3], str(future))))
    assert fitted(tmp_path) == undisturbed[0]
    assert (tmp_path / "history.jsonl").read_text() == undisturbed[1]
    assert scalars(tmp_path / "tensorboard") == undisturbed[2]
    assert checkpoints.resolve(tmp_path).name == "step-00000040"


def test_a_checkpoint_that_only_lacked_its_name_is_taken_up_and_half_ones_are_removed(tmp_path, undisturbed):
    """Where a checkpoint is replaced and its writer dies between the two renames, with one checkpoint kept."""
    fitted(tmp_path, epochs=2, keep=1)
    folder = tmp_path / "checkpoints"
    (folder / "step-00000010").rename(folder / ".writing-step-00000010-77")
    checkpoints.save(folder / ".writing-step-00000015-77", {"a": np.float32(0)})
    (folder / ".writing-step-00000015-77" / "variables.index").write_bytes(b"half")
    assert fitted(tmp_path) == undisturbed[0]
    assert (tmp_path / "history.jsonl").read_text() == undisturbed[1]
    assert not list(folder.glob(".writing-*"))


def test_who_does_not_hold_the_lock_removes_nothing(tmp_path):
    leftover = tmp_path / "checkpoints" / ".writing-step-00000001-77"
    leftover.mkdir(parents=True)
    owner = Lock(tmp_path / "checkpoints")
    owner.acquire()
    with pytest.raises(OSError, match=f"is in use by process {os.getpid()} on "):
        fitted(tmp_path)
    assert leftover.exists()
    owner.release()


def test_a_lock_on_a_folder_that_its_owner_removed_locks_nobody_out_and_nobody_in(tmp_path, monkeypatch):
    first, late = Lock(tmp_path / "run"), Lock(tmp_path / "run")
    first.acquire()
    opened = os.open

    def removed_meanwhile(path, *arguments):
        descriptor = opened(path, *arguments)
        if first.held:
            first.path.unlink()
            first.release()
        return descriptor

    monkeypatch.setattr(os, "open", removed_meanwhile)
    late.acquire()
    monkeypatch.undo()
    with pytest.raises(OSError, match="in use"):
        Lock(tmp_path / "run").acquire()
    late.release()


def test_a_new_folder_goes_again_where_an_error_came_before_the_first_line_and_no_other_does(tmp_path):
    def failing(folder, line):
        with contextlib.suppress(ValueError), RunDirectory(folder) as directory:
            directory.lock()
            directory.write_flags({"epochs": "--epochs=1"})
            directory.history.write_text(line)
            raise ValueError("refused")

    failing(tmp_path / "new", "")
    failing(tmp_path / "trained", "{}\n")
    (tmp_path / "old").mkdir()
    failing(tmp_path / "old", "")
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["old", "trained"]
    with RunDirectory(tmp_path / "done") as directory:
        directory.lock()
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("poisoned", [13, 14])
def test_no_step_is_shown_twice_or_lost_after_a_rollback(tmp_path, poisoned):
    """In the middle of an epoch, and at its last batch, where the epoch's end comes without another step."""

    class Poison(engine.hooks.Hook):
        left = 1

        def on_loop_end(self, run, record):
            if run.step == poisoned and self.left:
                self.left = 0
                bias = run.trainer.model.layers[2].bias
                bias.assign(bias * np.nan)

    made = trainer(optimizer=optim.Adam(0.03), steps_per_loop=1, on_non_finite="rollback")
    hooks = [engine.hooks.Checkpoint(tmp_path / "checkpoints"), engine.hooks.TensorBoard(tmp_path / "tensorboard")]
    hooks.append(engine.hooks.HistoryFile(tmp_path / "history.jsonl"))
    made.fit(data.Pipeline(classified(), 10), epochs=4, hooks=[Poison("poison"), *hooks])
    steps = [step for step, _ in scalars(tmp_path / "tensorboard")["train"]]
    assert steps == list(range(1, steps[-1] + 1))
    assert steps == [json.loads(line)["step"] for line in (tmp_path / "history.jsonl").read_text().splitlines()]
