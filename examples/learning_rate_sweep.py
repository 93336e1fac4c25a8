"""A sweep over learning rates: the same start, the same batches, another rate.

    python examples/learning_rate_sweep.py --folder=runs/sweep
    tensorboard --logdir runs/sweep

Each rate has a folder of its own, with its history and its curves; TensorBoard on their parent shows them together.
"""

import argparse
from pathlib import Path

import numpy as np
import tensorflow as tf

import data
import engine
import layers
import optim


def train(rate, source, folder, epochs, units, seed=0):
    """One run: its validation metrics, and the hash of the weights that it began with."""
    tf.random.set_seed(seed)
    model = layers.nets.mlp((28, 28, 1), 10, units=units)
    began_with = engine.weights_sha256(model)
    trainer = engine.Trainer(
        model,
        "sparse_categorical_crossentropy",
        optim.Adam(rate),
        {"accuracy": engine.metrics.SparseCategoricalAccuracy()},
        seed=seed,
        # A rate that is too high: no step that is not finite is made, and the run goes on from where it is.
        on_non_finite="skip",
    )
    pipelines = {name: data.Pipeline(part, 50, transform=data.to_float) for name, part in source.items()}
    hooks = [engine.hooks.HistoryFile(folder / "history.jsonl"), engine.hooks.TensorBoard(folder)]
    trainer.fit(pipelines["train"], epochs=epochs, validation=pipelines["validation"], hooks=hooks)
    return {**trainer.evaluate(pipelines["validation"]), "began_with": began_with}


RATES = tuple(np.geomspace(1e-5, 1e-1, 9))


def main(folder, rates=RATES, examples=6000, epochs=3, units=(64,)):
    """The results by rate."""
    chosen = data.Subset(data.load("fashion_mnist_mini"), range(examples))
    source = data.split(chosen, {"train": 0.8, "validation": 0.2}, seed=0)
    results = {}
    for rate in map(float, rates):
        results[rate] = train(rate, source, Path(folder) / f"rate-{rate:.0e}", epochs, units)
        print(f"rate {rate:.1e}: loss {results[rate]['loss']:.4f}, accuracy {results[rate]['accuracy']:.4f}")
    best = min(results, key=lambda rate: results[rate]["loss"])
    print(f"the lowest loss is that of {best:.1e}")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="runs/sweep")
    main(parser.parse_args().folder)
