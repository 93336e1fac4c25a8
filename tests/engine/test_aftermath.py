"""What stands after something went wrong at an inconvenient moment: rollbacks at boundaries, errors within a loop."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import data
import engine
import layers
import optim
from engine import hooks
from engine.files import checkpoints
from engine.files.restoring import Reader

NAN = float("nan")
# A gradient of this, times a rate of 1e20, overflows the weight; those of the others don't.
SMALL, POISON = 1e-21, 1e19


class Scaled(tf.Module):
    """x·w."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable([0.0])

    def __call__(self, x, training=False):
        return x * self.w


class Output:
    """The loss is the output: its gradient is the input."""

    def __call__(self, model, batch, training):
        losses = model(batch["inputs"], training=training)[:, 0]
        return engine.Terms(losses, tf.ones_like(losses), losses, losses)


class ToOne:
    """1 + (output − 1)²."""

    def __call__(self, model, batch, training):
        losses = 1 + tf.square(model(batch["inputs"], training=training)[:, 0] - 1)
        return engine.Terms(losses, tf.ones_like(losses), losses, losses)


class Seen(hooks.Hook):
    """Epochs as they end, and what was not finite."""

    def __init__(self):
        super().__init__("seen")
        self.epochs, self.blamed = [], []

    def on_epoch_end(self, run, record):
        self.epochs.append((record["step"], record["epoch"], record["loss"]))

    def on_non_finite(self, run, report, batch):
        self.blamed.append(float(batch["inputs"][0, 0]))


class Count(hooks.Hook):
    """Steps, as state."""

    def __init__(self):
        super().__init__("count")

    def bind(self, run):
        self.number = tf.Variable(0, dtype=tf.int64, trainable=False)

    def on_steps(self, run, first, steps):
        self.number.assign_add(len(steps))


def pipeline(values, batch=1, **options):
    inputs = np.array(values, np.float32)[:, None]
    return data.Pipeline(data.Arrays(inputs, np.zeros(len(values), np.float32)), batch, shuffle=False, **options)


def poisoned(*places):
    """Makes NaN of the batches at (epoch, position), from 0."""

    def augment(batch, draws):
        here = [(draws._epoch == epoch) & (draws._position == position) for epoch, position in places]
        return {**batch, "inputs": tf.where(tf.reduce_any(here), NAN, batch["inputs"])}

    return augment


def trainer(objective=None, rule=None, model=None, **options):
    options = {"on_non_finite": "rollback", "steps_per_loop": 2, "jit_compile": False, **options}
    return engine.Trainer(model or Scaled(), objective or ToOne(), rule or optim.SGD(0.05), **options)


def overflowing(poison, count=8, sign=1):
    """A pipeline whose batch number `poison` makes the weight overflow under `optim.SGD(1e20)`."""
    return pipeline([sign * POISON if place == poison else SMALL for place in range(count)])


def test_what_was_to_end_the_fit_where_it_rolls_back_does_not(tmp_path):
    made = trainer(Output(), optim.SGD(1e20))
    history = made.fit(overflowing(3), max_steps=4, hooks=[hooks.Checkpoint(tmp_path, every=2)])
    assert (history.stopped_by, int(made.state.step)) == ("max_steps", 4)


def test_a_stop_that_rolls_back_is_forgotten_with_what_it_was_for(tmp_path):
    made, stopping = trainer(Output(), optim.SGD(1e20)), hooks.EarlyStopping(patience=1)
    watched, saving = pipeline([1.0]), hooks.Checkpoint(tmp_path, every=2)
    # Each step makes the loss less, but for the one that makes it infinite.
    batches = overflowing(3, count=30, sign=-1)
    history = made.fit(batches, max_steps=12, validation=watched, evaluate_every=2, hooks=[stopping, saving])
    assert (history.stopped_by, int(made.state.step)) == ("max_steps", 12)


def test_the_last_batch_of_the_last_epoch_may_roll_back(tmp_path):
    made = trainer(Output(), optim.SGD(1e20))
    history = made.fit(
        overflowing(7), epochs=1, validation=pipeline([1.0]), hooks=[hooks.Checkpoint(tmp_path, every=2)]
    )
    assert (history.stopped_by, int(made.state.epoch), int(made.state.reported)) == ("epochs", 1, 6)
    assert [(record["split"], record["step"]) for record in history.records][-1] == ("validation", 6)


