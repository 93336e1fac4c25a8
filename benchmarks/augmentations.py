"""What each augmentation costs, beside Keras' preprocessing layer for the same.

    python benchmarks/augmentations.py [--size 32] [--batch 256] [--rounds 30] [--only rotation(15)]

Both sides are compiled functions of one batch of uint8 images `[batch, size, size, 3]`, and take turns in random order.
Figures are medians of milliseconds for 1,000 images, draws included, and the fastest of all rounds, which other work on
the machine touches least. Ours answer with uint8, and `to_float` comes after them once; Keras' answer with float32.
Where Keras has no such layer, the nearest one stands there, marked with ~.
"""

import argparse
import os
import random
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from keras import layers

import data
from data.draws import Draws

# Keras' layer for images of a size.
PEERS = {
    "to_float": lambda size: layers.Rescaling(1 / 255),
    "resize": lambda size: layers.Resizing(size * 3 // 4, size * 3 // 4, antialias=True),
    "flip_left_right": lambda size: layers.RandomFlip("horizontal"),
    "flip_up_down": lambda size: layers.RandomFlip("vertical"),
    "random_crop(4)": lambda size: layers.RandomTranslation(4 / size, 4 / size, "constant", "nearest"),
    "random_resized_crop": lambda size: layers.RandomZoom((-0.5, 0), (-0.5, 0), "nearest"),
    "rotation(15)": lambda size: layers.RandomRotation(15 / 360, "constant"),
    "rotation(15, interpolation='nearest')": lambda size: layers.RandomRotation(15 / 360, "constant", "nearest"),
    "zoom(0.2)": lambda size: layers.RandomZoom(0.2, fill_mode="constant"),
    "translation(0.1)": lambda size: layers.RandomTranslation(0.1, 0.1, "constant"),
    "shear(0.2)": lambda size: layers.RandomShear(0.2, 0.0, fill_mode="constant"),
    "brightness(0.2)": lambda size: layers.RandomBrightness(0.2),
    "contrast(0.2)": lambda size: layers.RandomContrast(0.2),
    "saturation(0.2)": lambda size: layers.RandomColorDegeneration(0.2),
    "hue(0.1)": lambda size: layers.RandomHue(0.2, value_range=(0, 255)),
    "cutout(8)": lambda size: layers.RandomErasing(1.0, (0.06, 0.07), fill_value=0.0),
    "random_erasing": lambda size: layers.RandomErasing(1.0, (0.02, 0.4), fill_value=0.0),
    "mixup(0.2)": lambda size: layers.MixUp(0.2),
    "cutmix": lambda size: layers.CutMix(1.0),
    "rand_augment": lambda size: layers.RandAugment(num_ops=2, factor=0.3),
}
NOT_THE_SAME = ("random_crop(4)", "random_resized_crop", "cutout(8)")


def made(name, size):
    """Ours as a function (batch, draws) -> batch."""
    if name == "to_float":
        return data.to_float
    if name == "resize":
        return data.resize(size * 3 // 4, size * 3 // 4)
    return data.augment.parse(name, classes=10)


def sides(name, size, batch):
    """Compiled functions of a step, ours and Keras'."""
    augment, layer = made(name, size), PEERS[name](size)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, [batch, size, size, 3], np.uint8))
    labels = tf.range(batch) % 10
    rows = tf.one_hot(labels, 10)

    @tf.function(autograph=False)
    def ours(step):
        return augment({"inputs": images, "labels": labels}, Draws(0, step, 0, batch))

    @tf.function(autograph=False)
    def theirs(_):
        mixes = name in ("mixup(0.2)", "cutmix")
        return layer({"images": images, "labels": rows} if mixes else images, training=True)

    return ours, theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option, default in {"size": 32, "batch": 256, "rounds": 30}.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--only", nargs="*", default=list(PEERS), choices=list(PEERS))
    flags = parser.parse_args()
    print(f"{flags.size}×{flags.size}×3, batches of {flags.batch}; ms for 1,000 images")
    print(
        f"{'':38}{'medians: ours':>16}{'Keras':>9}{'ours/Keras':>12}{'fastest: ours':>18}{'Keras':>9}{'ours/Keras':>12}"
    )
    for name in flags.only:
        functions = sides(name, flags.size, flags.batch)
        times = [[], []]
        # The first two rounds trace.
        for step in range(-2, flags.rounds):
            number = tf.constant(step % 1000, tf.int64)
            for side in random.sample(range(2), 2):
                begin = time.perf_counter()
                functions[side](number)
                if step >= 0:
                    times[side].append((time.perf_counter() - begin) * 1e6 / flags.batch)
        mark, row = "~" if name in NOT_THE_SAME else " ", f"{name:38}"
        for summary, width in ((statistics.median, 16), (min, 18)):
            ours, theirs = map(summary, times)
            row += f"{ours:{width}.1f}{mark:>2}{theirs:7.1f}{ours / theirs:12.2f}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
