"""What the model is."""

import tensorflow as tf
from absl import flags

import data
import engine
from cli import transfer
from cli.values import integers
from layers import nets

FLAGS = flags.FLAGS
IMAGENET = {f"resnet{depth}": getattr(nets, f"resnet{depth}") for depth in (18, 34, 50, 101, 152)}
CIFAR = tuple(f"resnet{depth}" for depth in (20, 32, 44, 56))
MODELS = ("mlp", "convnet", "fast_cifar", *CIFAR, *IMAGENET, "efficientnet_lite0")
RECURRENT = ("text_lstm", "text_bilstm", "text_gru")
TEXT_MODELS = ("text_average", *RECURRENT)
LANGUAGE_MODELS = ("transformer_lm", "lstm_lm")
ALL = (*MODELS, *TEXT_MODELS, *LANGUAGE_MODELS)
# Which networks a flag is for.
_TAKERS = {
    "units": ("mlp", "convnet", *RECURRENT, "lstm_lm"),
    "filters": ("convnet", "fast_cifar"),
    "views": ("fast_cifar",),
    "dropout": tuple(model for model in ALL if model != "fast_cifar"),
    "batch_norm": ("convnet",),
    "embedding_dim": (*TEXT_MODELS, *LANGUAGE_MODELS),
    "pooling": RECURRENT,
    "blocks": LANGUAGE_MODELS,
    "num_heads": ("transformer_lm",),
}
flags.DEFINE_enum("model", "convnet", ALL, "The network.")
flags.DEFINE_list("units", ["128"], "Units of the dense layers before the logits.")
flags.DEFINE_list("filters", ["32", "64"], "Filters of the convolutions (convnet), or of the blocks (fast_cifar).")
flags.DEFINE_integer("views", 1, "Views of a picture that an evaluation takes the mean of: 1, 2 or 6 (fast_cifar).")
flags.DEFINE_float("dropout", 0.0, "Rate of dropout before the logits.")
flags.DEFINE_boolean("batch_norm", False, "BatchNorm after each convolution (convnet).")
flags.DEFINE_integer("embedding_dim", 64, "Values of a token's vector, and of a transformer's positions.", 1)
flags.DEFINE_enum("pooling", "last", ["last", "mean"], "What of a recurrent text model's tokens the logits see.")
flags.DEFINE_integer("blocks", 1, "Blocks of a transformer, or LSTMs of a language model.", lower_bound=1)
flags.DEFINE_integer("num_heads", 4, "Heads of a transformer's attention.", lower_bound=1)


def is_language_model() -> bool:
    """Whether the model predicts each next token of a text, and not a class of the whole."""
    return FLAGS.model in LANGUAGE_MODELS


def make_text_model(info: data.Info, units: list[int]) -> tf.Module:
    """The network for token ids."""
    if info.classes is None or not units:
        raise ValueError(f"--model={FLAGS.model} needs --units, and a --dataset with classes, not {FLAGS.dataset}")
    shared = {"dropout": FLAGS.dropout}
    if FLAGS.model in TEXT_MODELS:
        shared["output_dim"] = FLAGS.embedding_dim
        if FLAGS.model == "text_average":
            return nets.TextAverage(FLAGS.vocabulary_size, info.classes, **shared)
        cell = FLAGS.model.removeprefix("text_")
        shared |= {"cell": cell, "units": units[0], "pooling": FLAGS.pooling}
        return nets.TextRNN(FLAGS.vocabulary_size, info.classes, **shared)
    shared |= {"features": FLAGS.embedding_dim, "blocks": FLAGS.blocks}
    if FLAGS.model == "transformer_lm":
        return nets.TransformerLM(info.classes, num_heads=FLAGS.num_heads, **shared)
    return nets.RecurrentLM(info.classes, units=units[0], **shared)


def make_image_model(info: data.Info, units: list[int]) -> tf.Module:
    """The network for pictures or rows of numbers."""
    shape, classes = info.input_shape, info.classes
    if shape == () or classes is None:
        texts = ", ".join([*TEXT_MODELS, *LANGUAGE_MODELS])
        raise ValueError(
            f"--model={FLAGS.model} takes pictures or numbers, not {FLAGS.dataset}; for texts there are {texts}"
        )
    if FLAGS.model == "mlp":
        return nets.mlp(shape, classes, units=units, dropout=FLAGS.dropout)
    if FLAGS.model == "convnet":
        options = {"units": units, "dropout": FLAGS.dropout, "batch_norm": FLAGS.batch_norm}
        return nets.convnet(shape, classes, filters=integers("filters"), **options)
    if len(shape) != 3:
        raise ValueError(f"--model={FLAGS.model} takes pictures, and {FLAGS.dataset} has examples of shape {shape}")
    if FLAGS.model == "fast_cifar":
        return nets.fast_cifar(shape, classes, filters=integers("filters"), views=FLAGS.views)
    if FLAGS.model == "efficientnet_lite0":
        return nets.efficientnet_lite0(shape, classes, dropout=FLAGS.dropout, pixels=nets.lite_pixels())
    if FLAGS.model in IMAGENET:
        made, pixels = IMAGENET[FLAGS.model](shape, classes), nets.caffe_pixels() if shape[-1] == 3 else None
    else:
        made, pixels = nets.cifar_resnet(shape, classes, depth=int(FLAGS.model.removeprefix("resnet"))), None
    return nets.Classifier(made.backbone, made.head, dropout=FLAGS.dropout, pixels=pixels)


def tell_unread_flags() -> None:
    """A line on each flag that is for other networks: a flagfile may have it, and the line another model."""
    for name, takers in _TAKERS.items():
        if FLAGS.model not in takers and FLAGS[name].value != FLAGS[name].default:
            print(f"note: --{name} is not for --model={FLAGS.model}, but for {', '.join(takers)}")


def make_model(info: data.Info) -> tf.Module:
    """The network for a data set; its initial values depend on the seed alone, and on what is pretrained."""
    tf.random.set_seed(FLAGS.seed)
    if FLAGS.model in TEXT_MODELS and FLAGS.dataset == "char_text":
        raise ValueError(f"--model={FLAGS.model} takes whole texts, and char_text has windows: text_lines has lines")
    make = make_image_model if FLAGS.model in MODELS else make_text_model
    model = make(info, integers("units"))
    if FLAGS.pretrained:
        transfer.load_pretrained(model)
    transfer.freeze(model)
    return engine.cast(model, "float64") if FLAGS.precision == "float64" else model
