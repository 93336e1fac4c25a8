"""Several workers, as a person starts them: real processes that speak over the loopback, are killed, and come back."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import engine
from layers import nets

ROOT = Path(__file__).parent.parent
# Batches and the last batch of each epoch have an odd number of rows, or fewer than the others: 333, …, 72.
FLAGS = [
    "--model=mlp",
    "--units=8",
    "--batch_size=333",
    "--validation_fraction=0.1",
    "--optimizer=adamw",
    "--schedule=cosine",
    "--precision=float64",
    "--dropout=0.3",
    "--augment=random_crop,flip_left_right",
    "--epochs=6",
    "--steps_per_loop=4",
    "--log_every_step",
]
STEPS = 6 * 17


def free_addresses(count):
    """Addresses on the loopback that nobody uses at the moment."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]


def tf_config(addresses, index):
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})


def by_tf_config(addresses, indices=(0, 1)):
    return [({"TF_CONFIG": tf_config(addresses, index)},) for index in indices]


def by_slurm():
    """What srun tells two tasks on one node. The job's number gives the ports, so it must not be that of another."""
    step = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2"}
    step |= {"SLURM_STEP_NODELIST": "127.0.0.1", "SLURMD_NODENAME": "127.0.0.1", "SLURM_NODEID": "0"}
    return [({**step, "SLURM_PROCID": task, "SLURM_LOCALID": task},) for task in ("0", "1")]


@contextlib.contextmanager
def started(folder, places, *arguments):
    """train.py once for each place: (its environment, flags of its own). No process outlives this."""
    processes = []
    try:
        for number, (place, *own) in enumerate(places):
            temporary = folder / f"temporary_{number}"
            temporary.mkdir(exist_ok=True)
            inherited = {k: v for k, v in os.environ.items() if k != "TF_CONFIG" and not k.startswith("SLURM_")}
            env = {**inherited, "TMPDIR": str(temporary), **place}
            command = [sys.executable, str(ROOT / "train.py"), *arguments, *own]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            processes.append(subprocess.Popen(command, cwd=folder, env=env, text=True, **pipes))
        yield processes
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


def pair(run_dir, *arguments):
    """Two workers of one run."""
    return started(run_dir.parent, by_tf_config(free_addresses(2)), f"--run_dir={run_dir}", *arguments)


def finish(process, code=0, *, within=240):
    out, err = process.communicate(timeout=within)
    assert process.returncode == code, err
    return out, err


def finished(run_dir, *arguments):
    """Two workers run to their end; what each of them said."""
    with pair(run_dir, *FLAGS, *arguments) as processes:
        return [finish(process) for process in processes]


def wait_for_lines(processes, run_dir, count):
    file, deadline = run_dir / "history.jsonl", time.monotonic() + 240
    while not file.exists() or file.read_text().count("\n") < count:
        for process in processes:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no history came"
        time.sleep(0.01)


def result(run_dir):
    return json.loads((run_dir / "result.json").read_text())


def records(run_dir):
    return [json.loads(line) for line in (run_dir / "history.jsonl").read_text().splitlines()]


