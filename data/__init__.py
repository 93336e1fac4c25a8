"""data: what the examples are (sources), and in which order and form they come (the pipeline).

>>> source = load("fashion_mnist_mini")
>>> parts = split(source, {"train": 0.9, "validation": 0.1}, seed=0)
>>> pipeline = Pipeline(parts["train"], 64, augment=augment.flip_left_right(), transform=to_float)
>>> batch = next(iter(pipeline.training(seed=0)))
>>> batch["inputs"].shape, batch["inputs"].dtype
(TensorShape([64, 28, 28, 1]), tf.float32)
"""

from data import augment
from data.catalogue import NAMES, load
from data.pipeline import Pipeline
from data.sources import Arrays, Info, Subset
from data.splits import split
from data.transforms import to_float

__all__ = ["NAMES", "Arrays", "Info", "Pipeline", "Subset", "augment", "load", "split", "to_float"]
