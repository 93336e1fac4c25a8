"""Checkpoints as files: old formats, retention, `latest` and `best`, partial restores, writing in the background."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from parts import classified, mlp, trainer

import data
import engine
import layers
import optim
from engine.files import checkpoints, restoring
from engine.files.lock import Lock
from engine.files.writer import Writer

GOLDEN = Path(__file__).parent / "golden"
VALUES = {
    "model.layers.0.kernel": np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32),
    "model.layers.0.bias": np.array([0.5, -1.25], np.float64),
    "model.half": np.array([1.5, -2.0], np.float16),
    "model.brain": np.array([1.0, 3.140625], ml_dtypes.bfloat16),
    "step": np.int64(1234567890123),
    "flag": np.bool_(True),
    "hooks.watch.name": b"validation.loss, min\0\xff",
    "hooks.odd/name..x": np.arange(4, dtype=np.int32),
}


def variables():
    """As many as in the golden checkpoints, with other values."""
    made = {path: tf.Variable(tf.constant(value)) for path, value in VALUES.items()}
    for variable in made.values():
        variable.assign(tf.constant("") if variable.dtype == tf.string else tf.zeros_like(variable))
    return made


@pytest.mark.parametrize("folder", sorted(GOLDEN.iterdir()), ids=lambda folder: folder.name)
def test_every_version_reads_the_checkpoints_of_all_versions_before(folder):
    found = variables()
    restoring.restore(folder, found)
    for path, value in VALUES.items():
        np.testing.assert_array_equal(found[path].numpy(), value, err_msg=path)


def test_a_checkpoint_is_read_by_tensorflow_alone(tmp_path):
    checkpoints.save(tmp_path / "c", checkpoints.snapshot(variables()))
    assert {name for name, _ in tf.train.list_variables(str(tmp_path / "c" / "variables"))} == set(VALUES)


VECTOR = np.arange(4, dtype=np.float32)
ROWS, ONES = [0, 2], np.ones(2, np.float32)
UPDATES = {
    "assign": lambda v: v.assign(v + 1),
    "assign_add": lambda v: v.assign_add(np.ones(4)),
    "assign_sub": lambda v: v.assign_sub(np.ones(4)),
    "scatter_update": lambda v: v.scatter_update(tf.IndexedSlices(ONES, ROWS)),
    "scatter_add": lambda v: v.scatter_add(tf.IndexedSlices(ONES, ROWS)),
    "scatter_nd_add": lambda v: v.scatter_nd_add([[0], [2]], ONES),
    "strided": lambda v: v[1:3].assign(ONES),
    "descent": lambda v: tf.raw_ops.ResourceApplyGradientDescent(var=v.handle, alpha=1.0, delta=np.ones(4, np.float32)),
    "in a loop": lambda v: tf.while_loop(lambda n: n < 3, lambda n: v.assign_add(np.ones(4)) is None or [n + 1], [0]),
}


@pytest.mark.parametrize("compiled", [None, False, True], ids=["eager", "graph", "XLA"])
@pytest.mark.parametrize("update", UPDATES)
def test_a_snapshot_does_not_see_what_comes_after(update, compiled):
    def call(variable):
        UPDATES[update](variable)

    variable = tf.Variable(VECTOR)
    if compiled is not None:
        call = tf.function(call, jit_compile=compiled, autograph=False)
    call(variable)
    # Once updated, so that it is in whatever mode its updates put it into.
    variable.assign(VECTOR)
    taken = checkpoints.snapshot({"a": variable})["a"]
    for _ in range(2):
        call(variable)
    assert not np.array_equal(variable.numpy(), VECTOR)
    np.testing.assert_array_equal(taken, VECTOR)


@pytest.mark.parametrize(("rule", "replicas"), [(optim.Adam, 1), (optim.SGD, 1), (optim.Adam, 2)])
def test_a_snapshot_of_a_run_does_not_see_what_comes_after(rule, replicas):
    """A million numbers, which rules update through XLA, and an embedding's rows."""

    class Net(tf.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.dense = layers.Embedding(50, 1000), layers.Dense(1000, 1100)

        def __call__(self, rows, training):
            return self.dense(self.embedding(rows))

    strategy = engine.make_strategy("mirrored", replicas) if replicas > 1 else None
    with engine.Replicas(strategy).scope():
        model, update = Net(), rule(0.1)
    made = engine.Trainer(model, "sparse_categorical_crossentropy", update, strategy=strategy)
    pipeline = data.Pipeline(data.Arrays(np.arange(50), np.arange(50) % 7), 10)
    made.fit(pipeline, max_steps=2)
    taken = checkpoints.snapshot(made.state.variables_by_path())
    before = {path: np.array(value) for path, value in taken.items()}
    made.fit(pipeline, max_steps=5)
    assert not np.array_equal(model.dense.kernel.numpy(), before["model.dense.kernel"])
    for path, value in before.items():
        np.testing.assert_array_equal(taken[path], value, err_msg=path)


@pytest.mark.parametrize("number", [99, "2", None])
def test_a_format_of_the_future_is_refused_in_one_line(tmp_path, monkeypatch, number):
    with monkeypatch.context() as future:
        future.setattr(checkpoints, "FORMAT", number)
        checkpoints.save(tmp_path / "c", checkpoints.snapshot(variables()))
    with pytest.raises(engine.CheckpointError, match=r"has format .*, this version reads 1 and 2$"):
        restoring.restore(tmp_path / "c", variables())


def made_of(directory, steps, monitored, due):
    for number, step in enumerate(steps, 1):
        facts = {"step": step, "number": number, "due": due[number - 1]}
        value = monitored[number - 1]
        if value is not None:
            facts["monitored"] = {"name": "validation.accuracy", "mode": "max", "value": value}
        checkpoints.save(directory / f"step-{step:08d}", {"a": np.float32(step)}, **facts)


@hypothesis.given(
    st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 4)), st.booleans()), min_size=1, max_size=7),
    st.integers(1, 3),
    st.integers(0, 3),
    st.one_of(st.none(), st.integers(1, 3)),
)
@hypothesis.settings(max_examples=15)
def test_what_stays_is_the_newest_the_best_and_each_nth(tmp_path_factory, looks, last, best, every):
    directory = tmp_path_factory.mktemp("retained")
    steps = [10 * (n + 1) for n in range(len(looks))]
    made_of(directory, steps, [value for value, _ in looks], [due for _, due in looks])
    checkpoints.retain(directory, last, best, every)
    known = [(-value, step) for (value, _), step in zip(looks, steps, strict=True) if value is not None]
    expected = set(steps[-last:]) | {step for _, step in sorted(known)[:best]}
    if every:
        expected |= {
            step for n, ((_, due), step) in enumerate(zip(looks, steps, strict=True), 1) if due and n % every == 0
        }
    assert [int(folder.name[5:]) for folder in checkpoints.folders(directory)] == sorted(expected)
    shutil.rmtree(directory)


