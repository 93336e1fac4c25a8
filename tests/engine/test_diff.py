"""Where two runs part: differences that were planted are named exactly, and equal runs are equal."""

import importlib
import json
import shutil

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import data
import engine
import layers
import optim
from engine.diff.ulps import differing, ulps
from engine.files import checkpoints
from engine.files.restoring import Reader

FLAGS = "--batch_size=8\n--seed=0\n--noearly_stopping\n"


def train(run_dir, *, seed=0, steps_per_loop=3, log_every_step=True):
    """12 steps of a network with every dtype that a state has: float32, float64, int64 and a string."""
    rng = np.random.default_rng(0)
    source = data.Arrays(rng.normal(size=(40, 6)).astype(np.float32), rng.integers(0, 3, 40))
    tf.random.set_seed(seed)
    model = layers.Sequential([layers.Dense(6, 4, activation="tanh"), layers.Dense(4, 3)])
    trainer = engine.Trainer(
        model, "sparse_categorical_crossentropy", optim.Adam(0.01), seed=seed, steps_per_loop=steps_per_loop
    )
    hooks = [
        engine.hooks.HistoryFile(run_dir / "history.jsonl", log_every_step=log_every_step),
        engine.hooks.EarlyStopping("validation.loss", patience=9),
        engine.hooks.Checkpoint(run_dir / "checkpoints", every=4, keep=9),
    ]
    pipeline = data.Pipeline(source, 8, shuffle=True)
    trainer.fit(pipeline, max_steps=12, validation=data.Pipeline(source, 20, shuffle=False), hooks=hooks)
    (run_dir / "flags.cfg").write_text(FLAGS)
    result = {"steps": 12, "weights_sha256": engine.weights_sha256(model)}
    (run_dir / "result.json").write_text(json.dumps(result))
    return run_dir


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("diff") / "run")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return train(tmp_path_factory.mktemp("diff") / "other", seed=1)


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "copy")


def plant(run_dir, step, path, change):
    """Writes a checkpoint anew with one value changed, as sound as it was."""
    folder = run_dir / "checkpoints" / f"step-{step:08d}"
    reader, facts = Reader(folder), checkpoints.manifest(folder)
    values = {name: reader.get(name) for name in reader.shapes}
    values = {k: tf.constant(v) if reader.dtypes[k] == tf.string else np.array(v) for k, v in values.items()}
    values[path] = change(values[path])
    checkpoints.save(folder, values, **{key: facts[key] for key in facts if key not in ("format", "files")})


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["engine.diff", *map(str, arguments)])
    code = importlib.import_module("engine.diff.__main__").main()
    return code, *capsys.readouterr()


def test_a_run_trained_twice_is_one_run(run, tmp_path, monkeypatch, capsys):
    again = train(tmp_path / "again")
    found = engine.diff(run, again)
    assert found.equal
    assert (found.equal_at, found.history.parting, found.history.ends) == (12, None, (12, 12))
    code, out, _ = command(monkeypatch, capsys, run, again)
    assert code == 0
    assert out.splitlines()[-1] == found.summary
    assert found.summary.startswith("equal: 12 steps")


PLACES = {
    "model.layers.0.kernel": (6, 4),
    "model.layers.1.bias": (3,),
    "epoch_sums": None,
    "hooks.early_stopping.best": (),
    "seed": (),
}


