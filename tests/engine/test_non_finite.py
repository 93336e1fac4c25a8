"""A step that is not finite moves nothing, is named, and becomes what the policy says."""

import logging

import numpy as np
import pytest
import tensorflow as tf
from parts import classified, mlp, trainer

import data
import engine
import layers
import optim
from engine.files import checkpoints

BATCH, BAD = 5, 7


class Log(layers.Layer):
    """log x: of 0 it is -∞ forward."""

    def __call__(self, x):
        return tf.math.log(x)


class Root(layers.Layer):
    """√x: at 0 it is finite forward, and its gradient is not."""

    def __call__(self, x):
        return tf.sqrt(x)


def source(zero=True, weights=None):
    """50 examples above 0; in the bad batch, without shuffling number 7, one feature of one example is 0."""
    inputs = np.abs(classified().arrays["inputs"]) + 0.1
    if zero:
        inputs[BAD * BATCH + 2, 1] = 0
    return data.Arrays(inputs, classified().arrays["labels"], weights=weights)


def pipeline(examples=None, shuffle=False):
    return data.Pipeline(examples or source(), BATCH, shuffle=shuffle)


def net(middle, seed=0):
    tf.random.set_seed(seed)
    return layers.Sequential([middle(), layers.Dense(6, 8, activation="relu"), layers.BatchNorm(8), layers.Dense(8, 3)])


class Shifted(layers.Layer):
    """A trained shift before the root, so that something below it has a gradient."""

    def __init__(self):
        super().__init__()
        self.shift = self.variable("shift", [6], "zeros")

    def __call__(self, x):
        return x + self.shift


def rooted():
    tf.random.set_seed(0)
    return layers.Sequential([Shifted(), Root(), layers.Dense(6, 3)])


def learned(made):
    return {
        path: v.numpy() for path, v in engine.variable_paths(made.state).items() if path.startswith(("model", "opt"))
    }


def replicas(count):
    return engine.make_strategy("mirrored", count) if count > 1 else None


@pytest.mark.parametrize(
    ("count", "parts", "jit"),
    [(1, 1, False), (1, 1, True), (1, 3, False), (2, 1, False), (2, 2, True)],
    ids=["one", "xla", "parts", "two", "all"],
)
def test_the_step_is_named_and_moves_nothing_however_it_is_computed(count, parts, jit):
    strategy = replicas(count)
    with engine.Replicas(strategy).scope():
        model, rule = net(Log), optim.Adam(0.01)
    made = trainer(model, optimizer=rule, strategy=strategy, accumulate_steps=parts, jit_compile=jit)
    made.fit(pipeline(), max_steps=BAD)
    before = learned(made)
    with pytest.raises(engine.NonFinite) as error:
        made.fit(pipeline(), epochs=1)
    report = error.value.report
    assert (report.step, report.epoch, report.index) == (BAD + 1, 0, BAD)
    assert report.where == "forward, in layers.0 Log()"
    bad = source().arrays["inputs"][BAD * BATCH : (BAD + 1) * BATCH]
    low, high = np.log(np.sort(bad.ravel())[[1, -1]])
    assert report.values == (f"output of layers.0 Log(): 0 NaN, 1 Inf of 30, the rest from {low:.4g} to {high:.4g}",)
    assert not np.isfinite(report.loss)
    assert (int(made.state.step), int(made.state.index)) == (BAD, BAD)
    for path, value in learned(made).items():
        np.testing.assert_array_equal(value, before[path], err_msg=path)


def test_a_gradient_alone_names_the_layer_whose_backward_pass_made_it():
    made = trainer(rooted(), optimizer=optim.SGD(lambda step: tf.zeros([], tf.float64)))
    with pytest.raises(engine.NonFinite) as error:
        made.fit(pipeline(), epochs=1)
    assert np.isfinite(error.value.report.loss)
    assert error.value.report.where == "backward, in layers.1 Root()"
    assert error.value.report.values[0].startswith("gradient of layers.0.shift: 0 NaN, 1 Inf of 6, the rest from ")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["weights", "inputs"])
