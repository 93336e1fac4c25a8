"""A source of one's own: pictures in an SQLite database.

    python examples/own_source.py

A source has `len(source)`, `source[indices]` (rows as a dict of arrays), `info` and `arrays` (all rows where they are
in memory, else None). That is all a pipeline asks for to shuffle them perfectly, to cut an epoch anywhere and to go on
there after a kill.
"""

import contextlib
import sqlite3
import tempfile
from pathlib import Path

import numpy as np

import data
import engine
import layers
import optim


class Database:
    """Pictures of a table `pictures(number, pixels, label)`: uint8 `[28, 28, 1]`, labels int32."""

    arrays = None

    def __init__(self, path, classes, shape=(28, 28, 1)):
        self.path = str(path)
        self.info = data.Info(Path(path).stem, classes, input_shape=shape)
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            (self.examples,) = connection.execute("select count(*) from pictures").fetchone()

    def __len__(self):
        return self.examples

    def __getitem__(self, indices):
        """The rows in the order of `indices`; called from several threads, so each call has its own connection."""
        numbers = ",".join(str(int(index)) for index in indices)
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            rows = connection.execute(f"select number, pixels, label from pictures where number in ({numbers})")
            found = {number: (pixels, label) for number, pixels, label in rows}
        pixels = [np.frombuffer(found[index][0], np.uint8).reshape(self.info.input_shape) for index in indices]
        return {"inputs": np.stack(pixels), "labels": np.array([found[index][1] for index in indices], np.int32)}


def write(path, inputs, labels):
    """Makes such a database."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table pictures (number integer primary key, pixels blob, label integer)")
        rows = ((n, x.tobytes(), int(y)) for n, (x, y) in enumerate(zip(inputs, labels, strict=True)))
        connection.executemany("insert into pictures values (?, ?, ?)", rows)


def main(folder, examples=6000, epochs=3):
    """Writes a database and trains from it; the source and the accuracy in training."""
    rows = data.load("fashion_mnist_mini")[np.arange(examples)]
    write(Path(folder) / "pictures.db", rows["inputs"], rows["labels"])
    source = Database(Path(folder) / "pictures.db", classes=10)
    metrics = {"accuracy": engine.metrics.SparseCategoricalAccuracy()}
    model = layers.nets.mlp((28, 28, 1), 10)
    trainer = engine.Trainer(model, "sparse_categorical_crossentropy", optim.Adam(1e-3), metrics)
    history = trainer.fit(data.Pipeline(source, 50, transform=data.to_float), epochs=epochs)
    return source, history.train["accuracy"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(f"accuracy {main(folder)[1]:.3f}")
