"""Tuning: every setting is timed, and the run that asked for it is where it was."""

import cuts
import numpy as np
import pytest
import tensorflow as tf
from parts import classified, mlp

import data
import engine
import layers
import optim


def trainer(model=None, **options):
    loss, metrics = "sparse_categorical_crossentropy", {"accuracy": engine.metrics.SparseCategoricalAccuracy()}
    return engine.Trainer(
        model or mlp(dropout=0.2), loss, optim.SGD(0.1, momentum=0.9), metrics, jit_compile=False, **options
    )


PIPELINE = data.Pipeline(classified(), 7)


def test_settings_are_ranked_and_the_run_goes_on_as_if_nobody_had_asked():
    made = trainer(average=optim.EMA(0.9), max_traces=1)
    made.fit(PIPELINE, max_steps=11)
    before = cuts.values(made.state)
    found = engine.tune(made, PIPELINE, jit_compile=[False, "loop"], steps_per_loop=[1, 4, 10_000], rounds=2)
    np.testing.assert_equal(cuts.values(made.state), before)
    made.fit(PIPELINE, max_steps=20)
    expected = trainer(average=optim.EMA(0.9))
    expected.fit(PIPELINE, max_steps=20)
    assert engine.weights_sha256(made.model) == engine.weights_sha256(expected.model)

    assert {timing.flags["jit_compile"] for timing in found.ranking} == {False, "loop"}
    # An epoch has eight batches.
    assert {timing.flags["steps_per_loop"] for timing in found.ranking} == {1, 4, 8}
    seconds = [timing.seconds for timing in found.ranking]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert found.flags == found.ranking[0].flags
    assert all(t.fastest <= t.seconds <= t.slowest and t.first > 0 for t in found.ranking)
    assert str(found).count("\n") == len(found.ranking) - 1


def through_text(x):
    """Values to text and back, which XLA knows nothing of."""
    return tf.strings.to_number(tf.strings.as_string(tf.stop_gradient(x))) + x


def test_what_does_not_work_comes_last_with_its_reason():
    made = trainer(layers.Sequential([layers.Dense(6, 3), through_text]))
    found = engine.tune(made, PIPELINE, jit_compile=["loop", False], steps_per_loop=[4], rounds=1)
    assert found.flags["jit_compile"] is False
    assert found.ranking[-1].seconds is None
    assert "XLA can't compile this step" in found.ranking[-1].reason
    with pytest.raises(RuntimeError, match=r"no setting trains: jit_compile=loop.*XLA can't compile"):
        engine.tune(made, PIPELINE, jit_compile=["loop"])


@pytest.mark.parametrize("options", [{"rounds": 0}, {"jit_compile": []}, {"steps_per_loop": [0]}])
def test_settings_that_say_nothing_are_refused(options):
    with pytest.raises(ValueError, match="tune needs"):
        engine.tune(trainer(), PIPELINE, **options)
