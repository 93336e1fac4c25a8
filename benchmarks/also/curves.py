"""What a step costs against one size at a time, ours alone: milliseconds, medians of rounds in turns over the sizes."""

import dataclasses
import random
import statistics
import time

import numpy as np

from benchmarks.also.children import call
from benchmarks.works import WORKS, arrays

_STEPS = 200


def _curve(makes, rounds):
    """[(size, first call in seconds, milliseconds a step), …] of {size: a function that makes `steps -> None`}."""
    runs, firsts, taken = {}, {}, {size: [] for size in makes}
    for size, make in makes.items():
        begun = time.perf_counter()
        runs[size] = make()
        runs[size](2)
        firsts[size] = time.perf_counter() - begun
        runs[size](_STEPS)
    for _ in range(rounds):
        for size in random.sample(list(runs), len(runs)):
            begun = time.perf_counter()
            runs[size](_STEPS)
            taken[size].append((time.perf_counter() - begun) / _STEPS * 1e3)
    return [(size, firsts[size], statistics.median(taken[size])) for size in runs]


def _more(contender):
    """A function that trains more steps."""

    def run(steps):
        contender.trainer.fit(contender.shuffled, max_steps=int(contender.trainer.state.step) + steps)

    return run


def _mlp(work, numbers, **options):
    from benchmarks.peers import ours

    return _more(ours.Contender(work, ours.initial_weights(work), numbers, **options))


def by_steps_per_loop(sizes, rounds):
    work = WORKS["mlp_32"]
    numbers = arrays(work)
    return _curve({n: lambda n=n: _mlp(work, numbers, steps_per_loop=n) for n in sizes}, rounds)


def by_batch(sizes, rounds):
    works = {n: dataclasses.replace(WORKS["mlp_32"], batch=n, batches=16_384 // n) for n in sizes}
    return _curve({n: lambda w=w: _mlp(w, arrays(w)) for n, w in works.items()}, rounds)


def by_length(sizes, rounds):
    """A regression of 8 numbers, so that a million examples fit."""
    import data
    import engine
    import layers
    import optim

    def make(length):
        rng = np.random.default_rng(0)
        x = rng.normal(size=[length, 8]).astype(np.float32)
        pipeline = data.Pipeline(data.Arrays(x, x[:, :1]), 32)
        trainer = engine.Trainer(layers.Dense(8, 1), "mean_squared_error", optim.SGD(0.01))
        return lambda steps: trainer.fit(pipeline, max_steps=int(trainer.state.step) + steps)

    return _curve({n: lambda n=n: make(n) for n in sizes}, rounds)


def by_depth(sizes, rounds):
    """Dense layers of 64, each with two variables."""
    from functools import partial

    import data
    import engine
    import layers
    import optim

    def make(depth):
        rng = np.random.default_rng(0)
        x = rng.normal(size=[2048, 64]).astype(np.float32)
        pipeline = data.Pipeline(data.Arrays(x, np.argmax(x[:, :10], 1).astype(np.int32)), 32)
        hidden = [partial(layers.Dense, units=64, activation="relu", kernel_initializer="he_normal")] * (depth - 1)
        model = layers.chain((64,), *hidden, partial(layers.Dense, units=10))
        trainer = engine.Trainer(model, "sparse_categorical_crossentropy", optim.Adam(1e-4))
        return lambda steps: trainer.fit(pipeline, max_steps=int(trainer.state.step) + steps)

    return _curve({n: lambda n=n: make(n) for n in sizes}, rounds)


def _measured(function, sizes, flags, tell, what):
    curve = call(function, sizes, flags.rounds, threads=flags.threads)
    tell(f"| {what} | first call, s | a step, ms |\n|---|---|---|")
    for size, first, step in curve:
        tell(f"| {size:,} | {first:.1f} | {step:.3g} |")
    return curve


def steps_per_loop(flags, tell):
    return _measured(by_steps_per_loop, [1, 3, 10, 30, 100, 300, 1000], flags, tell, "steps_per_loop")


def batch(flags, tell):
    return _measured(by_batch, [1, 4, 16, 64, 256, 1024], flags, tell, "batch")


def depth(flags, tell):
    return _measured(by_depth, [8, 16, 32] if flags.quick else [8, 16, 32, 64, 128], flags, tell, "layers")


def length(flags, tell):
    return _measured(by_length, [1_000, 10_000, 100_000, 1_000_000], flags, tell, "examples")
