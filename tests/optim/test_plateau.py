"""A plateau reduces the rate as Keras does, inside the compiled loop, and a resumed run remembers all of it."""

import json
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import data
import engine
import layers
import optim

ReduceOnPlateau, Scale = engine.hooks.ReduceOnPlateau, optim.schedules.Scale
# Exact in binary, and in the float32 of Keras' learning rate.
quarters = st.integers(-8, 8).map(lambda n: n / 4)


def rates_of_keras(values, mode, **options):
    model = SimpleNamespace(optimizer=keras.optimizers.SGD(1.0))
    callback = keras.callbacks.ReduceLROnPlateau("val_loss", mode=mode, **options)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"val_loss": value})
        yield float(model.optimizer.learning_rate)


def rates_of_ours(values, mode, **options):
    rule = optim.SGD(Scale(1.0))
    trainer = SimpleNamespace(metrics={}, optimizer=rule)
    run = SimpleNamespace(validation=True, trainer=trainer, state=SimpleNamespace(step=tf.Variable(0, dtype=tf.int64)))
    rule.init([tf.Variable(0.0)])
    hook = ReduceOnPlateau(rule.learning_rate, mode=mode, **options)
    hook.bind(run)
    hook.on_fit_begin(run)
    for value in values:
        hook.on_evaluate_end(run, {"split": "validation", "loss": value})
        yield float(rule.value("learning_rate"))


@given(
    values=st.lists(quarters, max_size=25),
    mode=st.sampled_from(["auto", "min", "max"]),
    patience=st.integers(0, 3),
    cooldown=st.integers(0, 3),
    min_delta=st.sampled_from([0.0, 0.25, 1.0]),
    min_lr=st.sampled_from([0.0, 0.125, 0.375]),
    factor=st.sampled_from([0.5, 0.25]),
)
def test_the_rate_is_that_of_keras_after_every_look(values, mode, **options):
    assert list(rates_of_ours(values, mode, **options)) == list(rates_of_keras(values, mode, **options))


def test_a_rate_that_is_not_exact_stops_at_min_lr_and_stays():
    rates = list(rates_of_ours([0.0] * 9, "min", patience=1, factor=0.3, min_lr=0.07))
    np.testing.assert_allclose(rates, [1.0, 0.3, 0.09, *[0.07] * 6], rtol=1e-12)
    assert len(set(rates[3:])) == 1


class Scripted(engine.hooks.Hook):
    """Replaces the monitored value by one of a script, before others look at it."""

    def __init__(self, values):
        super().__init__("script")
        self._values = values

    def on_evaluate_end(self, run, record):
        record["loss"] = self._values[record["epoch"] - 1]


def source(examples=24):
    inputs = np.random.default_rng(0).normal(size=[examples, 3]).astype(np.float32)
    return data.Arrays(inputs, inputs.argmax(axis=1).astype(np.int32))


VALUES = [3.0, 3.0, 3.0, 3.0, 1.0, 1.0, 1.0, 1.0]
# Of each epoch: patience 2 ends after epochs 3 and 7, the cooldown of 1 forgives epoch 4.
FACTORS = [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25]


def fit(epochs, directory=None, *, num_replicas=1, average=None, steps_per_loop=2):
    strategy = None
    if num_replicas > 1:
        strategy = engine.make_strategy("mirrored", num_replicas)
    tf.random.set_seed(1)
    with engine.Replicas(strategy).scope():
        model = layers.Dense(3, 3)
        rate = Scale(optim.schedules.exponential(0.5, 8, 0.5))
        rule = optim.chain(optim.clip_by_global_norm(1.0), optim.SGD(rate, momentum=0.5))
    options = {"strategy": strategy, "average": average, "steps_per_loop": steps_per_loop, "max_traces": 1}
    trainer = engine.Trainer(model, "sparse_categorical_crossentropy", rule, **options)
    hooks = [Scripted(VALUES), ReduceOnPlateau(rate, factor=0.5, patience=2, cooldown=1)]
    if directory:
        hooks.append(engine.hooks.Checkpoint(directory))
        hooks.append(engine.hooks.HistoryFile(directory / "history.jsonl"))
    pipeline = data.Pipeline(source(), 8)
    history = trainer.fit(pipeline, epochs=epochs, validation=pipeline, hooks=hooks)
    return trainer, history


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("plateau")
    return *fit(8, directory, average=optim.SWA(5, 3)), directory