def test_a_batch_that_is_not_finite_is_named_and_never_passes_as_one_that_weighs_nothing(name, bad):
    def spoilt(batch):
        # After the source, which would refuse it: as a transform may do.
        batch = {**batch, "weights": tf.ones(tf.shape(batch["labels"]))}
        first = tf.equal(batch["inputs"][:, 1:2], 0)
        other = tf.where(first if name == "inputs" else first[:, 0], np.float32(bad), batch[name])
        return {**batch, name: other}

    spoiling = data.Pipeline(source(), BATCH, shuffle=False, transform=spoilt)
    with pytest.raises(engine.NonFinite, match=rf"^step 8 .*the batch is not finite\n  batch\['{name}'\]: "):
        trainer(optimizer=optim.SGD(0.01)).fit(spoiling, epochs=1)


def test_a_sum_that_overflows_is_the_sums():
    weights = np.ones(50, np.float32)
    weights[BAD * BATCH : (BAD + 1) * BATCH] = 3e38
    with pytest.raises(engine.NonFinite, match=r"step 8 is not finite: loss \S+; forward, in the sum Σwℓ"):
        trainer(optimizer=optim.SGD(0.01)).fit(pipeline(source(False, weights)), epochs=1)


@pytest.mark.parametrize(
    ("steps", "said", "step"),
    [(3, "a variable was not finite before it: an update", 2), (1, "its update made weights that are not finite", 1)],
)
def test_an_update_that_overflows_is_named_whether_another_step_follows_or_not(steps, said, step):
    loud = data.Arrays(source(False).arrays["inputs"] * 1000, source(False).arrays["labels"])
    with pytest.raises(engine.NonFinite, match=r"variable layers\.\d\.(kernel|bias): \d+ NaN, \d+ Inf") as error:
        trainer(optimizer=optim.SGD(3e38)).fit(pipeline(loud), max_steps=steps)
    assert said in str(error.value)
    assert error.value.report.step == step


@pytest.mark.parametrize("jit", [False, True])
def test_a_skipped_batch_is_one_that_weighs_nothing(jit):
    made = trainer(net(Log), optimizer=optim.SGD(0.05), on_non_finite="skip", jit_compile=jit)
    history = made.fit(pipeline(), epochs=2)
    weights = np.ones(50, np.float32)
    weights[BAD * BATCH : (BAD + 1) * BATCH] = 0
    inputs = source().arrays["inputs"].copy()
    inputs[BAD * BATCH : (BAD + 1) * BATCH] = 1
    other = trainer(net(Log), optimizer=optim.SGD(0.05), jit_compile=jit)
    other.fit(pipeline(data.Arrays(inputs, source().arrays["labels"], weights)), epochs=2)
    for layer in (1, 3):
        np.testing.assert_array_equal(made.model.layers[layer].kernel, other.model.layers[layer].kernel)
    assert history.values("skipped_steps") == [1, 1]
    assert (int(made.state.step), int(made.state.non_finite)) == (20, 2)
    assert len(history.steps["loss"]) == 20


def rolled(folder, **options):
    made = trainer(net(Log), optimizer=optim.Adam(0.05), on_non_finite="rollback", steps_per_loop=3)
    saving = engine.hooks.Checkpoint(folder / "checkpoints", every=5)
    hooks = [saving, engine.hooks.HistoryFile(folder / "history.jsonl", log_every_step=True)]
    return made, made.fit(pipeline(), hooks=hooks, **options)


def test_a_rollback_trains_what_the_data_without_those_batches_trains(tmp_path):
    """From step 5 on past batch 7: batches 5, 6 and 7 are left out."""
    made, history = rolled(tmp_path, epochs=1)
    rows = np.r_[: 5 * BATCH, 8 * BATCH : 50]
    kept = data.Arrays(source().arrays["inputs"][rows], source().arrays["labels"][rows])
    other = trainer(net(Log), optimizer=optim.Adam(0.05))
    other.fit(pipeline(kept), epochs=1)
    assert engine.weights_sha256(made.model) == engine.weights_sha256(other.model)
    assert history.steps["step"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [line.split('"step": ')[1].split(",")[0] for line in lines] == [str(n) for n in range(1, 8)]
    assert history.stopped_by == "epochs"


@pytest.mark.parametrize("stop", [1, 6])
def test_a_run_with_a_rollback_that_is_stopped_and_resumed_is_the_undisturbed_run(tmp_path, stop):
    made, _ = rolled(tmp_path / "one", epochs=2)
    rolled(tmp_path / "two", max_steps=stop)
    again, _ = rolled(tmp_path / "two", epochs=2)
    # The checkpoint of the stop is not one to go back to: an undisturbed run has none there.
    assert engine.weights_sha256(again.model) == engine.weights_sha256(made.model)
    assert (tmp_path / "one/history.jsonl").read_text() == (tmp_path / "two/history.jsonl").read_text()
    assert int(again.state.non_finite) == int(made.state.non_finite) == 2


def test_before_the_first_checkpoint_a_rollback_goes_to_the_beginning(tmp_path):
    made = trainer(net(Log), optimizer=optim.Adam(0.05), on_non_finite="rollback")
    made.fit(pipeline(), epochs=1, hooks=[engine.hooks.Checkpoint(tmp_path)])
    assert int(made.state.step) == 2
    assert (int(made.state.epoch), int(made.state.index)) == (1, 0)


@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_the_limit_ends_what_would_go_on_for_ever(tmp_path, policy):
    made = trainer(net(Log), optimizer=optim.SGD(0.05), on_non_finite=policy, max_non_finite=2)
    with pytest.raises(engine.NonFinite) as error:
        made.fit(pipeline(), epochs=9, hooks=[engine.hooks.Checkpoint(tmp_path)])
    assert error.value.report.epoch == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on_non_finite": "ignore"}, "on_non_finite must be one of raise, skip, rollback"),
        ({"max_non_finite": 0}, "max_non_finite must be a whole number"),
        ({"check_numerics": True, "jit_compile": True}, "check_numerics sees ops of one device without XLA"),
    ],
)
def test_what_means_nothing_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        trainer(**options)


