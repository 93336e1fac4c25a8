"""Feeding: examples a second that pipelines deliver, beside hand-written `tf.data`, and what models consume.

    python benchmarks/feeding.py [--rounds 9] [--batch_size 64] [--seconds 0.5]

On the 6,000 embedded pictures, training's part. All sides take turns within a round; figures are medians over rounds.
A pipeline is drained by a compiled loop, as a training's, that touches one number of each batch.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import data
import engine
import optim
from layers import nets

SOURCE = data.load("fashion_mnist_mini")
AUTOTUNE = tf.data.AUTOTUNE


def written_by_hand(batch_size, transform=None):
    dataset = tf.data.Dataset.from_tensor_slices(SOURCE.arrays).shuffle(10_000).repeat().batch(batch_size)
    return (dataset.map(transform, AUTOTUNE) if transform else dataset).prefetch(AUTOTUNE)


def ours(batch_size, **options):
    return data.Pipeline(SOURCE, batch_size, **options).training(seed=0)


def flips_and_crops():
    return data.augment.compose(data.augment.flip_left_right(), data.augment.random_crop(2))


def datasets(batch_size):
    return {
        "pipeline, uint8": ours(batch_size),
        "tf.data by hand, uint8": written_by_hand(batch_size),
        "pipeline, to_float": ours(batch_size, transform=data.to_float),
        "tf.data by hand, to_float": written_by_hand(batch_size, data.to_float),
        "pipeline, flips, crops, to_float": ours(batch_size, augment=flips_and_crops(), transform=data.to_float),
    }


@tf.function(autograph=False)
def drained(iterator, count):
    def body(done, total):
        return done + 1, total + tf.cast(next(iterator)["labels"][0], tf.int64)

    return tf.while_loop(lambda done, _: done < count, body, (0, tf.constant(0, tf.int64)), parallel_iterations=1)


def draining(dataset, batch_size, seconds):
    """A function that drains for about that many seconds and returns examples a second."""
    iterator = iter(dataset)
    drained(iterator, tf.constant(50))
    rate = [2000.0]

    def run():
        count = max(20, int(rate[0] * seconds))
        start = time.perf_counter()
        drained(iterator, tf.constant(count))
        rate[0] = count / (time.perf_counter() - start)
        return rate[0] * batch_size

    return run


MODELS = {
    "model: softmax regression": lambda: nets.mlp((28, 28, 1), 10, units=[]),
    "model: MLP 784-128-64-10": lambda: nets.mlp((28, 28, 1), 10, units=[128, 64]),
    "model: convnet": lambda: nets.convnet((28, 28, 1), 10, filters=[32, 64], units=[128], dropout=0.0),
}


def training(make, batch_size, seconds):
    """A function that trains for about that many seconds and returns examples a second."""
    trainer = engine.Trainer(
        make(),
        "sparse_categorical_crossentropy",
        optim.SGD(0.01, 0.9),
        {"accuracy": engine.metrics.SparseCategoricalAccuracy()},
        steps_per_loop=200,
    )
    pipeline = data.Pipeline(SOURCE, batch_size, transform=data.to_float)
    trainer.fit(pipeline, max_steps=20)
    rate = [500.0]

    def run():
        steps = int(trainer.state.step) + max(20, int(rate[0] * seconds))
        rate[0] = trainer.fit(pipeline, max_steps=steps).examples_per_second / batch_size
        return rate[0] * batch_size

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=0.5)
    options = parser.parse_args()
    batch_size, seconds = options.batch_size, options.seconds
    runs = {name: draining(dataset, batch_size, seconds) for name, dataset in datasets(batch_size).items()}
    runs |= {name: training(make, batch_size, seconds) for name, make in MODELS.items()}
    rates = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            rates[name].append(run())
    print(f"batches of {batch_size}; examples a second, medians of {options.rounds} rounds (least and most)")
    for name, found in rates.items():
        print(f"{name:34}{np.median(found):12,.0f}   ({min(found):,.0f} to {max(found):,.0f})")


if __name__ == "__main__":
    main()
