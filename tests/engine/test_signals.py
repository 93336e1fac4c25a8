"""SIGINT and SIGTERM, wherever they find a fit: nothing is lost, nothing is written twice, nobody waits."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tensorflow as tf
from parts import classified, mlp, trainer

import data
import engine
import optim
from engine.files import checkpoints

ROOT = Path(__file__).parents[2]


def interrupt(made):
    """Sends a signal to this process, and returns when it has reached the trainer."""
    os.kill(os.getpid(), signal.SIGTERM)
    while not made._stop:
        time.sleep(0.001)


def fitted(folder, made, validation, *hooks, epochs=2):
    files = [engine.hooks.Checkpoint(folder / "checkpoints"), engine.hooks.HistoryFile(folder / "history.jsonl")]
    return made.fit(data.Pipeline(classified(), 10), epochs=epochs, validation=validation, hooks=[*files, *hooks])


def new(**options):
    return trainer(mlp(dropout=0.5), optimizer=optim.Adam(0.03), steps_per_loop=3, **options)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("undisturbed"), new()
    fitted(folder, made, data.Pipeline(classified(20, seed=1), 2, shuffle=False))
    return engine.weights_sha256(made.model), (folder / "history.jsonl").read_text()


def test_an_evaluation_is_left_between_two_batches_and_done_again_on_resume(tmp_path, undisturbed):
    made, seen = new(), []

    def slow(batch):
        def see(inputs):
            seen.append(1)
            if len(seen) == 9:
                interrupt(made)
            # The tenth batch must not be what the signal waits for.
            if len(seen) > 9:
                time.sleep(0.05)
            return inputs

        inputs = tf.numpy_function(see, [batch["inputs"]], tf.float32)
        return {**batch, "inputs": tf.ensure_shape(inputs, batch["inputs"].shape)}

    held_out = classified(2000, seed=1)
    history = fitted(tmp_path, made, data.Pipeline(held_out, 2, shuffle=False, transform=slow))
    assert (history.stopped_by, history.signal) == ("signal", signal.SIGTERM)
    assert len(seen) < 100
    assert int(made.state.step) == 5
    assert [record["step"] for record in history.records] == [3]
    again = new()
    assert fitted(tmp_path, again, data.Pipeline(classified(20, seed=1), 2, shuffle=False)).resumed_from == 5
    assert (engine.weights_sha256(again.model), (tmp_path / "history.jsonl").read_text()) == undisturbed


def test_a_boundary_that_was_done_again_and_killed_before_it_was_saved_writes_its_lines_once(tmp_path, undisturbed):
    """Step 5 is saved before its evaluation; then its lines are written, and the process dies before the next save."""

    class Killed(engine.hooks.Hook):
        def on_boundary(self, run):
            if run.step == 5:
                raise MemoryError("killed")

    class Interrupted(engine.hooks.Hook):
        def on_steps(self, run, first, steps):
            if run.step == 5:
                interrupt(run.trainer)

    validation = data.Pipeline(classified(20, seed=1), 2, shuffle=False)
    assert fitted(tmp_path, new(), validation, Interrupted("interrupted")).stopped_by == "signal"
    with pytest.raises(MemoryError):
        fitted(tmp_path, new(), validation, Killed("killed"))
    assert [step.name for step in checkpoints.folders(tmp_path / "checkpoints")] == ["step-00000005"]
    made = new()
    fitted(tmp_path, made, validation)
    assert (engine.weights_sha256(made.model), (tmp_path / "history.jsonl").read_text()) == undisturbed


@pytest.mark.parametrize("during", ["step-00000005", "step-00000010"])
def test_a_signal_during_a_write_spoils_no_checkpoint(tmp_path, undisturbed, monkeypatch, during):
    """The first write is that of an epoch's end; the second the last, when there is no step left to stop at."""
    made, save = new(), checkpoints.save

    def interrupted(folder, values, **facts):
        if folder.name == during:
            interrupt(made)
        return save(folder, values, **facts)

    monkeypatch.setattr(checkpoints, "save", interrupted)
    validation = data.Pipeline(classified(20, seed=1), 2, shuffle=False)
    history = fitted(tmp_path, made, validation)
    assert history.signal == signal.SIGTERM
    assert history.stopped_by == ("signal" if during == "step-00000005" else "epochs")
    newest = checkpoints.latest(tmp_path / "checkpoints")
    assert int(newest.name[5:]) == int(made.state.step)
    again = new()
    fitted(tmp_path, again, validation)
    assert (engine.weights_sha256(again.model), (tmp_path / "history.jsonl").read_text()) == undisturbed


def test_a_signal_of_which_nobody_hears_outside_the_main_thread_is_no_error():
    made, found = new(), []
    pipeline = data.Pipeline(classified(), 10)
    thread = threading.Thread(target=lambda: found.append(made.fit(pipeline, max_steps=2).stopped_by))
    thread.start()
    thread.join()
    assert found == ["max_steps"]


LEFT = """
import tensorflow as tf
from engine.signals import leave_on_signals

with leave_on_signals("left by %s"):
    print("calling", flush=True)
    # Hours in one call.
    tf.function(lambda: tf.while_loop(lambda n: n < 10**10, lambda n: [n + 1], [tf.constant(0, tf.int64)]))()
"""

TWICE = """
import sys
sys.path.insert(0, "tests/engine")
import time
from parts import classified, trainer
import data, engine

class Hanging(engine.hooks.Hook):
    def on_steps(self, run, first, steps):
        print("training", flush=True)
    def on_fit_end(self, run):
        print("saving", flush=True)
        time.sleep(600)

trainer().fit(data.Pipeline(classified(), 10), epochs=10**6, hooks=[Hanging("hanging")])
"""


def process(script):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, **pipes)


def ended(started, within=10):
    """Return code and standard error of a process that ends soon."""
    try:
        _, err = started.communicate(timeout=within)
    finally:
        started.kill()
    return started.returncode, err


def test_a_program_is_left_out_of_a_call_that_takes_minutes():
    started = process(LEFT)
    assert started.stdout.readline() == "calling\n"
    time.sleep(0.2)
    started.send_signal(signal.SIGINT)
    code, err = ended(started)
    assert (code, err.splitlines()[-1]) == (130, "left by SIGINT")


def test_a_second_signal_ends_the_process_at_once():
    started = process(TWICE)
    assert started.stdout.readline() == "training\n"
    started.send_signal(signal.SIGINT)
    while (line := started.stdout.readline()) == "training\n":
        pass
    assert line == "saving\n"
    started.send_signal(signal.SIGTERM)
    code, _ = ended(started)
    assert code == 143