def test_the_rate_falls_within_the_loop_without_a_trace(undisturbed):
    trainer, history, _ = undisturbed
    assert trainer.traces == 1
    found = {r["step"]: r["learning_rate"] for r in history.records if r["split"] == "train"}
    # A step's rate is that of the updates before it; the epoch has 3 steps, and a loop ends at its second.
    expected = {s: 0.5 * 0.5 ** ((s - 1) / 8) * FACTORS[(s - 1) // 3] for s in found}
    assert found == pytest.approx(expected, rel=1e-14)
    assert len(found) == 16


@pytest.mark.parametrize("stop", [3, 6])
def test_a_run_resumed_while_waiting_or_cooling_ends_with_the_same_bits(undisturbed, tmp_path, stop):
    trainer, _, directory = undisturbed
    fit(stop, tmp_path, average=optim.SWA(5, 3))
    resumed, history = fit(8, tmp_path, average=optim.SWA(5, 3))
    assert history.resumed_from == 3 * stop
    found, expected = (each.state.variables_by_path() for each in (resumed, trainer))
    assert {"optimizer.rule.learning_rate.factor", "hooks.reduce_on_plateau.cooling"} <= set(expected)
    assert "average.residuals.kernel" in expected
    assert list(found) == list(expected)
    for path, variable in found.items():
        np.testing.assert_array_equal(variable.numpy(), expected[path].numpy(), err_msg=path)
    lines = [(folder / "history.jsonl").read_text().splitlines() for folder in (tmp_path, directory)]
    assert [json.loads(line) for line in lines[0]] == [json.loads(line) for line in lines[1]]


def test_on_two_replicas_the_rate_falls_as_on_one(undisturbed):
    _, history = fit(8, num_replicas=2, average=optim.SWA(5, 3))
    pairs = [
        (a["learning_rate"], b["learning_rate"])
        for a, b in zip(history.records, undisturbed[1].records, strict=True)
        if a["split"] == "train"
    ]
    assert len(pairs) == 16
    assert all(a == b for a, b in pairs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 1.0}, r"factor must be above 0 and below 1, got 1\.0"),
        ({"factor": 0.0}, r"factor must be above 0 and below 1, got 0\.0"),
        ({"cooldown": -1}, r"cooldown and min_lr must be at least 0 and finite, got -1 and 0\.0"),
        ({"min_lr": -0.1}, r"cooldown and min_lr must be at least 0 and finite, got 0 and -0\.1"),
        ({"patience": -1}, r"patience and min_delta must be at least 0 and finite, got -1 and 0\.0001"),
        ({"factor": math.nan}, "factor must be above 0 and below 1, got nan"),
        ({"min_lr": math.nan}, "cooldown and min_lr must be at least 0 and finite, got 0 and nan"),
        ({"min_lr": math.inf}, "cooldown and min_lr must be at least 0 and finite, got 0 and inf"),
        ({"cooldown": math.nan}, r"cooldown and min_lr must be at least 0 and finite, got nan and 0\.0"),
        ({"min_delta": math.nan}, "patience and min_delta must be at least 0 and finite, got 10 and nan"),
        ({"mode": "least"}, "mode must be auto, min or max, got 'least'"),
        ({"monitor": "val_loss"}, r"monitor must be .*got 'val_loss'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ReduceOnPlateau(Scale(0.1), **options)


def test_a_schedule_without_a_factor_and_a_scale_that_reduces_nothing_are_refused():
    with pytest.raises(TypeError, match=r"^scale must be a schedule with a variable factor, .*got constant\("):
        ReduceOnPlateau(optim.schedules.constant(1))
    model, pipeline = layers.Dense(3, 3), data.Pipeline(source(), 8)
    # Within another schedule nobody sees it: it would not be in the checkpoint.
    scale = Scale(0.1)
    for rate in (0.1, Scale(0.1), optim.schedules.warmup(scale, 3)):
        trainer = engine.Trainer(model, "sparse_categorical_crossentropy", optim.SGD(rate))
        with pytest.raises(ValueError, match=r"^hook reduce_on_plateau: the optimizer does not hold its scale; make"):
            trainer.fit(pipeline, epochs=1, validation=pipeline, hooks=[ReduceOnPlateau(scale)])
