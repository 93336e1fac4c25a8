"""A run with an embedding, below the command line: a classifier of bags of words on two replicas.

python tests/faults/words.py <run directory> [<policy>]

With a policy (raise, skip, rollback) a few bags have a weight that is not a number, and the policy says what follows.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import numpy as np
import tensorflow as tf

import data
import engine
import layers
import optim
from engine.files.run_directory import RunDirectory

WORDS, LENGTH, CLASSES = 300, 12, 4


class Bag(layers.Layer):
    """[batch, time] of word ids -> [batch, classes]: the mean of the words' vectors, dropout, a dense layer."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(WORDS, 8)
        self.dropout = layers.Dropout(0.2)
        self.logits = layers.Dense(8, CLASSES)

    def __call__(self, ids, training=False):
        return self.logits(self.dropout(tf.reduce_mean(self.embedding(ids), axis=1), training=training))


def source(seed: int, examples: int) -> data.Arrays:
    """Bags of words whose class is the commonest remainder of their ids, with ids that repeat."""
    ids = np.random.default_rng(seed).zipf(1.3, (examples, LENGTH)) % WORDS
    labels = np.array([np.bincount(row % CLASSES, minlength=CLASSES).argmax() for row in ids])
    return data.Arrays(ids.astype(np.int32), labels)


def spoil(batch):
    """The batch with weights, which are NaN for bags that begin with word 70."""
    spoilt = tf.equal(batch["inputs"][:, 0], 70)
    return {**batch, "weights": tf.where(spoilt, np.float32(np.nan), np.float32(1))}


def main(run_dir: str, policy: str | None = None) -> None:
    directory = RunDirectory(run_dir)
    strategy = engine.make_strategy("mirrored", 2)
    tf.random.set_seed(0)
    with strategy.scope():
        model, rule = Bag(), optim.Adam(0.01)
    train = data.Pipeline(source(0, 1500), 50, transform=spoil if policy else None)
    validation = data.Pipeline(source(1, 500), 100, shuffle=False)
    trainer = engine.Trainer(
        model,
        "sparse_categorical_crossentropy",
        rule,
        {"accuracy": engine.metrics.SparseCategoricalAccuracy()},
        strategy=strategy,
        accumulate_steps=2,
        steps_per_loop=4,
        average=optim.EMA(0.9),
        on_non_finite=policy or "raise",
        max_non_finite=100,
    )
    history = trainer.fit(
        train,
        epochs=6,
        validation=validation,
        hooks=[
            engine.hooks.HistoryFile(directory.history, log_every_step=True),
            # With a policy the run is to be as long as its data makes it.
            engine.hooks.EarlyStopping("validation.accuracy", patience=99 if policy else 2),
            engine.hooks.Checkpoint(directory.checkpoints, every=6),
        ],
    )
    result = {"steps": int(trainer.state.step), "epochs": int(trainer.state.epoch), "train": history.train}
    result |= {"validation": trainer.evaluate(validation), "weights_sha256": engine.weights_sha256(model)}
    directory.write_result({**result, "stopped_by": history.stopped_by})


if __name__ == "__main__":
    main(*sys.argv[1:])
