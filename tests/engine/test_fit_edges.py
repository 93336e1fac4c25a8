"""What a fit must not do in silence: at the edges where averages, freezing, penalties, files and XLA meet."""

import cuts
import numpy as np
import pytest
import tensorflow as tf
from parts import classified, mlp, trainer

import data
import engine
import layers
import optim
from engine.files import checkpoints

PIPELINE = data.Pipeline(classified(22), 8)


def activity_penalty(model, batch, training):
    """A penalty on what the model computes, not on its weights: padding rows must not enter it."""
    terms = engine.Supervised("sparse_categorical_crossentropy")(model, batch, training)
    return terms._replace(penalty={"activity": tf.reduce_mean(tf.square(terms.outputs))})


@pytest.mark.parametrize(
    "options", [{"jit_compile": True}, {"replicas": 3}, {"accumulate_steps": 3}, {"replicas": 2, "jit_compile": True}]
)
def test_a_penalty_on_activations_is_the_same_on_every_cut(options):
    """A mean over rows: slices of equal size have equal shares, and others theirs."""

    def losses(**options):
        made = cuts.trainer(mlp, activity_penalty, lambda: optim.Adam(0.01), precision="float64", **options)
        # 8, 8 and 6 rows: each cut has slices of equal and of different sizes.
        return made.fit(data.Pipeline(classified(22, dtype=np.float64), 8), epochs=2).steps["loss"]

    np.testing.assert_allclose(losses(**options), losses(), rtol=1e-10)


def test_training_within_averaged_is_refused():
    made = trainer(average=optim.EMA(0.5))
    made.fit(PIPELINE, max_steps=3)
    with made.averaged(), pytest.raises(RuntimeError, match="averages"):
        made.fit(PIPELINE, max_steps=5)
    assert int(made.state.step) == 3


def test_an_average_begins_with_the_weights_that_are_there_when_training_does():
    """A warm start: weights set after the trainer was made."""
    made, trained = trainer(average=optim.EMA(0.999)), mlp(seed=7)
    for path, variable in engine.variable_paths(trained).items():
        engine.variable_paths(made.model)[path].assign(variable)
    expected = trainer(trained).evaluate(PIPELINE)
    assert made.evaluate(PIPELINE) == expected
    made.fit(PIPELINE, max_steps=1)
    assert abs(made.evaluate(PIPELINE)["loss"] - expected["loss"]) < 1e-3


def test_the_gradient_norm_of_rows_that_occur_more_than_once_is_that_of_their_sum():
    class Table(tf.Module):
        def __init__(self):
            super().__init__()
            self.table = tf.Variable(np.ones((3, 2), np.float32))

        def __call__(self, rows):
            return tf.reduce_sum(tf.gather(self.table, rows), axis=-1, keepdims=True)

    class Norms(engine.hooks.Hook):
        norms = True

        def on_boundary(self, run):
            self.seen = run.last_norms

    hook = Norms("norms")
    made = engine.Trainer(Table(), "mean_squared_error", optim.SGD(1.0))
    made.fit(data.Pipeline(data.Arrays(np.array([0, 0, 0, 1]), np.zeros((4, 1))), 4), max_steps=1, hooks=[hook])
    assert hook.seen["gradient_norm"] == pytest.approx(hook.seen["update_norm"], rel=1e-6)


def test_freezing_a_layer_that_has_moving_statistics_only_stops_them():
    model = layers.Sequential([layers.BatchNorm(6, center=False, scale=False), layers.Dense(6, 3)])
    made = trainer(model)
    made.fit(PIPELINE, max_steps=2)
    engine.freeze(model.layers[0])
    before = model.layers[0].moving_mean.numpy()
    made.fit(PIPELINE, max_steps=4)
    np.testing.assert_array_equal(model.layers[0].moving_mean, before)


def test_a_checkpoint_that_can_not_be_written_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    def full(folder, values):
        (folder / "variables.data").write_bytes(b"half")
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(checkpoints, "_write", full)
    with pytest.raises(OSError, match=r"step-00000002 could not be written: No space left on device"):
        trainer().fit(PIPELINE, max_steps=2, hooks=[engine.hooks.Checkpoint(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_strings_in_a_batch_are_named_where_xla_would_meet_them():
    class Named(cuts.Batches):
        def training(self, seed, epoch=0, index=0):
            return super().training(seed).map(lambda batch: {**batch, "name": tf.as_string(batch["labels"])})

    arrays = {"inputs": np.ones((4, 6), np.float32), "labels": np.zeros(4, np.int64)}
    with pytest.raises(ValueError, match="XLA takes no strings"):
        trainer(jit_compile=True).fit(Named(arrays, 2), max_steps=1)
    trainer().fit(Named(arrays, 2), max_steps=1)