def test_an_epoch_of_nothing_has_no_loss_and_nobody_looks_at_it(tmp_path):
    made, seen, stopping = trainer(), Seen(), hooks.EarlyStopping("train.loss", patience=2)
    saving = hooks.Checkpoint(tmp_path / "checkpoints", keep=9, keep_best=1, monitor="train.loss")
    journal = hooks.HistoryFile(tmp_path / "history.jsonl")
    batches = pipeline([1.0] * 4, augment=poisoned((1, 3)))
    history = made.fit(
        batches, epochs=6, validation=pipeline([1.0]), hooks=[stopping, seen, journal, saving, hooks.Progress()]
    )
    assert history.stopped_by == "epochs"
    assert [(step, epoch) for step, epoch, _ in seen.epochs] == [(4, 1), (4, 2), (8, 3), (12, 4), (16, 5), (20, 6)]
    assert [math.isnan(loss) for *_, loss in seen.epochs] == [False, True, False, False, False, False]
    monitored = [Reader(folder).facts.get("monitored") for folder in checkpoints.folders(tmp_path / "checkpoints")]
    assert all(value is None or value["value"] >= 1 for value in monitored)
    told = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [(one["split"], one["step"], one["epoch"]) for one in told] == [
        (one["split"], one["step"], one["epoch"]) for one in history.records
    ]


def test_an_epoch_of_skipped_steps_is_no_look():
    made, stopping = trainer(on_non_finite="skip"), hooks.EarlyStopping("train.loss", patience=2)
    history = made.fit(pipeline([1.0] * 2, augment=poisoned((0, 0), (0, 1))), epochs=6, hooks=[stopping])
    assert history.stopped_by == "epochs"
    assert -float(stopping.best) >= 1


def test_sums_of_an_epoch_do_not_go_into_another(tmp_path, monkeypatch):
    def save(folder, values, **facts):
        if checkpoints.step_of(folder) in (2, 4):
            raise OSError("no space")
        return real(folder, values, **facts)

    real = checkpoints.save
    monkeypatch.setattr(checkpoints, "save", save)
    made, seen = trainer(), Seen()
    batches = pipeline([1.0] * 4, augment=poisoned((1, 0)))
    made.fit(batches, epochs=2, hooks=[seen, hooks.Checkpoint(tmp_path, every=1, keep=9)])
    # Back to step 3, one before the first epoch's end, and on past the second epoch's first batch.
    assert int(made.state.step) == 6
    step, epoch, loss = seen.epochs[-1]
    weights = [0.0]
    for _ in range(6):
        weights.append(weights[-1] - 0.05 * 2 * (weights[-1] - 1))
    assert (step, epoch) == (6, 2)
    np.testing.assert_allclose(loss, np.mean([1 + (w - 1) ** 2 for w in weights[3:6]]), rtol=1e-5)


class Rows:
    """A source that fails once, at a row."""

    arrays, cacheable, info = None, False, data.Info("rows", input_shape=(1,))

    def __init__(self, bad):
        self.bad = bad

    def __len__(self):
        return 10

    def __getitem__(self, rows):
        if self.bad in rows:
            raise ValueError("the disk is gone")
        return {"inputs": np.ones([len(rows), 1], np.float32), "labels": np.zeros(len(rows), np.float32)}


@pytest.mark.parametrize("jit_compile", [False, "loop"])
def test_after_an_error_of_the_source_a_fit_goes_on_at_the_batch_that_it_came_for(jit_compile):
    source = Rows(bad=6)
    made = trainer(steps_per_loop=20, jit_compile=jit_compile, on_non_finite="raise")
    batches = data.Pipeline(source, 1, shuffle=False, workers=1)
    with pytest.raises((tf.errors.OpError, ValueError), match="the disk is gone"):
        made.fit(batches, epochs=1)
    done = int(made.state.step)
    assert int(made.state.index) == done <= 6
    source.bad = None
    history = made.fit(batches, epochs=1)
    assert (int(made.state.step), int(made.state.epoch), int(made.state.index)) == (10, 1, 0)
    np.testing.assert_array_equal(history.steps["step"], np.arange(done + 1, 11))
    np.testing.assert_allclose(made.model.w, 1 - 0.9**10, rtol=1e-5)


