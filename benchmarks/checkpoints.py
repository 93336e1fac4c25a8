"""What a checkpoint costs: how long training waits, and how long the write takes behind it.

python benchmarks/checkpoints.py [--megabytes=100,400] [--repeats=5] [--directory=<on the disk in question>]

Waited is all that happens between two steps because of a checkpoint: the look whether everything is finite, the wait
for history.jsonl to be on the disk, taking hold of the values. Next step is what the step after it takes longer, as it
has to leave the held values alone and the write wants a core. Written is all until the checkpoint stands: ours is
written, hashed, synced to the disk and renamed. `tf.train.Checkpoint`, as it is and with `enable_async`, neither hashes
nor syncs. At last one copy of as many bytes in memory.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import data
import engine
import optim


class Kernels(tf.Module):
    """Ten kernels side by side, over the same inputs of 500 numbers."""

    def __init__(self, megabytes):
        super().__init__()
        units = megabytes * 10**6 // 10 // 4 // 500
        self.kernels = [tf.Variable(tf.random.normal([500, units])) for _ in range(10)]

    def __call__(self, inputs, training=False):
        return tf.add_n([tf.reduce_mean(inputs @ kernel, axis=-1, keepdims=True) for kernel in self.kernels])


class Timed:
    """In front of a hook that saves at boundaries: lets it at every third step, and takes its time."""

    every = 1

    def on_steps(self, run, first, steps):
        took = time.perf_counter() - self._left
        if run.step % 3 == 0:
            self.join()
            self.found.append((self._waited, took - self._usual, time.perf_counter() - self._begun))
        self._usual = took

    def on_boundary(self, run):
        if run.step % 3 == 2:
            self._begun = time.perf_counter()
            super().on_boundary(run)
            self._waited = time.perf_counter() - self._begun
        self._left = time.perf_counter()

    def on_fit_begin(self, run):
        self.found, self._left = [], time.perf_counter()

    def on_fit_end(self, run):
        """The last state is not measured."""


class Ours(Timed, engine.hooks.Checkpoint):
    def __init__(self, directory):
        super().__init__(directory / "ours", every=1, keep=1)

    def join(self):
        self._written()


class TensorFlows(engine.hooks.Hook):
    saves = True

    def __init__(self, directory, enable_async):
        super().__init__("tensorflow")
        self._prefix, self._options = str(directory / "tf" / "c"), tf.train.CheckpointOptions(enable_async=enable_async)

    def bind(self, run):
        self._checkpoint = tf.train.Checkpoint(model=run.trainer.model)

    def on_boundary(self, run):
        self._checkpoint.save(self._prefix, options=self._options)

    def join(self):
        self._checkpoint.sync()


class TimedTensorFlows(Timed, TensorFlows):
    pass


def trained(megabytes, repeats, hook, *others):
    """Milliseconds (waited, next step, written) of each checkpoint but the first."""
    inputs = np.random.default_rng(0).normal(size=(640, 500)).astype(np.float32)
    pipeline = data.Pipeline(data.Arrays(inputs, np.zeros((640, 1), np.float32)), 8)
    made = engine.Trainer(Kernels(megabytes), "mean_squared_error", optim.SGD(1e-6))
    made.fit(pipeline, max_steps=3 * repeats + 3, hooks=[hook, *others])
    return hook.found[1:]


def copied(megabytes, repeats):
    source, found = np.ones(megabytes * 10**6 // 4, np.float32), []
    for _ in range(repeats):
        begun = time.perf_counter()
        source.copy()
        found.append((time.perf_counter() - begun,))
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", default="100,400")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--directory", default=None)
    arguments = parser.parse_args()
    print("| MB | | waited, ms | next step, ms | written, ms | waited / written |\n|---|---|---|---|---|---|")
    for megabytes in map(int, arguments.megabytes.split(",")):
        with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
            folder, size = Path(name), (megabytes, arguments.repeats)
            rows = {
                "ours": trained(*size, Ours(folder), engine.hooks.HistoryFile(folder / "history.jsonl")),
                "`tf.train.Checkpoint`": trained(*size, TimedTensorFlows(folder, False)),
                "… `enable_async`": trained(*size, TimedTensorFlows(folder, True)),
                "one copy": copied(*size),
            }
        for row, found in rows.items():
            waited, *more = (statistics.median(column) * 1e3 for column in zip(*found, strict=True))
            following, written = [f"{ms:.0f}" for ms in more] or ("", "")
            share = f"{waited / more[1]:.1%}" if more else ""
            print(f"| {megabytes} | {row} | {waited:.1f} | {following} | {written} | {share} |", flush=True)


if __name__ == "__main__":
    main()
