"""What it saves to compute a frozen backbone's features once.

python benchmarks/feature_cache.py [--model=resnet50 --size=64 --pictures=96 --epochs=5]

The same frozen backbone, head, data, order and seed, with features computed once and with the backbone in every
step: seconds of the whole fit (features and tracing included) and of an epoch after the first, and how far the weights
lie apart in the end.
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


class Clock(engine.hooks.Hook):
    """Seconds at each epoch's end."""

    def __init__(self):
        super().__init__("clock")
        self.seconds = []

    def on_epoch_end(self, run, record):
        self.seconds.append(time.perf_counter())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["resnet50", "resnet18", "efficientnet_lite0"], default="resnet50")
    parser.add_argument("--size", type=int, default=64, help="height and width of the pictures")
    parser.add_argument("--pictures", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    random = np.random.default_rng(0)
    inputs = random.integers(0, 256, [given.pictures, given.size, given.size, 3], np.uint8)
    source = data.Arrays(inputs, random.integers(0, 10, given.pictures, np.int32), info=data.Info("noise", 10))
    weights = {}
    for cached in (True, False):
        tf.random.set_seed(0)
        model = getattr(nets, given.model)((given.size, given.size, 3), 10)
        engine.freeze(model.backbone)
        trainer = engine.Trainer(model, "sparse_categorical_crossentropy", optim.Adam(1e-3), jit_compile=False)
        clock, begun = Clock(), time.perf_counter()
        pipeline = data.Pipeline(source, 32, transform=data.to_float)
        if cached:
            found = engine.features(model, pipeline)
            kept = data.Arrays(found["inputs"], found["labels"])
            pipeline = data.Pipeline(kept, 32, transform=lambda b: {**b, "inputs": {"features": b["inputs"]}})
        trainer.fit(pipeline, epochs=given.epochs, hooks=[clock])
        epoch = (clock.seconds[-1] - clock.seconds[0]) / max(1, given.epochs - 1)
        name = "features once" if cached else "in every step"
        print(f"{name}: {clock.seconds[-1] - begun:7.2f} s in all, {epoch:8.4f} s an epoch after the first", flush=True)
        weights[cached] = model.head.kernel.numpy()
    apart = np.abs(weights[True] - weights[False]).max() / np.abs(weights[False]).max()
    print(f"the heads' kernels lie {apart:.1e} apart, of their largest weight")


if __name__ == "__main__":
    main()