def test_a_last_checkpoint_that_is_written_again_holds_the_last_weights_not_the_best(tmp_path, monkeypatch):
    def save(folder, values, **facts):
        failed.append(facts["step"])
        if facts["step"] == 4 and failed.count(4) == 1:
            raise OSError("no space")
        return real(folder, values, **facts)

    failed, real = [], checkpoints.save
    monkeypatch.setattr(checkpoints, "save", save)
    # Steps of more than 1 over the minimum lead ever farther away: the first look is the best.
    made = trainer(rule=optim.SGD(1.9), on_non_finite="raise")
    stopping = hooks.EarlyStopping(patience=9, restore_best=True)
    made.fit(pipeline([1.0] * 2), epochs=2, validation=pipeline([1.0]), hooks=[stopping, hooks.Checkpoint(tmp_path)])
    assert (failed.count(4), int(stopping.best_step)) == (2, 2)
    last, best = 1 - (1 - 3.8) ** 4, 1 - (1 - 3.8) ** 2
    np.testing.assert_allclose(made.model.w, best, rtol=1e-5)
    np.testing.assert_allclose(Reader(tmp_path / "step-00000004").get("model.w"), last, rtol=1e-5)


def test_a_rollback_takes_the_state_that_the_fit_itself_saved_of_what_may_be_dropped(tmp_path):
    made, count = trainer(), Count()
    batches = pipeline([1.0] * 4, augment=poisoned((1, 2)))
    made.fit(batches, epochs=2, hooks=[count, hooks.Checkpoint(tmp_path, drop="count")])
    assert int(count.number) == int(made.state.step) == 4 + 1


@pytest.mark.parametrize("case", ["known", "new", "dropped"])
def test_a_rollback_sets_back_hooks_that_the_checkpoint_does_not_know(tmp_path, case):
    batches = pipeline([1.0] * 4, augment=poisoned((1, 2), (2, 1)))
    before = [] if case == "new" else [Count()]
    trainer().fit(batches, epochs=1, hooks=[*before, hooks.Checkpoint(tmp_path)])
    made, count = trainer(), Count()
    made.fit(batches, epochs=3, hooks=[count, hooks.Checkpoint(tmp_path, drop="count" if case == "dropped" else ())])
    # Of the second epoch one batch after the bad one is left, of the third two.
    assert int(made.state.step) == 4 + 1 + 2
    assert int(count.number) == (7 if case == "known" else 3)


def test_averages_of_a_schedule_free_rule_are_restored_from_a_checkpoint(tmp_path):
    model, rule = Scaled(), optim.ScheduleFreeSGD(0.4)
    rule.init({"w": model.w})
    made = trainer(rule=rule, model=model, average=optim.EvaluationWeights(rule), on_non_finite="raise")
    made.fit(pipeline([1.0] * 3), epochs=1, hooks=[hooks.Checkpoint(tmp_path)])
    other = Scaled()
    engine.restore(other, tmp_path / "step-00000003", averaged=True)
    with made.averaged():
        assert other.w.numpy() == model.w.numpy() != 0
    assert model.w.numpy() != other.w.numpy()


def test_the_batch_that_is_blamed_is_of_the_pipeline_that_was_read(tmp_path):
    class Sum(tf.Module):
        def __init__(self):
            super().__init__()
            self.parts = [Scaled(), Scaled()]

        def __call__(self, x, training=False):
            return self.parts[0](x) + self.parts[1](x)

    model, seen = Sum(), Seen()
    made = trainer(Output(), optim.SGD(1e20), model=model, max_non_finite=1)
    thaw = hooks.Thaw([model.parts[1]], 1, train=pipeline([-5.0, -7.0]))
    made.fit(pipeline([-SMALL, POISON]), epochs=2, hooks=[thaw, seen, hooks.Checkpoint(tmp_path)])
    assert seen.blamed == [np.float32(POISON)]


