"""Resident memory over many steps of one run, and over many models in one process."""

import gc

from benchmarks.also.children import call, memory_mb
from benchmarks.works import WORKS, arrays


def over_steps(steps):
    """[(step, MB), …] of ten equal parts of one training."""
    from benchmarks.peers import ours

    work = WORKS["mlp_32"]
    contender = ours.Contender(work, ours.initial_weights(work), arrays(work))
    found = []
    for part in range(1, 11):
        contender.first(part * steps // 10)
        gc.collect()
        found.append((part * steps // 10, memory_mb()))
    return found


def over_models(count, **options):
    """[(models trained so far, MB), …]: each new, trained for an epoch of 20 steps and dropped."""
    import dataclasses

    from benchmarks.peers import ours

    work = dataclasses.replace(WORKS["mlp_32"], batches=20)
    numbers, found = arrays(work), []
    for number in range(1, count + 1):
        contender = ours.Contender(work, ours.initial_weights(work), numbers, **options)
        contender.first(20)
        del contender
        if number % max(1, count // 10) == 0:
            gc.collect()
            found.append((number, memory_mb()))
    return found


def over_graphs(count):
    """The same without XLA, which keeps what it has compiled."""
    return over_models(count, jit_compile=False)


def measure(flags, tell):
    """Growth is from the first tenth, when everything was there once, to the last."""
    found = {}
    for name, function, count in (
        ("steps", over_steps, 20_000),
        ("models", over_models, 200),
        ("models_without_xla", over_graphs, 200),
    ):
        count //= 20 if flags.quick else 1
        found[name] = curve = call(function, count, threads=flags.threads)
        (first, before), (last, after) = curve[0], curve[-1]
        tell(f"{name} {first} to {last}: {before:.0f} MB to {after:.0f} MB, {100 * (after / before - 1):+.2f}%")
    return found
