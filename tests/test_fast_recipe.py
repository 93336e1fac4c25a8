"""The fast recipe as one run: its parts together resume exactly, and leave the first layer as it was fitted."""

import functools

import numpy as np
import tensorflow as tf

import data
import engine
import optim
from layers import nets

PICTURES = np.random.default_rng(0).integers(0, 256, [22, 6, 6, 3]).astype(np.uint8)
SOURCE = data.Arrays(PICTURES, np.arange(22, dtype=np.int32) % 3, info=data.Info("pictures", 3))


def run(folder, steps):
    tf.random.set_seed(0)
    augment = data.augment.parse("alternating_flip,random_crop(padding=1,fill_mode='reflect')")
    pipeline = data.Pipeline(SOURCE, 5, augment=augment, transform=data.to_float)
    model = nets.fast_cifar((6, 6, 3), 3, filters=(26,))
    model.fit(data.to_float(SOURCE[np.arange(22)])["inputs"])
    rate = optim.schedules.warmup(optim.schedules.polynomial(0.2, 10, 0.02, 1.0), 4)
    make = functools.partial(optim.SGD, momentum=0.85, nesterov=True, weight_decay=0.01)
    rule = optim.Partition({"*.kernel": (plain := make(rate)), "*.beta": make(lambda step: 8 * rate(step)), "*": plain})
    rule = optim.Lookahead(rule, 3, lambda step: 1 - 0.8 * (tf.cast(step, tf.float64) / 14) ** 3)
    loss = functools.partial(engine.losses.sparse_categorical_crossentropy, label_smoothing=0.2)
    trainer = engine.Trainer(model, engine.Supervised(loss), rule, seed=3, steps_per_loop=4)
    first = model.whitening.kernel.numpy()
    history = trainer.fit(pipeline, max_steps=steps, hooks=[engine.hooks.Checkpoint(folder)])
    np.testing.assert_array_equal(model.whitening.kernel, first)
    return engine.weights_sha256(model), history


def test_a_run_stopped_anywhere_and_resumed_is_the_undisturbed_run(tmp_path):
    whole, history = run(tmp_path / "whole", 12)
    assert np.isfinite(history.steps["loss"][-1])
    run(tmp_path / "cut", 7)
    resumed, history = run(tmp_path / "cut", 12)
    assert history.resumed_from == 7
    assert resumed == whole