def test_latest_and_best_are_whole_ones(tmp_path, capsys):
    run = tmp_path / "run"
    made_of(run / "checkpoints", [10, 20, 30, 40], [0.5, 0.9, 0.9, 0.1], [True] * 4)
    assert engine.files.checkpoints.resolve(run / "latest").name == "step-00000040"
    assert checkpoints.resolve(run).name == "step-00000040"
    assert checkpoints.resolve(run / "checkpoints" / "best").name == "step-00000020"
    (run / "checkpoints" / "step-00000020" / "variables.index").write_bytes(b"")
    (run / "checkpoints" / "step-00000040" / "manifest.json").write_text("{}")
    assert checkpoints.resolve(run / "best").name == "step-00000030"
    assert checkpoints.resolve(run / "latest").name == "step-00000030"
    told = capsys.readouterr().err
    assert "step-00000020 is damaged: variables.index" in told
    assert "step-00000040 has no readable manifest.json" in told
    # Reading changes nothing.
    assert len(checkpoints.folders(run / "checkpoints")) == 4


@pytest.mark.parametrize("name", ["latest", "best"])
def test_what_is_not_there_is_said(tmp_path, name):
    with pytest.raises(engine.CheckpointError, match=re.escape(str(tmp_path))):
        checkpoints.resolve(tmp_path / name)


def test_best_by_a_monitor_stays_while_newer_ones_come_and_go(tmp_path):
    made = trainer(optimizer=optim.Adam(0.03))
    hook = engine.hooks.Checkpoint(tmp_path, keep=1, keep_best=2, monitor="validation.loss")
    held_out = data.Pipeline(classified(30, seed=1), 10, shuffle=False)
    history = made.fit(data.Pipeline(classified(), 10), epochs=12, validation=held_out, evaluate_every=2, hooks=[hook])
    looks = [(r["loss"], r["step"]) for r in history.records if r["split"] == "validation"]
    kept = {int(folder.name[5:]) for folder in checkpoints.folders(tmp_path)}
    assert kept == {made.state.step.numpy()} | {step for _, step in sorted(looks)[:2]}
    best = mlp(seed=3)
    engine.restore(best, tmp_path / "best")
    found = engine.Trainer(best, "sparse_categorical_crossentropy", optim.SGD(0.1)).evaluate(held_out)
    assert found["loss"] == pytest.approx(min(looks)[0], rel=1e-6)


