"""data: what the examples are (sources), and in which order and form they come (the pipeline).

>>> source = load("fashion_mnist_mini")
>>> parts = split(source, {"train": 0.9, "validation": 0.1}, seed=0)
>>> pipeline = Pipeline(parts["train"], 64, augment=augment.flip_left_right(), transform=to_float)
>>> batch = next(iter(pipeline.training(seed=0)))
>>> batch["inputs"].shape, batch["inputs"].dtype
(TensorShape([64, 28, 28, 1]), tf.float32)
"""

from data import augment, text
from data.balance import balanced
from data.catalogue import NAMES, load
from data.concatenation import concatenate
from data.image_folder import ImageFolder
from data.marks import by_example
from data.numpy_files import NpyFiles
from data.own_files import OwnPictures, OwnTexts
from data.pipeline import Pipeline
from data.sequences import Sequences
from data.sources import Arrays, Info, Subset
from data.splits import split
from data.text_files import CharText, TextLines
from data.tfrecord import TFRecords
from data.transforms import normalize, one_hot, resize, to_float

__all__ = [
    "NAMES",
    "Arrays",
    "CharText",
    "ImageFolder",
    "Info",
    "NpyFiles",
    "OwnPictures",
    "OwnTexts",
    "Pipeline",
    "Sequences",
    "Subset",
    "TFRecords",
    "TextLines",
    "augment",
    "balanced",
    "by_example",
    "concatenate",
    "load",
    "normalize",
    "one_hot",
    "resize",
    "split",
    "text",
    "to_float",
]
