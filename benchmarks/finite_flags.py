"""What it costs a step to know whether its loss and gradients are finite.

python benchmarks/finite_flags.py [--rounds=15] [--steps=60]

The same trainer with the flags, and with the pass over the gradients and the copies of moving statistics taken out,
in turns in one process; milliseconds a step, medians of the rounds, and the ratio of each round's pair.
"""

import argparse
import os
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import data
import engine
import optim
from layers import nets

# `engine.step` is the function of that name.
step_module = sys.modules["engine.step"]
WITH = step_module.sums_of_squares, step_module.untrained_variables
WITHOUT = (lambda gradients, in_xla: tf.zeros([len(gradients)])), (lambda model: [])
WORK = {
    "MLP 784-128-64-10, batch 32": (lambda: nets.mlp((28, 28, 1), 10), (28, 28, 1), 32, 10),
    "convnet 32-64, BatchNorm, batch 64": (
        lambda: nets.convnet((28, 28, 1), 10, filters=(32, 64), batch_norm=True), (28, 28, 1), 64, 1,
    ),
    "convnet 32-64-128 on 32×32×3, batch 64": (
        lambda: nets.convnet((32, 32, 3), 10, filters=(32, 64, 128)), (32, 32, 3), 64, 1,
    ),
}  # fmt: skip


def trained(model, shape, batch_size, functions, steps):
    """A function that trains `steps` more steps and returns the milliseconds of one."""
    rng = np.random.default_rng(0)
    source = data.Arrays(
        rng.uniform(size=(batch_size * 8, *shape)).astype(np.float32), rng.integers(0, 10, batch_size * 8)
    )
    pipeline = data.Pipeline(source, batch_size)
    trainer = engine.Trainer(model, "sparse_categorical_crossentropy", optim.Adam(1e-3), steps_per_loop=10_000)

    def more():
        begun = time.perf_counter()
        trainer.fit(pipeline, max_steps=int(trainer.state.step) + steps)
        return (time.perf_counter() - begun) / steps * 1000

    step_module.sums_of_squares, step_module.untrained_variables = functions
    more()
    return more


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=60, help="of a convnet in a round; of the MLP ten times as many")
    flags = parser.parse_args()
    for name, (make, shape, batch_size, times) in WORK.items():
        steps = flags.steps * times
        contenders = [trained(make(), shape, batch_size, functions, steps) for functions in (WITH, WITHOUT)]
        pairs = [[more() for more in contenders] for _ in range(flags.rounds)]
        with_flags, without = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(one / other for one, other in pairs)
        spread = f"{ratios[len(ratios) // 4]:.3f} to {ratios[-len(ratios) // 4]:.3f}"
        print(
            f"{name}: {with_flags:.3f} ms with, {without:.3f} without, ratio {statistics.median(ratios):.3f} ({spread})"
        )


if __name__ == "__main__":
    main()