def net(last=4, name="head"):
    model = tf.Module()
    model.backbone = layers.Sequential([layers.Dense(3, 5), layers.BatchNorm(5)])
    setattr(model, name, layers.Dense(5, last))
    return model


def test_a_part_is_restored_by_pattern_and_the_rest_stays(tmp_path):
    tf.random.set_seed(1)
    engine.save_weights(tmp_path / "w", net())
    other = net(last=7)
    before = engine.weights_sha256(other.head)
    report = engine.restore(other, tmp_path / "w", only="backbone/*")
    assert engine.weights_sha256(other.head) == before
    reference = restoring.Reader(tmp_path / "w")
    for path, variable in engine.variable_paths(other.backbone).items():
        np.testing.assert_array_equal(variable.numpy(), reference.get(f"model.backbone.{path}"))
    assert report.left == ("head.kernel", "head.bias") == report.unused
    assert set(report.restored) == {f"backbone.{path}" for path in engine.variable_paths(other.backbone)}
    assert str(report).startswith("6 variables restored from ")
    assert "2 left as they were" in str(report)


def test_a_pattern_that_fits_nothing_or_what_is_not_there_is_refused_and_nothing_is_set(tmp_path):
    engine.save_weights(tmp_path / "w", net())
    other = net(last=7, name="top")
    before = engine.weights_sha256(other)
    with pytest.raises(
        engine.CheckpointError, match=r"only='body.\*' fits no variable of the model; there are backbone"
    ):
        engine.restore(other, tmp_path / "w", only=["backbone.*", "body.*"])
    with pytest.raises(engine.CheckpointError, match=r"missing     model\.top\.kernel"):
        engine.restore(other, tmp_path / "w", only=["*"])
    with pytest.raises(
        engine.CheckpointError, match=r"renamed\?    model\.head\.kernel in the checkpoint, model\.top\.kernel"
    ):
        engine.restore(net(name="top"), tmp_path / "w")
    assert engine.weights_sha256(other) == before


def test_averages_are_restored_where_a_run_keeps_them(tmp_path):
    made = trainer(optimizer=optim.SGD(0.1), average=optim.EMA(0.9))
    made.fit(
        data.Pipeline(classified(), 10), epochs=2, hooks=[engine.hooks.Checkpoint(tmp_path / "run" / "checkpoints")]
    )
    raw, averaged = mlp(seed=5), mlp(seed=6)
    engine.restore(raw, tmp_path / "run")
    engine.restore(averaged, tmp_path / "run" / "latest", averaged=True)
    assert engine.weights_sha256(raw) == engine.weights_sha256(made.model)
    with made.averaged():
        assert engine.weights_sha256(averaged) == engine.weights_sha256(made.model)
    engine.save_weights(tmp_path / "w", made.model)
    with pytest.raises(engine.CheckpointError, match="holds no averages"):
        engine.restore(raw, tmp_path / "w", averaged=True)


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    """The first write ends only when a later step has been done; were it waited for, this would never end."""
    later, save = threading.Event(), checkpoints.save

    def slow(folder, values, **facts):
        assert later.wait(60)
        return save(folder, values, **facts)

    class Later(engine.hooks.Hook):
        def on_steps(self, run, first, steps):
            if first > 5:
                later.set()

    monkeypatch.setattr(checkpoints, "save", slow)
    made = trainer(optimizer=optim.SGD(0.1))
    hooks = [engine.hooks.Checkpoint(tmp_path, keep=9), Later("later")]
    made.fit(data.Pipeline(classified(), 10), epochs=3, hooks=hooks)
    assert [folder.name for folder in checkpoints.folders(tmp_path)] == [f"step-{n:08d}" for n in (5, 10, 15)]
    # What was written is what the state was, not what it had become.
    monkeypatch.undo()
    reference = trainer(optimizer=optim.SGD(0.1))
    reference.fit(data.Pipeline(classified(), 10), epochs=1)
    found = mlp(seed=4)
    engine.restore(found, tmp_path / "step-00000005")
    assert engine.weights_sha256(found) == engine.weights_sha256(reference.model)


