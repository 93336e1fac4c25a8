"""The profile of a window: its steps are marked, its table says what the trace holds, and training does not notice."""

import contextlib

import pytest
import tensorflow as tf
from parts import classified, trainer
from tensorflow.tsl.profiler.protobuf import xplane_pb2

import data
import engine
from engine.op_times import op_times


def pipeline():
    return data.Pipeline(classified(), 10)


def spaces(folder):
    for path in folder.glob("plugins/profile/*/*.xplane.pb"):
        space = xplane_pb2.XSpace()
        space.ParseFromString(path.read_bytes())
        yield space


def marked(folder):
    """The numbers of the steps that are marked."""
    return sorted(
        stat.int64_value
        for space in spaces(folder)
        for plane in space.planes
        for line in plane.lines
        for event in line.events
        for stat in event.stats
        if plane.event_metadata[event.metadata_id].name == "train"
        and plane.stat_metadata[stat.metadata_id].name == "step_num"
    )


@pytest.fixture(scope="module")
def profiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profile")
    hook, made = engine.hooks.Profile(folder, first=7, steps=3), trainer(steps_per_loop=4)
    history = made.fit(pipeline(), max_steps=20, hooks=[hook])
    return folder, hook, made, history


def test_each_step_of_the_window_has_its_marker(profiled):
    folder, hook, _, _ = profiled
    assert marked(folder) == [7, 8, 9]
    assert hook.table.steps == 3


def test_loops_are_one_step_only_within_the_window_and_the_run_is_the_same(profiled):
    _, _, made, history = profiled
    ends = [record["step"] for record in history.records]
    # Of 5 steps an epoch, in loops of at most 4.
    assert ends == [4, 5, 6, 7, 8, 9, 10, 14, 15, 19, 20]
    other = trainer(steps_per_loop=4)
    other.fit(pipeline(), max_steps=20)
    assert engine.weights_sha256(made.model) == engine.weights_sha256(other.model)


def test_the_table_names_the_dearest_operations(profiled):
    folder, hook, _, _ = profiled
    kinds = {op.kind for op in hook.table.ops}
    assert {"MatMul", "IteratorGetNext"} & kinds
    assert all(a.self_s >= b.self_s for a, b in zip(hook.table.ops, hook.table.ops[1:], strict=False))
    assert not any("while/body" in op.name for op in hook.table.ops)
    lines = (folder / "ops.txt").read_text().splitlines()
    assert lines[0].split() == ["self", "ms/step", "share", "count/step", "kind", "name"]
    assert len(lines) == 12
    assert lines[1].split()[-2:] == [hook.table.ops[0].kind, hook.table.ops[0].name]


def event(plane, line, name, offset, duration, **stats):
    """Adds an event to a line of a plane made by hand."""
    number = len(plane.event_metadata) + 1
    plane.event_metadata[number].name = name
    made = line.events.add(metadata_id=number, offset_ps=offset, duration_ps=duration)
    for key, value in stats.items():
        number = len(plane.stat_metadata) + 1
        plane.stat_metadata[number].name = key
        stat = made.stats.add(metadata_id=number)
        setattr(stat, "str_value" if isinstance(value, str) else "int64_value", value)


def write(space, folder):
    path = folder / "plugins" / "profile" / "now"
    path.mkdir(parents=True)
    (path / "host.xplane.pb").write_bytes(space.SerializeToString())


def by_hand():
    """Two steps, [1000, 1100) and [1200, 1300) ns, and a thread whose clock begins 1000 ns later."""
    space = xplane_pb2.XSpace()
    plane = space.planes.add(name="/host:CPU")
    python = plane.lines.add(timestamp_ns=0)
    for number, start in ((5, 1_000_000), (6, 1_200_000)):
        event(plane, python, "train", start, 100_000, step_num=number, _r=1)
    # Without a number it is something else.
    event(plane, python, "train", 0, 10_000_000)
    worker = plane.lines.add(timestamp_ns=1000)
    event(plane, worker, "while/body/_1/while/dense/MatMul:MatMul", 10_000, 50_000)
    event(plane, worker, "MatMul/inner:Mul", 20_000, 30_000)
    event(plane, worker, "Shape::Other", 25_000, 5_000)
    event(plane, worker, "while/body/_1/while/dense/MatMul:MatMul", 210_000, 40_000)
    event(plane, worker, "between:Add", 150_000, 20_000)
    return space


