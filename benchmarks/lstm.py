"""A training step of LSTM and GRU, forward and backward, beside the plain loop over the same cell and beside Keras.

    python benchmarks/lstm.py [--batch=32] [--steps=500] [--features=64] [--units=128] [--rounds=15]

All run inside a `tf.function`, on the same numbers, and take turns: each round runs every one once, in an order of its
own, so that what else the machine does falls on all alike. The table gives the median and the fastest of the rounds,
and how often each was faster than Keras within a round.
"""

import argparse
import os
import random
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

import layers
from layers.recurrent_cells import Cell


class PlainLSTMCell(layers.LSTMCell):
    scan = Cell.scan


class PlainGRUCell(layers.GRUCell):
    scan = Cell.scan


def training_step(layer, variables, jit_compile=False):
    """x → the gradients of Σ y² by all variables."""

    @tf.function(jit_compile=jit_compile, autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(x)))
        return tape.gradient(loss, variables)

    return step


def contenders(kind, x, units):
    """{name: training step} for "LSTM" or "GRU", all with the same weights."""
    features = x.shape[-1]
    ours, theirs = getattr(layers, kind)(features, units), getattr(keras.layers, kind)(units)
    plain = layers.RNN({"LSTM": PlainLSTMCell, "GRU": PlainGRUCell}[kind](features, units))
    theirs.build(x.shape)
    own = [ours.kernel, ours.recurrent_kernel, ours.bias]
    cell = plain.cell
    for mine, other, weight in zip(
        own, (cell.kernel, cell.recurrent_kernel, cell.bias), theirs.trainable_weights, strict=True
    ):
        other.assign(mine)
        weight.assign(mine)
    return {
        "ours": training_step(ours, own),
        "ours, XLA": training_step(ours, own, jit_compile=True),
        "plain loop": training_step(plain, [cell.kernel, cell.recurrent_kernel, cell.bias]),
        "Keras": training_step(theirs, [weight.value for weight in theirs.trainable_weights]),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {"batch": 32, "steps": 500, "features": 64, "units": 128, "rounds": 15}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    flags = parser.parse_args()
    x = tf.random.stateless_normal([flags.batch, flags.steps, flags.features], [1, 2])
    print(f"{flags.batch} sequences of {flags.steps} steps, {flags.features} features to {flags.units} units, float32")
    print(f"{'':16}{'median ms':>11}{'fastest ms':>12}{'first call s':>14}{'beats Keras':>13}")
    for kind in ("LSTM", "GRU"):
        steps, firsts, values = contenders(kind, x, flags.units), {}, {}
        for name, step in steps.items():
            begin = time.perf_counter()
            values[name] = [value.numpy() for value in step(x)]
            firsts[name] = time.perf_counter() - begin
        for name, found in values.items():
            for mine, other in zip(found, values["Keras"], strict=True):
                if not abs(mine - other).max() <= 1e-4 * abs(other).max():
                    raise AssertionError(f"{kind}, {name}: the gradients are not those of Keras")
        rounds = []
        for _ in range(flags.rounds):
            taken = {}
            for name in random.sample(list(steps), len(steps)):
                begin = time.perf_counter()
                for value in steps[name](x):
                    value.numpy()
                taken[name] = 1e3 * (time.perf_counter() - begin)
            rounds.append(taken)
        for name in steps:
            times = [taken[name] for taken in rounds]
            wins = "" if name == "Keras" else f"{sum(r[name] < r['Keras'] for r in rounds)} of {len(rounds)}"
            row = f"{statistics.median(times):11.0f}{min(times):12.0f}{firsts[name]:14.1f}{wins:>13}"
            print(f"{kind + ', ' + name:16}{row}")


if __name__ == "__main__":
    main()