@pytest.mark.parametrize("failing", [(5,), (15,), (5, 10)])
def test_a_write_that_fails_is_told_and_the_last_is_tried_again(tmp_path, monkeypatch, caplog, failing):
    left, save = [*failing], checkpoints.save

    def full(folder, values, **facts):
        if left and facts["step"] == left[0]:
            left.pop(0)
            raise OSError(f"checkpoint {folder} could not be written: No space left on device")
        return save(folder, values, **facts)

    monkeypatch.setattr(checkpoints, "save", full)
    made = trainer(optimizer=optim.SGD(0.1))
    made.fit(data.Pipeline(classified(), 10), epochs=3, hooks=[engine.hooks.Checkpoint(tmp_path, keep=9)])
    kept = [int(folder.name[5:]) for folder in checkpoints.folders(tmp_path)]
    assert kept == [step for step in (5, 10, 15) if step not in failing or step == 15]
    assert caplog.text.count("No space left on device; training goes on") == len(failing)


def test_where_the_last_write_fails_fit_fails_and_the_older_stands(tmp_path):
    """A real limit of the file size, in a process of its own: SaveV2 meets it."""
    script = f"""
import pathlib, resource, sys, time
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[2])!r}]
from parts import classified, trainer
import data, engine, optim

class Full(engine.hooks.Hook):
    def on_epoch_end(self, run, record):
        if run.epoch == 2:
            while not pathlib.Path({str(tmp_path)!r}, "step-00000005").exists():
                time.sleep(0.01)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))

trainer(optimizer=optim.SGD(0.1)).fit(
    data.Pipeline(classified(), 10), epochs=3, hooks=[Full("full"), engine.hooks.Checkpoint({str(tmp_path)!r})])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert done.returncode == 1
    assert re.search(r"OSError: checkpoint .*step-00000015 could not be written: .*File too large", done.stderr)
    assert "step-00000010 could not be written" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["step-00000005"]
    assert checkpoints.latest(tmp_path).name == "step-00000005"


def test_seconds_save_between_and_change_nothing(tmp_path):
    def fit(**options):
        made = trainer(optimizer=optim.SGD(0.1), steps_per_loop=2)
        made.fit(
            data.Pipeline(classified(), 10),
            epochs=2,
            hooks=[engine.hooks.Checkpoint(tmp_path / str(options), keep=99, **options)],
        )
        return engine.weights_sha256(made.model), [f.name for f in checkpoints.folders(tmp_path / str(options))]

    seldom, often = fit(every_s=1e6), fit(every_s=1e-9)
    assert seldom[0] == often[0]
    assert seldom[1] == [f"step-{n:08d}" for n in (5, 10)]
    assert often[1] == [f"step-{n:08d}" for n in (2, 4, 5, 7, 9, 10)]


@pytest.mark.parametrize(
    "options", [{"every": 0}, {"keep": 0}, {"keep_best": -1}, {"keep_every": 0}, {"every_s": 0.0}, {"every_s": np.nan}]
)
def test_amounts_that_mean_nothing_are_refused(tmp_path, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        engine.hooks.Checkpoint(tmp_path, **options)


def test_a_folder_in_use_is_refused_and_free_when_its_owner_dies(tmp_path):
    script = "import sys; from engine.files.lock import Lock; "
    script += "Lock(sys.argv[1]).acquire(); print('held', flush=True); input()"
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert owner.stdout.readline() == "held\n"
        made = trainer(optimizer=optim.SGD(0.1))
        hooks = [engine.hooks.Checkpoint(tmp_path)]
        with pytest.raises(OSError, match=rf"{tmp_path} is in use by process {owner.pid} on "):
            made.fit(data.Pipeline(classified(), 10), epochs=1, hooks=hooks)
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        made.fit(data.Pipeline(classified(), 10), epochs=1, hooks=hooks)
        # Given back at the end: the same process may go on.
        Lock(tmp_path).acquire()
    finally:
        owner.kill()
        owner.communicate()


def test_a_writer_does_one_thing_at_a_time_and_tells_what_failed_once():
    writer, order = Writer("test"), []
    writer.submit(lambda: order.append(1))
    writer.submit(lambda: order.append(2))
    writer.join()
    assert order == [1, 2]
    writer.submit(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        writer.join()
    writer.join()
    writer.submit(lambda: order.append(3))
    writer.close()
    assert order == [1, 2, 3]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OSError, match="file"):
        checkpoints.save(file / "checkpoint", {"a": np.float32(1)})
