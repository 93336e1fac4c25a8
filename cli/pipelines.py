"""What the data is."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

import data
from cli import networks, transfer
from cli.values import integers

FLAGS = flags.FLAGS
_MOST_NUMBERS = 1 << 23
TOKENIZERS: dict[str, Any] = {"words": data.text.Words, "word_pairs": data.text.WordPairs}
TOKENIZERS |= {"characters": data.text.Characters, "byte_pairs": data.text.BytePairs}

flags.DEFINE_string("dataset", "fashion_mnist_mini", f"The data set: {', '.join(data.NAMES)}, tfds:NAME.")
flags.register_validator(
    "dataset",
    lambda name: name in data.NAMES or name.startswith("tfds:"),
    message=f"data sets are {', '.join(data.NAMES)}, tfds:NAME",
)
flags.DEFINE_string("data_dir", None, "The folder of a data set that is not embedded.")
flags.DEFINE_boolean("download", False, "Fetch an official data set that is not in data_dir into the cache.")
flags.DEFINE_list("image_size", [], "Height and width that images are resized to (image_folder).")
flags.DEFINE_enum("on_bad_file", "error", ["error", "skip"], "What becomes of unreadable files (image_folder).")
flags.DEFINE_integer("classes", None, "Number of classes (npz, npy, tfrecord).", lower_bound=1)
flags.DEFINE_float("test_fraction", 0.0, "Share of a data set without a test set that is held out as one.", 0, 0.9)
flags.DEFINE_float("validation_fraction", 0.0, "Share of the training set that is held out for validation.", 0, 0.9)
flags.DEFINE_integer("batch_size", 64, "Examples per update.")
flags.DEFINE_list("class_weights", [], "How much examples count by class, such as 0=2,7=0.5; other classes count 1.")
flags.DEFINE_boolean("balanced", False, "Epochs draw as many examples of each class as the largest one has.")
flags.DEFINE_string(
    "augment",
    "",
    "Augmentations of the training set, in their order, such as random_crop(padding=2),mixup(0.2): "
    f"{', '.join(data.augment.NAMES)}.",
)
flags.DEFINE_enum("tokenizer", "words", list(TOKENIZERS), "What texts are cut into; char_text has its own characters.")
flags.DEFINE_integer("vocabulary_size", 10000, "Tokens that are known at most, the commonest.", lower_bound=3)
flags.DEFINE_integer("max_length", 100, "Tokens of a text at most; of a language model, tokens in a window.", 1)


def load(split: str) -> data.Arrays:
    """A split of the data set, with the options that its kind of file has."""
    options = {}
    if FLAGS.dataset == "image_folder":
        options = {"on_bad_file": FLAGS.on_bad_file, "image_size": integers("image_size") or None}
    elif FLAGS.dataset in ("npz", "npy", "tfrecord"):
        if FLAGS.classes is None:
            raise ValueError(f"--dataset={FLAGS.dataset} needs --classes, the number of classes")
        options = {"classes": FLAGS.classes}
    elif FLAGS.dataset == "char_text":
        options = {"window": FLAGS.max_length}
    return data.load(FLAGS.dataset, split=split, data_dir=FLAGS.data_dir, download=FLAGS.download, **options)


def first_of(source: Any, count: int) -> dict[str, Any]:
    """The first examples of a source or a stream, as its gather gives them: a dict of arrays."""
    if getattr(source, "length", 0) is None:
        return next(source.dataset().batch(count).as_numpy_iterator())
    return source[np.arange(min(count, len(source)))]


def as_floats(source: Any) -> Callable | None:
    """What makes the numbers that a network takes of a source's inputs: nothing, where they are floats as they are."""
    return None if np.issubdtype(first_of(source, 1)["inputs"].dtype, np.floating) else data.to_float


def splits() -> tuple[data.Arrays, data.Arrays | None, data.Arrays]:
    """Training, validation (or None) and test, as the data set has them."""
    source, stratify = load("train"), not networks.is_language_model()
    if FLAGS.test_fraction:
        share = FLAGS.test_fraction
        parts = data.split(source, {"train": 1 - share, "test": share}, FLAGS.seed, stratify)
        source, test = parts["train"], parts["test"]
    else:
        test = load("test")
    validation = None
    if FLAGS.validation_fraction:
        share = FLAGS.validation_fraction
        parts = data.split(source, {"train": 1 - share, "validation": share}, FLAGS.seed, stratify)
        source, validation = parts["train"], parts["validation"]
    return source, validation, test