def weights(run_dir):
    model = engine.cast(nets.mlp((28, 28, 1), 10, units=[8], dropout=0.3), "float64")
    engine.restore(model, run_dir / "checkpoints/model")
    return {path: variable.numpy() for path, variable in engine.variable_paths(model).items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("workers") / "run"
    return run_dir, finished(run_dir)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """The same run in one process, on one device and on three replicas."""
    folder = tmp_path_factory.mktemp("single")
    own = [({}, "--run_dir=alone", "--strategy=one_device"), ({}, "--run_dir=replicas", "--num_replicas=3")]
    with started(folder, own, *FLAGS) as processes:
        for process in processes:
            finish(process)
    return folder


@pytest.mark.parametrize("cut", ["workers", "replicas"])
def test_workers_and_replicas_train_what_one_device_trains(undisturbed, single, cut):
    """Every step's loss, every evaluation and the weights, with dropout, augmentation and a short last batch."""
    run_dir, alone = undisturbed[0] if cut == "workers" else single / "replicas", single / "alone"
    found, expected = records(run_dir), records(alone)
    assert [(r["split"], r["step"]) for r in found] == [(r["split"], r["step"]) for r in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in {"loss", "data_loss", "accuracy", "learning_rate"} & one.keys():
            assert one[name] == pytest.approx(other[name], rel=1e-10), (one["split"], one["step"], name)
    assert result(run_dir)["steps"] == result(alone)["steps"] == STEPS
    for split in ("train", "validation", "test"):
        assert result(run_dir)[split] == pytest.approx(result(alone)[split], rel=1e-10)
    found, expected = weights(run_dir), weights(alone)
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, rtol=0, atol=1e-10, err_msg=path)


def test_workers_tell_the_same_result_and_the_chief_alone_tells_the_epochs(undisturbed):
    (chief, chief_error), (other, other_error) = undisturbed[1]
    assert chief_error == other_error == ""
    assert "2 replicas on worker 0 of 2" in chief
    assert "2 replicas on worker 1 of 2" in other
    told = [next(line for line in out.splitlines() if line.startswith("stopped by")) for out in (chief, other)]
    assert told[0] == told[1]
    assert "epoch 6/6" in chief
    assert "epoch 6/6" not in other


def test_what_is_written_is_written_once(undisturbed):
    run_dir, _ = undisturbed
    assert {path.name for path in run_dir.iterdir()} == {
        ".lock", "flags.cfg", "environment.jsonl", "history.jsonl", "checkpoints", "tensorboard", "result.json",
    }  # fmt: skip
    kept = {".lock", "model", *(f"step-{step:08d}" for step in (STEPS - 34, STEPS - 17, STEPS))}
    assert {path.name for path in (run_dir / "checkpoints").iterdir()} == kept
    for folder in (run_dir / "checkpoints").glob("[!.]*"):
        assert {path.name for path in folder.iterdir()} == {
            "manifest.json", "variables.index", "variables.data-00000-of-00001",
        }  # fmt: skip
    assert [len(list(split.iterdir())) for split in (run_dir / "tensorboard").iterdir()] == [1, 1]
    assert [r["step"] for r in records(run_dir) if r["split"] == "train"] == list(range(1, STEPS + 1))
    assert [r["step"] for r in records(run_dir) if r["split"] == "validation"] == list(range(17, STEPS + 1, 17))
    assert not [*run_dir.parent.glob("temporary_*/*")]


def test_workers_that_were_killed_and_stopped_end_with_the_weights_of_those_that_were_not(tmp_path, undisturbed):
    run_dir = tmp_path / "run"
    with pair(run_dir, *FLAGS) as processes:
        wait_for_lines(processes, run_dir, 20)
        processes[1].kill()
        _, err = finish(processes[0], 1, within=60)
    assert "train.py: a worker was lost: start all of them again" in err
    assert len(err.strip().splitlines()) == 1
    assert not (run_dir / "result.json").exists()

    with pair(run_dir, *FLAGS) as processes:
        wait_for_lines(processes, run_dir, 50)
        processes[1].send_signal(signal.SIGTERM)
        said = [finish(process, 143, within=60)[0] for process in processes]
    stopped = result(run_dir)
    assert stopped["stopped_by"] == "signal"
    assert 0 < stopped["resumed_from"] < stopped["steps"] < STEPS
    assert all(f"stopped by signal after step {stopped['steps']}:" in out for out in said)
    assert (run_dir / "checkpoints" / f"step-{stopped['steps']:08d}" / "manifest.json").exists()

    finished(run_dir)
    expected, found = result(undisturbed[0]), result(run_dir)
    assert found["resumed_from"] == stopped["steps"]
    for key in ("steps", "epochs", "train", "validation", "test", "weights_sha256", "stopped_by"):
        assert found[key] == expected[key], key
    assert (run_dir / "history.jsonl").read_text() == (undisturbed[0] / "history.jsonl").read_text()


def test_a_worker_that_nobody_joins_gives_up_and_a_broken_place_is_named_and_neither_writes(tmp_path):
    addresses = free_addresses(2)
    begun = time.monotonic()
    with started(tmp_path, by_tf_config(addresses, (0, 2)), "--run_dir=run", *FLAGS, "--worker_timeout_s=1") as (
        waiting,
        broken,
    ):
        _, err = finish(waiting, 2)
        assert f"no worker answered at {addresses[1]} within 1 s" in err
        assert len(err.strip().splitlines()) == 1
        _, err = finish(broken, 2)
        assert err == "train.py: error: TF_CONFIG: task index 2 is not one of the cluster's 2 of type worker\n"
    # What is left is TensorFlow's import, on a machine that may be slow; unbounded, the wait would be 300 s.
    assert time.monotonic() - begun < 120
    assert not (tmp_path / "run").exists()


def test_tasks_of_slurm_are_workers_and_need_a_folder_that_they_share(tmp_path):
    with started(tmp_path, by_slurm(), *FLAGS) as processes:
        for process in processes:
            _, err = finish(process, 2)
            assert err == "train.py: error: several workers need --run_dir, a folder that all of them see\n"
    assert not (tmp_path / "runs").exists()


def test_workers_with_different_flags_are_refused_by_all(tmp_path):
    """Each would read another order of examples, and nothing would show it."""
    workers = [(*place, f"--seed={seed}") for seed, place in enumerate(by_tf_config(free_addresses(2)))]
    with started(tmp_path, workers, "--run_dir=run", *FLAGS) as processes:
        for process in processes:
            _, err = finish(process, 2)
            assert "different flags" in err
            assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(shutil.which("bash") is None, reason="examples/two_workers.sh needs bash: install it to test this")
def test_the_example_of_two_workers_runs(tmp_path):
    run_dir = tmp_path / "run"
    arguments = [str(run_dir), "--epochs=1", "--model=mlp", "--max_steps=3"]
    # In a session of its own, so that all of it can be ended.
    process = subprocess.Popen(
        [str(ROOT / "examples/two_workers.sh"), *arguments],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        finish(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert (result(run_dir)["steps"], result(run_dir)["stopped_by"]) == (3, "max_steps")
    assert "worker 1 of 2" in (tmp_path / "run.worker_1.log").read_text()


SCRIPT = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np, tensorflow as tf
import data, engine, layers, optim

strategy = engine.make_strategy("multi_worker", worker_timeout_s=100)
replicas = engine.Replicas(strategy)
arrays = data.Arrays(np.random.default_rng(0).normal(size=(40, 4)).astype("float32"), np.arange(40) % 3)

def trainer(**options):
    with replicas.scope():
        model, rule = layers.Dense(4, 3), optim.SGD(0.1)
    return engine.Trainer(model, "sparse_categorical_crossentropy", rule, strategy=strategy, **options)

class Impatient(engine.hooks.Hook):
    chief_only, every = True, 3
    def on_boundary(self, run):
        run.stop("early_stopping")

history = trainer().fit(data.Pipeline(arrays, 8), max_steps=9, hooks=[Impatient("impatient")])
print("stopped", history.stopped_by, history.records[-1]["step"])
try:
    trainer(steps_per_loop=3 + replicas.worker).fit(data.Pipeline(arrays, 8), max_steps=9)
except ValueError as error:
    print("refused", error)

seen = []

def slow(batch):
    def see(inputs):
        seen.append(1)
        if replicas.worker == 1 and len(seen) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.02)
        return inputs
    inputs = tf.numpy_function(see, [batch["inputs"]], tf.float32)
    return {**batch, "inputs": tf.ensure_shape(inputs, batch["inputs"].shape)}

many = data.Arrays(np.zeros((4000, 4), np.float32), np.zeros(4000, np.int64))
validation = data.Pipeline(many, 2, shuffle=False, transform=slow)
history = trainer().fit(data.Pipeline(arrays, 8), epochs=9, validation=validation)
print("evaluating", history.stopped_by, history.steps["step"][-1], len(seen) < 1000)

class Broken:
    info, arrays = arrays.info, None
    def __len__(self):
        return 40
    def __getitem__(self, indices):
        if replicas.worker == 1 and 30 in indices:
            raise OSError("disk read error")
        return arrays[indices]

print("broken", flush=True)
trainer().fit(data.Pipeline(Broken(), 8, shuffle=False), max_steps=9)
"""


def test_workers_agree_on_stopping_in_evaluations_too_and_on_what_they_train_and_each_shows_its_own_error(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    processes = []
    try:
        for place, *_ in by_tf_config(free_addresses(2)):
            env = {**os.environ, **place}
            command = [sys.executable, str(script), str(ROOT)]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            processes.append(subprocess.Popen(command, env=env, cwd=tmp_path, **pipes))
        said = [process.communicate(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for out, err in said:
        lines = out.splitlines()
        assert lines[0] == "stopped early_stopping 3", err
        assert lines[1].startswith("refused the workers differ"), err
        assert lines[2] == "evaluating signal 5 True"
        assert lines[3] == "broken"
    assert all(process.returncode != 0 for process in processes)
    assert "disk read error" in said[1][1]
    assert ["a worker was lost" in err for _, err in said] == [True, False]
