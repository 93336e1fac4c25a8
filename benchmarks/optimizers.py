"""One update of 200 variables with 10 million parameters: every rule beside Keras' same one, and beside a copy.

    python benchmarks/optimizers.py [--rounds 15] [--only Adam] [--precision float32]

Both sides run compiled loops of updates over the same gradients, interleaved; figures are medians of milliseconds
an update. "copy" moves the bytes that the rule must read and write at least (gradient, variable and slots read,
variable and slots written) between arrays in memory, as NumPy does it.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import optim

SHAPES = {
    "mixed": [(1000, 700)] * 10 + [(300, 110)] * 90 + [(256,)] * 100,
    "equal": [(250, 200)] * 200,
    "tiny": [(256,)] * 200,
    "few": [(2048, 2048), (2048,)] * 2 + [(1300, 1300), (1300,)],
}
PAIRS = {
    "SGD": (lambda: optim.SGD(0.01), lambda: keras.optimizers.SGD(0.01)),
    "SGD-momentum": (lambda: optim.SGD(0.01, 0.9), lambda: keras.optimizers.SGD(0.01, 0.9)),
    "RMSprop": (lambda: optim.RMSprop(0.01), lambda: keras.optimizers.RMSprop(0.01)),
    "Adagrad": (lambda: optim.Adagrad(0.01), lambda: keras.optimizers.Adagrad(0.01)),
    "Adadelta": (lambda: optim.Adadelta(0.01), lambda: keras.optimizers.Adadelta(0.01)),
    "Adam": (lambda: optim.Adam(0.001), lambda: keras.optimizers.Adam(0.001)),
    "AdamW": (lambda: optim.AdamW(0.001), lambda: keras.optimizers.AdamW(0.001)),
    "AMSGrad": (lambda: optim.Adam(0.001, amsgrad=True), lambda: keras.optimizers.Adam(0.001, amsgrad=True)),
    "Adamax": (lambda: optim.Adamax(0.001), lambda: keras.optimizers.Adamax(0.001)),
    "Nadam": (lambda: optim.Nadam(0.001), lambda: keras.optimizers.Nadam(0.001)),
    "Ftrl": (lambda: optim.Ftrl(0.001), lambda: keras.optimizers.Ftrl(0.001)),
    "Lion": (lambda: optim.Lion(0.001), lambda: keras.optimizers.Lion(0.001)),
    "Lamb": (lambda: optim.Lamb(0.001), lambda: keras.optimizers.Lamb(0.001)),
    "Adafactor": (lambda: optim.Adafactor(0.001), lambda: keras.optimizers.Adafactor(0.001)),
    "Muon": (lambda: optim.Muon(0.001), lambda: keras.optimizers.Muon(0.001)),
}
UPDATES = 5


def variables(shapes, dtype):
    random = np.random.default_rng(0)
    made = [tf.Variable(random.normal(size=shape).astype(dtype), name=f"v{i}") for i, shape in enumerate(shapes)]
    for variable in made:
        variable.path = variable.name  # Keras' Muon asks its own variables for it
    return made


def looped(update):
    """A compiled loop of updates, as a training's."""

    @tf.function(autograph=False)
    def run():
        return tf.while_loop(lambda i: i < UPDATES, lambda i: (update(), i + 1)[1:], [0])

    return run


def sides(names, shapes, dtype):
    """{what: function without arguments}, and the seconds that each took to begin."""
    gradients = [tf.constant(np.random.default_rng(1).normal(size=shape).astype(dtype)) for shape in shapes]
    runs = {}
    for name in names:
        ours, theirs = (make() for make in PAIRS[name])
        own, other = variables(shapes, dtype), variables(shapes, dtype)
        ours.init(own)
        theirs.build(other)
        runs[name, "ours"] = looped(lambda rule=ours, own=own: rule.apply(gradients, own))
        runs[name, "keras"] = looped(lambda rule=theirs, other=other: rule.apply(gradients, other))
        slots = sum(np.prod(v.shape) for v in ours.variables if v.shape.rank)
        runs[name, "copy"] = copying(sum(np.prod(v.shape) for v in own), slots, dtype)
    begun = {}
    for key, run in runs.items():
        start = time.perf_counter()
        run()
        begun[key] = time.perf_counter() - start
    return runs, begun


def copying(weights, slots, dtype):
    # Copying a byte reads one and writes one: reads of g, x and slots beside writes of x and slots.
    length = int(weights + slots + weights / 2)
    source, target = np.ones(length, dtype), np.zeros(length, dtype)

    def run():
        for _ in range(UPDATES):
            np.copyto(target, source)

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="*", default=list(PAIRS), choices=list(PAIRS))
    parser.add_argument("--shapes", default="mixed", choices=list(SHAPES))
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    options = parser.parse_args()
    shapes = SHAPES[options.shapes]
    total = sum(int(np.prod(shape)) for shape in shapes)
    print(f"{len(shapes)} variables ({options.shapes}), {total:,} parameters, {options.dtype}; ms an update")
    heads = ["ours", "keras", "copy", "ours/keras", "ours/copy", "begin ours", "begin keras, s"]
    print(f"{'rule':14}" + "".join(f"{head:>14}" for head in heads))
    for name in options.only:
        runs, begun = sides([name], shapes, options.dtype)
        times = {key: [] for key in runs}
        for _ in range(options.rounds):
            for key, run in runs.items():
                start = time.perf_counter()
                run()
                times[key].append((time.perf_counter() - start) / UPDATES * 1e3)
        ours, other, copy = (float(np.median(times[name, side])) for side in ("ours", "keras", "copy"))
        figures = [ours, other, copy, ours / other, ours / copy, begun[name, "ours"], begun[name, "keras"]]
        print(f"{name:14}" + "".join(f"{figure:14.2f}" for figure in figures), flush=True)


if __name__ == "__main__":
    main()
