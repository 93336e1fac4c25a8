"""Frozen for some epochs, thawed from then on: what moves, at which rate, and that features change nothing."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
from parts import classified

import data
import engine
import layers
import optim
from engine.hooks import Checkpoint, Thaw
from layers import nets

EPOCHS, THAWED = 4, 2


class Body(layers.Layer):
    """Three dense stages with a norm in the middle, as a backbone has them."""

    def __init__(self):
        super().__init__()
        self.stem = layers.Dense(6, 8, activation="tanh")
        self.stage2, self.norm = layers.Dense(8, 8, activation="tanh"), layers.BatchNorm(8)
        self.stage3 = layers.Dense(8, 5, activation="tanh")

    def last_dimension(self, size):
        return 5

    def __call__(self, x, training=False):
        return self.stage3(self.norm(self.stage2(self.stem(x)), training=training))


def made():
    tf.random.set_seed(0)
    model = engine.cast(nets.Classifier(Body(), layers.Dense(5, 3), dropout=0.2), "float64")
    engine.freeze(model.backbone)
    rule = optim.Partition({"head.*": optim.Adam(0.02), "backbone.*": optim.Adam(0.002)})
    return engine.Trainer(model, "sparse_categorical_crossentropy", rule, precision="float64", steps_per_loop=3, seed=3)


def source():
    return classified(40, dtype=np.float64)


def pictures():
    return data.Pipeline(source(), 9)


def thaw(trainer, **options):
    body = trainer.model.backbone
    return Thaw([body], THAWED, keep=[body.stem, body.stage2, body.norm], **options)


def fitted(cached, folder=None, max_steps=None, epochs=EPOCHS):
    trainer, read = made(), pictures()
    hooks = [thaw(trainer, train=read) if cached else thaw(trainer)]
    if cached:
        found = engine.features(trainer.model, read, precision="float64")
        read = data.Pipeline(
            data.Arrays(found["inputs"], found["labels"]),
            9,
            transform=lambda batch: {**batch, "inputs": {"features": batch["inputs"]}},
        )
    if folder:
        hooks.append(Checkpoint(folder, every=2))
    before = {path: v.numpy() for path, v in engine.variable_paths(trainer.model).items()}
    history = trainer.fit(read, epochs=epochs, max_steps=max_steps, hooks=hooks)
    return trainer, before, history


def moved(trainer, before):
    after = engine.variable_paths(trainer.model)
    return {path for path, value in before.items() if not np.array_equal(value, after[path].numpy())}


def test_what_is_frozen_does_not_move_and_what_is_thawed_does():
    trainer, before, _ = fitted(False, max_steps=9)
    assert moved(trainer, before) == {"head.kernel", "head.bias"}
    trainer, before, history = fitted(False)
    # All but the first stages, whose moving statistics stay too.
    assert moved(trainer, before) == {"head.kernel", "head.bias", "backbone.stage3.kernel", "backbone.stage3.bias"}
    assert trainer.traces == 2
    assert history.records[-1]["learning_rate"] == 0.02


def test_features_change_nothing_but_the_work():
    (cached, _, first), (plain, _, second) = fitted(True), fitted(False)
    theirs = engine.variable_paths(cached.model)
    for path, variable in engine.variable_paths(plain.model).items():
        np.testing.assert_allclose(theirs[path], variable, rtol=1e-12, atol=1e-14)
    assert [r["step"] for r in first.records] == [r["step"] for r in second.records]
    np.testing.assert_allclose([r["loss"] for r in first.records], [r["loss"] for r in second.records], rtol=1e-12)
    assert cached.traces == 2


@pytest.mark.parametrize("step", [4, 10, 13])
def test_a_run_resumed_in_either_act_ends_with_the_same_bits(tmp_path, undisturbed, step):
    fitted(True, tmp_path, max_steps=step)
    trainer, _, history = fitted(True, tmp_path)
    assert history.resumed_from == step
    assert engine.weights_sha256(trainer.model) == undisturbed


@pytest.fixture(scope="module")
def undisturbed():
    return engine.weights_sha256(fitted(True)[0].model)


def test_features_come_in_source_order_with_labels_and_weights():
    model, plain = made().model, source()[np.arange(40)]
    found = engine.features(model, data.Pipeline(source(), 7, weights=np.arange(40) / 8), precision="float64")
    np.testing.assert_allclose(found["inputs"], model.features(plain["inputs"]), rtol=1e-12)
    np.testing.assert_array_equal(found["labels"], plain["labels"])
    np.testing.assert_array_equal(found["weights"], np.arange(40) / 8)


def test_features_are_traced_once_and_never_of_old_weights_or_layers():
    class Scaled(tf.Module):
        traces = 0

        def __init__(self):
            super().__init__()
            self.scale = tf.Variable(2.0)

        def features(self, inputs, training=False):
            self.traces += 1
            return self.scale * inputs

    model, pipeline = Scaled(), data.Pipeline(data.Arrays(np.ones([7, 2], np.float32)), 4)
    found = [engine.features(model, pipeline)["inputs"][0, 0]]
    model.scale.assign(3.0)
    found.append(engine.features(model, pipeline)["inputs"][0, 0])
    assert (found, model.traces) == ([2, 3], 1)
    model.scale = tf.Variable(4.0)
    assert engine.features(model, pipeline)["inputs"][0, 0] == 4
    # A model that goes takes its functions along.
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_pipelines_that_do_not_go_together_are_refused():
    trainer = made()
    with pytest.raises(ValueError, match="5 batches of 9 an epoch before and 5 of 8 after"):
        trainer.fit(pictures(), epochs=3, hooks=[thaw(trainer, train=data.Pipeline(source(), 8))])


def test_a_model_file_is_restored_in_part(tmp_path):
    def small(classes):
        return nets.Classifier(nets.ResNet(3, (1,), (4,), small=True), layers.Dense(4, classes))

    theirs, ours = small(7), small(3)
    path = engine.save_model(theirs, tmp_path / "model.h5")
    report = engine.restore(ours, path, only="backbone.*")
    for name, variable in engine.variable_paths(ours.backbone).items():
        np.testing.assert_array_equal(variable, engine.variable_paths(theirs.backbone)[name])
    assert set(report.left) == {"head.kernel", "head.bias"}
    with pytest.raises(engine.CheckpointError, match=r"different +model.head.kernel"):
        engine.restore(ours, path)
    with pytest.raises(engine.CheckpointError, match=r"missing +model.backbone.norm"):
        engine.restore(made().model, path, only="backbone.*")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(engine.ModelFileError, match="damaged"):
        engine.restore(ours, path, only="backbone.*")