@settings(max_examples=15)
@given(st.data())
def test_a_flipped_bit_of_a_variable_is_named_with_its_place_its_values_and_its_distance(run, tmp_path_factory, drawn):
    path, step = drawn.draw(st.sampled_from(sorted(PLACES))), drawn.draw(st.sampled_from([4, 8, 12]))
    copy = shutil.copytree(run, tmp_path_factory.mktemp("planted") / "copy")
    before = np.array(Reader(run / "checkpoints" / f"step-{step:08d}").get(path))
    place = drawn.draw(st.integers(0, before.size - 1))
    bit = drawn.draw(st.integers(0, 8 * before.itemsize - 1))

    def flip(value):
        flipped = np.array(value, order="C")
        flipped.reshape(-1).view(f"u{value.itemsize}")[place] ^= np.array(1 << bit, f"u{value.itemsize}")
        return flipped

    plant(copy, step, path, flip)
    found = engine.diff(run, copy)
    assert not found.equal
    assert found.history.equal
    assert found.equal_at == {4: None, 8: 5, 12: 10}[step]
    first = found.checkpoints.first
    assert (found.checkpoints.step, found.checkpoints.differing) == (step, 1)
    assert (first.path, first.index) == (path, np.unravel_index(place, before.shape))
    assert (first.elements, first.size) == (1, before.size)
    assert np.array(first.a).tobytes() == before.reshape(-1)[place].tobytes()
    assert np.array(first.b).tobytes() == flip(before).reshape(-1)[place].tobytes()
    if bit < 8 and np.isfinite([first.a, first.b]).all():
        # The low bits of a significand count single steps.
        assert first.ulps == 2**bit
    assert f"{path}[" in found.summary or before.shape == ()
    assert path in found.summary


@settings(max_examples=15)
@given(st.data())
def test_a_changed_value_of_the_history_is_named(run, tmp_path_factory, drawn):
    copy = shutil.copytree(run, tmp_path_factory.mktemp("planted") / "copy")
    lines = (copy / "history.jsonl").read_text().splitlines()
    number = drawn.draw(st.integers(0, len(lines) - 1))
    record = json.loads(lines[number])
    name = drawn.draw(st.sampled_from([n for n in record if n not in ("split", "step", "epoch")]))
    value = drawn.draw(st.sampled_from([float(np.nextafter(record[name], 9)), None, -record[name]]))
    lines[number] = json.dumps({**record, name: value})
    (copy / "history.jsonl").write_text("\n".join(lines) + "\n")
    found = engine.diff(run, copy)
    parting = found.history.parting
    assert (parting.step, parting.split, parting.name) == (record["step"], record["split"], name)
    assert (parting.a, parting.b, found.history.values) == (record[name], value, 1)
    assert parting.ulps == (1 if value is not None and value > 0 else parting.ulps)
    assert (found.checkpoints.first, found.equal_at) == (None, 12)
    assert f"histories part at step {record['step']}: {record['split']} {name}" in found.summary


@pytest.mark.parametrize(
    ("line", "changed", "named"),
    [
        ("--seed=0", "--seed=1", ("seed", "--seed=0", "--seed=1")),
        ("--noearly_stopping", "--early_stopping", ("early_stopping", "--noearly_stopping", "--early_stopping")),
        ("--seed=0\n", "", ("seed", "--seed=0", None)),
    ],
)
def test_another_flag_is_named(run, copy, line, changed, named):
    (copy / "flags.cfg").write_text(FLAGS.replace(line, changed))
    found = engine.diff(run, copy)
    assert found.flags == [named]
    assert not found.equal
    assert named[1] in found.summary


def test_runs_part_at_the_first_step_and_the_first_variable_of_the_model_is_named(run, other):
    found = engine.diff(run, other)
    assert (found.history.parting.step, found.history.parting.name) == (1, "loss")
    assert found.checkpoints.step == 4
    assert found.equal_at is None
    # The seed is part of the position, which comes first.
    assert (found.checkpoints.first.path, found.checkpoints.first.a, found.checkpoints.first.b) == ("seed", 0, 1)
    assert [name for name, *_ in found.results] == ["weights_sha256"]


def test_the_difference_is_symmetric(run, other):
    there, back = engine.diff(run, other), engine.diff(other, run)
    swapped = [(name, b, a) for name, a, b in back.results]
    assert there.results == swapped
    one, two = there.history.parting, back.history.parting
    assert (one.step, one.split, one.name, one.a, one.b) == (two.step, two.split, two.name, two.b, two.a)
    one, two = there.checkpoints, back.checkpoints
    assert (one.step, one.differing, one.first.path) == (two.step, two.differing, two.first.path)
    assert (one.first.a, one.first.ulps) == (two.first.b, two.first.ulps)