def test_weights_that_are_not_finite_before_the_first_step_are_named(tmp_path):
    made = trainer()
    made.model.w.assign([NAN])
    with pytest.raises(engine.NonFinite, match="variable w: 1 NaN"):
        made.fit(pipeline([1.0] * 2), epochs=1, hooks=[hooks.Checkpoint(tmp_path)])


def test_the_rate_is_reduced_from_what_it_is_where_steps_were_skipped():
    def rising(step):
        return tf.cast(step, tf.float64) * 0.001 + 0.001

    scale = optim.schedules.Scale(rising)
    made = trainer(rule=optim.SGD(scale), on_non_finite="skip", max_non_finite=99)
    batches = pipeline([0.0] * 8, augment=poisoned(*((epoch, place) for epoch in (0, 1) for place in range(6))))
    plateau = hooks.ReduceOnPlateau(scale, patience=1, factor=0.1, min_lr=0.002)
    made.fit(batches, epochs=2, validation=pipeline([0.0]), hooks=[plateau])
    assert (int(made.state.step), int(made.optimizer.step)) == (16, 4)
    np.testing.assert_allclose(float(made.optimizer.value("learning_rate")), 0.002)


def test_each_data_set_is_checked_for_its_own_number_of_classes():
    def labelled(classes):
        info = data.Info("labelled", classes=classes)
        return data.Pipeline(data.Arrays(np.ones([4, 1], np.float32), np.arange(4) % classes, info=info), 2)

    def made():
        return trainer("sparse_categorical_crossentropy", model=layers.Dense(1, 2), on_non_finite="raise")

    refused = pytest.raises(ValueError, match="the model has 2 outputs, but the data has 4 classes")
    one = made()
    with refused:
        one.fit(labelled(4), epochs=1)
    assert one.fit(labelled(2), epochs=1).stopped_by == "epochs"
    other = made()
    other.fit(labelled(2), epochs=1)
    with refused:
        other.fit(labelled(4), epochs=2)


def test_how_a_loop_is_compiled_does_not_go_by_what_was_trained_on_before():
    def dense():
        return layers.Sequential([layers.Dense(200, 128), layers.Dense(128, 2)])

    arrays = np.ones([4, 200], np.float32), np.array([0, 1, 0, 1], np.int32)

    class Stream:
        """Its shapes are known, which those of most streams are."""

        arrays, length, info, examples = None, None, data.Info("stream", input_shape=(200,), classes=2), 4

        def dataset(self, shard=None):
            return tf.data.Dataset.from_tensor_slices(dict(zip(("inputs", "labels"), arrays, strict=True)))

    whole = data.Pipeline(data.Arrays(*arrays, info=Stream.info), 2)
    streamed = data.Pipeline(Stream(), 2, shuffle=2)
    made = trainer("sparse_categorical_crossentropy", model=dense(), jit_compile="auto", on_non_finite="raise")
    made.fit(whole, epochs=1)
    assert made.compiled == "loop"
    made.fit(streamed, epochs=2)
    assert made.compiled is False


def test_every_hook_is_closed_though_one_fails_to(tmp_path):
    class Failing(hooks.Hook):
        def close(self):
            raise RuntimeError("could not close")

    with pytest.raises(RuntimeError, match="could not close"):
        trainer().fit(pipeline([1.0]), epochs=1, hooks=[Failing("failing"), hooks.Checkpoint(tmp_path)])
    assert trainer().fit(pipeline([1.0]), epochs=2, hooks=[hooks.Checkpoint(tmp_path)]).resumed_from == 1


def test_a_trace_that_failed_does_not_count():
    class Slip(ToOne):
        slipped = False

        def __call__(self, *arguments):
            if not self.slipped:
                self.slipped = True
                raise ValueError("a slip")
            return super().__call__(*arguments)

    made = trainer(Slip(), max_traces=1, on_non_finite="raise")
    with pytest.raises(ValueError, match="a slip"):
        made.fit(pipeline([1.0]), epochs=1)
    made.fit(pipeline([1.0]), epochs=1)
    assert made.traces == 1