def test_self_time_is_without_what_is_within_and_only_marked_steps_count(tmp_path):
    write(by_hand(), tmp_path)
    table = op_times(tmp_path)
    assert [(op.kind, op.name, round(op.self_s * 1e9), op.count) for op in table.ops] == [
        ("MatMul", "dense/MatMul", 60, 2),
        ("Mul", "MatMul/inner", 30, 1),
    ]
    assert (table.steps, round(table.step_s * 1e9), round(table.total_s * 1e9)) == (2, 200, 90)
    assert "66.7%" in str(table)


def test_where_there_are_kernels_of_a_gpu_they_count(tmp_path):
    space = by_hand()
    plane = space.planes.add(name="/device:GPU:0")
    stream = plane.lines.add(timestamp_ns=1000)
    event(plane, stream, "sgemm_128x64", 20_000, 8_000, tf_op="while/body/_1/dense/MatMul:MatMul")
    event(plane, stream, "MemcpyD2H", 30_000, 9_000)
    write(space, tmp_path)
    assert [(op.kind, op.name, round(op.self_s * 1e9)) for op in op_times(tmp_path).ops] == [
        ("MatMul", "dense/MatMul", 8)
    ]


def test_a_window_that_the_fit_does_not_fill_is_told(tmp_path, caplog):
    hook = engine.hooks.Profile(tmp_path / "part", first=2, steps=9)
    trainer().fit(pipeline(), max_steps=4, hooks=[hook])
    assert marked(tmp_path / "part") == [2, 3, 4]
    assert hook.table.steps == 3
    made, late = trainer(), engine.hooks.Profile(tmp_path / "late", first=9)
    made.fit(pipeline(), max_steps=2, hooks=[late])
    assert "the fit ends at step 2, before 9" in caplog.text
    past = engine.hooks.Profile(tmp_path / "past", first=1, steps=2)
    made.fit(pipeline(), max_steps=3, hooks=[past])
    assert "the fit begins after step 2" in caplog.text
    assert late.table is past.table is None
    assert not list(tmp_path.glob("[lp]a[ts]*/plugins"))


def test_an_error_leaves_no_profiler_running(tmp_path):
    class Failing(engine.hooks.Hook):
        def on_steps(self, run, first, steps):
            if first == 2:
                raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        trainer().fit(pipeline(), max_steps=4, hooks=[Failing("failing"), engine.hooks.Profile(tmp_path, 1, 3)])
    tf.profiler.experimental.start(str(tmp_path / "after"))
    try:
        with pytest.raises(
            RuntimeError, match=r"^hook profile: a profiler runs already; stop it, or leave this hook out$"
        ):
            trainer().fit(pipeline(), max_steps=4, hooks=[engine.hooks.Profile(tmp_path, 1, 3)])
    finally:
        with contextlib.suppress(tf.errors.UnavailableError):
            tf.profiler.experimental.stop()


@pytest.mark.parametrize("options", [{"first": 0}, {"steps": 0}, {"steps": 1.5}])
def test_a_window_that_makes_no_sense_is_refused(options, tmp_path):
    with pytest.raises(ValueError, match="must be a whole number of at least 1, got"):
        engine.hooks.Profile(tmp_path, **options)


def test_a_folder_without_a_profile_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no profile"):
        op_times(tmp_path)
    space = xplane_pb2.XSpace()
    space.planes.add(name="/host:CPU")
    write(space, tmp_path)
    with pytest.raises(ValueError, match="marks no step"):
        op_times(tmp_path)