def test_a_damaged_checkpoint_is_told_and_the_others_are_compared(run, copy, monkeypatch, capsys):
    file = copy / "checkpoints" / "step-00000008" / "variables.data-00000-of-00001"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    code, out, _ = command(monkeypatch, capsys, run, copy)
    assert code == 1
    assert f"{file.parent} is damaged: {file.name}" in out
    assert "all variables equal at step 12; 1 checkpoints damaged" in out.splitlines()[-1]


def test_without_common_checkpoints_the_histories_are_compared(run, copy):
    shutil.rmtree(copy / "checkpoints")
    found = engine.diff(run, copy)
    assert (found.equal, found.checkpoints) == (True, None)
    assert found.summary.endswith("no common checkpoint")


def test_a_run_that_ended_earlier_differs_by_where_it_ends(run, copy):
    lines = (copy / "history.jsonl").read_text().splitlines(keepends=True)
    (copy / "history.jsonl").write_text("".join(line for line in lines if json.loads(line)["step"] <= 7) + '{"spl')
    found = engine.diff(run, copy)
    assert (found.equal, found.history.parting, found.history.ends) == (False, None, (12, 7))
    assert "histories equal up to step 7, where b ends" in found.summary
    assert "where a ends" in engine.diff(copy, run).summary


@pytest.mark.parametrize("steps_per_loop", [1, 5])
def test_lines_that_are_means_over_different_steps_are_not_held_against_each_other(run, tmp_path, steps_per_loop):
    loops = train(tmp_path / "loops", steps_per_loop=steps_per_loop, log_every_step=False)
    found = engine.diff(run, loops)
    assert found.equal
    # Of learning rate, loss and data loss; a loop of one step holds what a line a step holds.
    assert (found.history.compared >= 12 * 3) == (steps_per_loop == 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "is no run directory: it is not there"),
        (lambda path: path.write_text(""), "is no run directory: it is not a folder"),
        (lambda path: path.mkdir(), "is no run directory: it has no history.jsonl"),
    ],
)
def test_what_is_no_run_is_named_in_one_line(run, tmp_path, monkeypatch, capsys, make, message):
    make(tmp_path / "none")
    code, out, err = command(monkeypatch, capsys, run, tmp_path / "none")
    assert (code, out) == (2, "")
    assert err == f"engine.diff: error: {tmp_path / 'none'} {message}\n"


def test_a_line_that_is_no_record_is_named(run, copy, monkeypatch, capsys):
    lines = (copy / "history.jsonl").read_text().splitlines(keepends=True)
    (copy / "history.jsonl").write_text("".join([*lines[:3], '{"step": }\n', *lines[3:]]))
    code, _, err = command(monkeypatch, capsys, run, copy)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "history.jsonl line 4 is no record" in err


DTYPES = {"float16": np.float16, "float32": np.float32, "float64": np.float64, "bfloat16": ml_dtypes.bfloat16}


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@given(number=st.floats(allow_nan=False, width=16), steps=st.integers(0, 300))
def test_ulps_count_the_steps_of_nextafter(dtype, number, steps):
    """Through zero, subnormal numbers and infinity as well."""
    begin = end = np.array(number, dtype)
    for _ in range(steps):
        following = np.nextafter(end, np.array(np.inf, dtype))
        if np.isposinf(end.astype(np.float64)):
            break
        end = following
    taken = steps if not np.isposinf(end.astype(np.float64)) else None
    if taken is not None:
        assert ulps(begin, end) == ulps(end, begin) == taken
    assert len(differing(begin, end)) == (begin.tobytes() != end.tobytes())


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64])
def test_integers_are_as_far_apart_as_they_are(dtype):
    limits = np.iinfo(dtype)
    assert ulps(np.array(limits.min, dtype), np.array(limits.max, dtype)) == float(limits.max - limits.min)


def test_the_farthest_numbers_are_not_wrapped_round_and_none_are_no_distance():
    assert ulps(np.float64(-np.inf), np.float64(np.inf)) == 2 * 0x7FF0000000000000
    assert ulps(np.float32(-0.0), np.float32(0.0)) == 0
    assert np.isnan(ulps(np.float64(np.nan), np.float64(1)))
    assert ulps(np.array(True), np.array(False)) is None