def make_pipelines() -> tuple[data.Pipeline, data.Pipeline | None, data.Pipeline]:
    """Training, validation (or None) and test."""
    source, validation, test = splits()
    augment = data.augment.parse(FLAGS.augment, source.info.classes)
    if FLAGS.model in networks.MODELS:
        transform = None if source.info.input_shape == () else as_floats(source)
    else:
        if FLAGS.dataset != "char_text" and source.info.input_shape != ():
            others = ", ".join(networks.MODELS)
            raise ValueError(f"--model={FLAGS.model} takes texts, which {FLAGS.dataset} has not; others are {others}")
        # The vocabulary is that of the training set alone.
        if getattr(source, "length", 0) is None:
            raise ValueError(f"--model={FLAGS.model} needs all texts, for its vocabulary: {FLAGS.dataset} is a stream")
        transform, tokenizer = None, make_tokenizer(source)
        source, validation, test = (each and as_tokens(each, tokenizer) for each in (source, validation, test))
    if has_soft_labels():
        # Those of an evaluation take the same form.
        one_hot = data.one_hot(source.info.classes)
        transform = data.augment.compose(transform, one_hot) if transform else one_hot
    source = data.balanced(source, seed=FLAGS.seed) if FLAGS.balanced else source
    options = {"augment": augment, "transform": transform, "weights": _class_weights() or None}
    train = data.Pipeline(source, FLAGS.batch_size, **options)

    def evaluated(held_out):
        # A stream can't be asked for its len().
        size = held_out.examples if hasattr(held_out, "examples") else len(held_out)
        # Large pictures in smaller batches: at most 32 MiB of them.
        numbers = math.prod(size or 1 for size in source.info.input_shape)
        most = FLAGS.batch_size if networks.is_language_model() else min(500, max(8, _MOST_NUMBERS // numbers))
        return data.Pipeline(held_out, min(most, size), shuffle=False, transform=transform)

    return train, evaluated(validation) if validation else None, evaluated(test)


def featured(
    model: tf.Module, pipeline: data.Pipeline, validation: data.Pipeline | None
) -> tuple[data.Pipeline, data.Pipeline | None]:
    """Training and validation as they are read at first: features, while those do not change, else what they are."""
    if not transfer.caches(pipeline):
        return pipeline, validation
    weights = _class_weights() or None
    read = transfer.featured(model, pipeline, training=True, weights=weights)
    return read, validation and transfer.featured(model, validation, training=False, weights=None)


def has_soft_labels() -> bool:
    """Whether labels are rows over the classes, as mixup makes them, and not class numbers."""
    return getattr(data.augment.parse(FLAGS.augment), "soft_labels", False)


def make_tokenizer(source: data.Arrays) -> Any:
    """What turns texts into token ids, learned from a source of texts; that of `char_text` is its own characters."""
    if FLAGS.dataset == "char_text":
        return data.text.Alphabet(source.info.class_names)
    texts = data.text.texts_of(source)
    if networks.is_language_model():
        # As the windows have them.
        texts = (text + b"\n" for text in texts)
    return TOKENIZERS[FLAGS.tokenizer].train(texts, FLAGS.vocabulary_size)


def as_tokens(source: data.Arrays, tokenizer: Any) -> data.Arrays:
    """A source of texts as one of token ids: windows for a language model, else one sequence for each text."""
    if FLAGS.dataset == "char_text":
        return source
    if networks.is_language_model():
        return data.text.windows(source, tokenizer, FLAGS.max_length)
    return data.text.tokens(source, tokenizer, max_length=FLAGS.max_length)


def _class_weights() -> dict[int, float]:
    try:
        pairs = [part.split("=") for part in FLAGS.class_weights]
        weights = {int(number): float(weight) for number, weight in pairs}
    except ValueError:
        given = FLAGS["class_weights"].serialize()
        raise ValueError(f"--class_weights must be class=weight with commas between, got {given}") from None
    if len(weights) < len(pairs):
        raise ValueError(f"{FLAGS['class_weights'].serialize()}: a class has one weight")
    return weights