@pytest.fixture
def no_last_rename(monkeypatch):
    """The rename that would put a finished folder in its place fails."""
    real = Path.rename

    def rename(self, target):
        if self.name.startswith(".writing-"):
            raise OSError(28, "No space left on device")
        return real(self, target)

    return lambda: monkeypatch.setattr(Path, "rename", rename)


def test_a_checkpoint_that_can_not_be_replaced_stands(tmp_path, no_last_rename):
    folder = checkpoints.save(tmp_path / "step-00000001", {"a": np.float32(1)}, step=1)
    no_last_rename()
    with pytest.raises(OSError, match="could not be written: No space left"):
        checkpoints.save(folder, {"a": np.float32(2)}, step=1)
    assert Reader(folder).get("a") == 1
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_an_export_that_can_not_be_replaced_stands(tmp_path, no_last_rename):
    first = layers.Dense(3, 2)
    folder = engine.export(first, tmp_path / "served", tf.TensorSpec([None, 3]))
    no_last_rename()
    with pytest.raises(OSError, match="could not be written: No space left"):
        engine.export(layers.Dense(3, 2), folder, tf.TensorSpec([None, 3]))
    served = tf.saved_model.load(str(folder)).signatures["serving_default"](inputs=tf.ones([1, 3]))["outputs"]
    np.testing.assert_allclose(served, first(tf.ones([1, 3])), rtol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["served"]


def test_what_died_between_two_names_is_found_again(tmp_path):
    checkpoints.save(tmp_path / "step-00000001", {"a": np.float32(1)}, step=1).rename(
        tmp_path / ".replaced-step-00000001-77"
    )
    checkpoints.sweep(tmp_path)
    assert Reader(checkpoints.latest(tmp_path)).get("a") == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_checkpoints_are_ordered_by_number_however_many_digits(tmp_path):
    for step in (99_999_998, 99_999_999, 100_000_000):
        checkpoints.save(tmp_path / f"step-{step:08d}", {"a": np.float32(step)}, step=step)
        checkpoints.retain(tmp_path, 2)
    assert [checkpoints.step_of(folder) for folder in checkpoints.folders(tmp_path)] == [99_999_999, 100_000_000]
    assert checkpoints.step_of(checkpoints.latest(tmp_path)) == 100_000_000
    checkpoints.remove_after(tmp_path, tmp_path / "step-99999999")
    assert checkpoints.step_of(checkpoints.latest(tmp_path)) == 99_999_999


@pytest.mark.parametrize("jit_compile", [False, "loop"])
@pytest.mark.parametrize("value", [5.0, NAN])
def test_a_batch_of_weight_0_leaves_moving_statistics_as_they_are(jit_compile, value):
    inputs = np.array([[1.0], [2.0], [value], [6.0]], np.float32)
    weighed = [data.Arrays(inputs[:n], np.zeros(n, np.float32), weights=np.float32([1, 1, 0, 0][:n])) for n in (2, 4)]
    statistics = []
    for source in weighed:
        tf.random.set_seed(1)
        net = layers.Sequential([layers.BatchNorm(1), layers.Dense(1, 1)])
        made = trainer(
            lambda labels, outputs: tf.square(labels - outputs[:, 0]),
            model=net,
            jit_compile=jit_compile,
            on_non_finite="raise",
        )
        made.fit(data.Pipeline(source, 2, shuffle=False), epochs=1)
        statistics.append(engine.weights_sha256(net))
    assert statistics[0] == statistics[1]


def test_a_metric_may_give_a_number_of_numpy(tmp_path):
    class Total:
        shape, mode = (), "max"

        def sums(self, labels, outputs, weights):
            return tf.reduce_sum(tf.cast(weights, tf.float64))

        def result(self, sums):
            return np.float32(sums)

    made = engine.Trainer(Scaled(), ToOne(), optim.SGD(0.1), {"total": Total()}, jit_compile=False)
    made.fit(pipeline([1.0] * 3), epochs=1, hooks=[hooks.HistoryFile(tmp_path / "history.jsonl")])
    assert json.loads((tmp_path / "history.jsonl").read_text())["total"] == 3
