"""Keras' own way to survive a kill: `fit` with `BackupAndRestore` and `EarlyStopping`, on the embedded pictures.

python tests/faults/peer_keras.py <run directory> <epoch, or steps between backups>

All that Keras offers for repeatable runs is on: seeds and deterministic kernels. A line of history.jsonl for each step,
and for each epoch what EarlyStopping remembers.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

PICTURES = Path(__file__).parent.parent.parent / "data" / "embedded" / "fashion_mnist_mini.npz"
BATCH, STEPS_PER_EPOCH, EPOCHS = 100, 30, 20


class Told(keras.callbacks.Callback):
    """Writes down each step, and what EarlyStopping remembers."""

    def __init__(self, file, early_stopping):
        super().__init__()
        self.file, self.early_stopping, self.epoch = file, early_stopping, 0

    def _tell(self, **record):
        self.file.write(json.dumps({**record, "process": os.getpid()}) + "\n")
        self.file.flush()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self._tell(split="train", step=self.epoch * STEPS_PER_EPOCH + batch + 1, loss=float(logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        best, wait = float(self.early_stopping.best), self.early_stopping.wait
        self._tell(split="validation", step=(epoch + 1) * STEPS_PER_EPOCH, best=best, wait=wait)


def main(run_dir: Path, save_freq: str) -> None:
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    run_dir.mkdir(exist_ok=True)
    pictures = np.load(PICTURES)
    images, labels = (pictures[key] for key in ("train_images", "train_labels"))
    images = images[..., None].astype(np.float32) / 255
    count = BATCH * STEPS_PER_EPOCH
    train = tf.data.Dataset.from_tensor_slices((images[:count], labels[:count])).shuffle(count, seed=0).batch(BATCH)
    validation = tf.data.Dataset.from_tensor_slices((images[count:], labels[count:])).batch(500)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(16, "relu"),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(10),
        ]
    )
    model.compile(keras.optimizers.Adam(0.03), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    early_stopping = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    backup = keras.callbacks.BackupAndRestore(
        str(run_dir / "backup"), save_freq=save_freq if save_freq == "epoch" else int(save_freq)
    )
    with (run_dir / "history.jsonl").open("a") as file:
        callbacks = [early_stopping, backup, Told(file, early_stopping)]
        model.fit(train, epochs=EPOCHS, validation_data=validation, callbacks=callbacks, verbose=0)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(weight).tobytes() for weight in model.get_weights()))
    (run_dir / "result.json").write_text(json.dumps({"weights_sha256": digest.hexdigest()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