def test_a_rollback_to_nowhere_is_refused():
    with pytest.raises(ValueError, match="needs a Checkpoint among the hooks"):
        trainer(on_non_finite="rollback").fit(pipeline(), epochs=1)


@pytest.mark.parametrize(
    ("model", "where", "op"),
    [(lambda: net(Log), "Log()", '"Log"'), (rooted, "Root()", '"SqrtGrad"')],
)
def test_what_was_saved_replays_and_names_the_first_op(tmp_path, model, where, op):
    made = trainer(model(), optimizer=optim.SGD(lambda step: tf.zeros([], tf.float64)), seed=3)
    with pytest.raises(engine.NonFinite) as error:
        made.fit(pipeline(shuffle=True), epochs=1, hooks=[engine.hooks.Failures(tmp_path)])
    folder = error.value.report.folder
    assert folder == tmp_path / f"step-{error.value.report.step}"
    assert checkpoints.resolve(folder) == folder
    fresh = trainer(model(), optimizer=optim.SGD(0.01), seed=3)
    report, first = engine.replay(fresh, folder)
    assert where in report.where
    assert report.where == error.value.report.where
    assert report.values == error.value.report.values
    assert op in first


def test_checked_numerics_names_the_op_in_the_compiled_loop_and_the_step_is_saved(tmp_path):
    made = trainer(net(Log), optimizer=optim.Adam(0.01), check_numerics=True)
    made.fit(pipeline(), max_steps=BAD)
    before = learned(made)
    with pytest.raises(engine.NonFinite, match=r'^step 8 is not finite.*eagerly-executing op "Log"') as error:
        made.fit(pipeline(), epochs=1, hooks=[engine.hooks.Failures(tmp_path)])
    assert error.value.report.folder == tmp_path / "step-8"
    for path, value in learned(made).items():
        np.testing.assert_array_equal(value, before[path], err_msg=path)
    # What is traced later is not checked.
    assert not np.isfinite(tf.function(tf.math.log)(tf.zeros([])))


def test_a_loss_that_explodes_is_told_once_a_loop(caplog):
    hook = engine.hooks.ExplodingLoss(10.0, window=8)
    hook.bind(None)
    with caplog.at_level(logging.WARNING, "absl"):
        hook.on_steps(None, 1, [{"loss": 1.0 + n / 10} for n in range(6)])
        hook.on_steps(None, 7, [{"loss": 2.0}, {"loss": 50.0}, {"loss": 60.0}])
    assert caplog.text.count("the loss of step 8 is 50, ") == 1
    assert "step 9" not in caplog.text
    with pytest.raises(ValueError, match="factor must be above 1"):
        engine.hooks.ExplodingLoss(1.0)


def test_a_model_without_layers_of_ours_is_diagnosed_too():
    class Plain(tf.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp()

        def __call__(self, x):
            return self.inner(tf.math.log(x))

    with pytest.raises(engine.NonFinite, match=r"forward, in inner\.layers\.0 Dense\(6, 8, activation='relu'\)"):
        trainer(Plain(), optimizer=optim.SGD(0.01)).fit(pipeline(), epochs=1)
