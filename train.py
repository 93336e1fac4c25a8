"""The hall: flags become parts, and the parts become a run.

python train.py --flagfile=configs/fashion_mnist_mini.cfg
"""

import time

_STARTED = time.perf_counter()

import contextlib  # noqa: E402 - the clock comes first: the time to the first step includes the imports
import functools  # noqa: E402
import inspect  # noqa: E402
import math  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import shlex  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import threading  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402


@contextlib.contextmanager
def _held_stderr():
    """Holds back what native libraries say about themselves while they load; shows it if loading fails."""
    with tempfile.TemporaryFile() as said, contextlib.ExitStack() as stack:
        kept = os.dup(2)
        stack.callback(os.close, kept)
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)


@contextlib.contextmanager
def _left_on_signals():
    """Ends the process in one line at a signal while what has better means (`engine.signals`) is being loaded."""
    stderr = os.dup(2)

    def leave(number, _):
        os.write(stderr, f"{_LEFT % signal.Signals(number).name}\n".encode())
        os._exit(128 + number)

    # Python takes signals in the main thread only.
    taken = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    handlers = {number: signal.signal(number, leave) for number in taken}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(stderr)


_LEFT = "train.py: %s, and no step to be saved: start it again to go on"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with _left_on_signals(), _held_stderr():
    import numpy as np
    import tensorflow as tf
    from absl import app, flags, logging

    import data
    import engine
    import optim
    from engine.files import run_directory
    from engine.signals import leave_on_signals
    from layers import nets

FLAGS = flags.FLAGS
MODELS = {"mlp": nets.mlp, "convnet": nets.convnet}
TEXT_MODELS = ("text_average", "text_lstm", "text_bilstm", "text_gru")
LANGUAGE_MODELS = ("transformer_lm", "lstm_lm")
TOKENIZERS = {"words": data.text.Words, "word_pairs": data.text.WordPairs}
TOKENIZERS |= {"characters": data.text.Characters, "byte_pairs": data.text.BytePairs}
# Rules by name, where this program has defaults of its own with those; each takes the flags that its constructor names.
OPTIMIZERS = {
    "sgd": functools.partial(optim.SGD, momentum=0.9),
    "adamw": functools.partial(optim.AdamW, weight_decay=1e-2),
    **{name.lower(): getattr(optim, name) for name in ("LARS", "Lamb", "Adam", "Adamax", "Nadam", "RAdam", "Lion")},
    **{name.lower(): getattr(optim, name) for name in ("RMSprop", "Adagrad", "Adadelta", "Adafactor", "Ftrl", "Muon")},
    "schedule_free_sgd": optim.ScheduleFreeSGD,
    "schedule_free_adamw": optim.ScheduleFreeAdamW,
}
RULE_FLAGS = ("momentum", "nesterov", "rho", "beta_1", "beta_2", "epsilon", "weight_decay")
SCHEDULES = ("constant", "exponential", "inverse_time", "inverse_sqrt", "piecewise", "polynomial", "cosine")
SCHEDULES += ("cosine_restarts", "cyclic", "one_cycle")
AVERAGES = ("ema", "swa", "polyak")

# What the data is.
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

# What the model is.
flags.DEFINE_enum("model", "convnet", [*MODELS, *TEXT_MODELS, *LANGUAGE_MODELS], "The network.")
flags.DEFINE_list("units", ["128"], "Units of the dense layers before the logits.")
flags.DEFINE_list("filters", ["32", "64"], "Filters of the convolutions (convnet).")
flags.DEFINE_float("dropout", 0.0, "Rate of dropout before the logits.")
flags.DEFINE_boolean("batch_norm", False, "BatchNorm after each convolution (convnet).")
flags.DEFINE_integer("embedding_dim", 64, "Values of a token's vector, and of a transformer's positions.", 1)
flags.DEFINE_enum("pooling", "last", ["last", "mean"], "What of a recurrent text model's tokens the logits see.")
flags.DEFINE_integer("blocks", 1, "Blocks of a transformer, or LSTMs of a language model.", lower_bound=1)
flags.DEFINE_integer("num_heads", 4, "Heads of a transformer's attention.", lower_bound=1)

# How it learns.
flags.DEFINE_enum("optimizer", "adam", list(OPTIMIZERS), "The update rule.")
flags.DEFINE_float("learning_rate", 1e-3, "The learning rate; with a schedule, its first or highest value.")
flags.DEFINE_float("momentum", None, "Momentum; 0.9 for sgd unless given. Like the next six: the rule's own default.")
flags.DEFINE_boolean("nesterov", None, "Nesterov momentum.")
flags.DEFINE_float("rho", None, "Decay of the mean square (rmsprop, adadelta).")
flags.DEFINE_float("beta_1", None, "Decay of the first moment; of schedule-free rules, the weight of their average.")
flags.DEFINE_float("beta_2", None, "Decay of the second moment; of lion, of the first.")
flags.DEFINE_float("epsilon", None, "Added to what the step is divided by, or below its root.")
flags.DEFINE_float("weight_decay", None, "Decoupled weight decay; 0.01 for adamw unless given.")
flags.DEFINE_enum("schedule", "constant", SCHEDULES, "How the learning rate moves.")
flags.DEFINE_integer("warmup_steps", 0, "Steps of linear warm-up before the schedule.", lower_bound=0)
flags.DEFINE_integer("stable_steps", 0, "Steps at learning_rate after the warm-up, before the schedule.", lower_bound=0)
flags.DEFINE_integer("decay_steps", None, "Steps of the decay, or of a cycle; unless given, to the run's end.", 1)
flags.DEFINE_float("decay_rate", 0.1, "Factor over decay_steps (exponential), or at each boundary (piecewise).")
flags.DEFINE_list("boundaries", [], "After which steps, counted from the warm-up's end, the rate falls (piecewise).")
flags.DEFINE_float("end_rate", 0.0, "The lowest rate, as a share of learning_rate (polynomial, cosines, cyclic).", 0, 1)
flags.DEFINE_float("power", 1.0, "Exponent (polynomial).")

flags.DEFINE_float("clip_global_norm", None, "Clip gradients by their global norm.")
flags.DEFINE_float("clip_norm", None, "Clip each gradient by its own norm.")
flags.DEFINE_float("clip_value", None, "Clip gradients' values to plus or minus this.")
flags.DEFINE_boolean("reduce_on_plateau", False, "Reduce the rate when the monitored value no longer improves.")
flags.DEFINE_float("plateau_factor", 0.1, "What the rate is multiplied by (reduce_on_plateau).")
flags.DEFINE_integer("plateau_patience", 10, "Looks without improvement before that.", lower_bound=0)
flags.DEFINE_integer("plateau_cooldown", 0, "Looks that do not count after that.", lower_bound=0)
flags.DEFINE_float("min_learning_rate", 0.0, "What reduce_on_plateau does not go below.", lower_bound=0)
flags.DEFINE_enum("average", None, AVERAGES, "An average of the weights: evaluated and saved.")
flags.DEFINE_float("average_decay", None, "Decay of the average (ema); 0.999 unless given.", 0, 0.9999999)
flags.DEFINE_integer("average_start", None, "Updates before the mean begins (swa, polyak); 0 unless given.", 0)
flags.DEFINE_integer("average_every", None, "Updates from one value of the mean to the next (swa).", 1)

# On what it runs. None of this changes what a batch means: batch_size is examples per update.
flags.DEFINE_enum("strategy", "auto", engine.strategies.NAMES, "Where replicas are: here or on several machines.")
flags.DEFINE_integer("num_replicas", None, "Replicas (mirrored): GPUs, or logical devices of the processor.", 1)
flags.DEFINE_float("worker_timeout_s", 300, "Seconds to wait for the other workers to come (multi_worker).", 0)
flags.DEFINE_integer("accumulate_steps", 1, "Parts in which a replica computes its slice of a batch.", lower_bound=1)
flags.DEFINE_enum("precision", "float32", list(engine.precision.PRECISIONS), "Dtype of computation.")
flags.DEFINE_enum("loss_scaling", "auto", ["auto", "dynamic", "none"], "auto: dynamic for float16, else none.")
flags.DEFINE_boolean("jit_compile", False, "Compile forward and backward with XLA.")
flags.DEFINE_enum("on_non_finite", "raise", engine.non_finite.POLICIES, "What becomes of a step that is not finite.")
flags.DEFINE_integer("max_non_finite", 10, "Steps in all that may be skipped or rolled back.", lower_bound=1)
flags.DEFINE_boolean("check_numerics", False, "Stop at the first op of the training loop that makes a NaN or infinity.")
flags.DEFINE_float("explosion_factor", 10.0, "Warn of a loss above this times its running median; 0: never.", 0)
flags.DEFINE_integer("max_traces", None, "Traces of the training loop beyond which it is an error.", lower_bound=1)

# How long, and what comes between.
flags.DEFINE_integer("epochs", 10, "Epochs in all.", lower_bound=1)
flags.DEFINE_integer("max_steps", None, "Updates in all, if fewer than the epochs make.", lower_bound=1)
flags.DEFINE_integer("evaluate_every", None, "Steps between validations, instead of epochs.", lower_bound=1)
flags.DEFINE_integer("steps_per_loop", 100, "Steps in one compiled call.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Of every random stream.")
flags.DEFINE_boolean("early_stopping", False, "End when the monitored value no longer improves.")
flags.DEFINE_string("monitor", "validation.loss", "What early_stopping, reduce_on_plateau and keep_best look at.")
flags.DEFINE_integer("patience", 3, "Looks without improvement after which early stopping ends the run.", lower_bound=0)
flags.DEFINE_float("min_delta", 0.0, "What counts as improvement.", lower_bound=0)
flags.DEFINE_boolean("restore_best", True, "Early stopping puts the best weights back.")

# What is written.
flags.DEFINE_string(
    "run_dir", None, "The run's folder; one that holds a run is resumed. Default: runs/<config>-<time>."
)
flags.DEFINE_integer("checkpoint_every", None, "Steps between checkpoints, beside those at each epoch's end.", 1)
flags.DEFINE_float("checkpoint_every_s", None, "Seconds between checkpoints, beside those.", 0)
flags.DEFINE_integer("keep", 3, "Newest checkpoints that stay.", lower_bound=1)
flags.DEFINE_integer("keep_best", 0, "Best checkpoints by the monitored value that stay beside them.", lower_bound=0)
flags.DEFINE_integer("keep_every", None, "Each n-th checkpoint stays for ever.", lower_bound=1)
flags.DEFINE_boolean("log_every_step", False, "A line of history.jsonl for each step instead of each loop.")
flags.DEFINE_boolean("tensorboard", True, "Write scalars for TensorBoard.")
flags.DEFINE_enum(
    "mode",
    "train",
    ["train", "export", "generate"],
    "export: the finished run in run_dir becomes a SavedModel. generate: its language model goes on from the prompt.",
)
flags.DEFINE_string("prompt", "\n", "What a generated text begins with.")
flags.DEFINE_integer("length", 500, "Tokens to generate.", lower_bound=1)
flags.DEFINE_float("temperature", 1.0, "What logits are divided by; 0: always the likeliest token.", 0)
flags.DEFINE_integer("top_k", None, "Only the k likeliest tokens are drawn from.", lower_bound=1)
flags.DEFINE_float("top_p", 1.0, "Only the likeliest tokens that together reach this are drawn from.", 0, 1)
flags.DEFINE_string("replay", None, "Repeat, op by op, the step saved in <run>/failures/step-<number>; nothing else.")
flags.DEFINE_list("drop_hooks", [], "Hooks whose state in the checkpoint may be forgotten.")

# What may differ when a run is resumed. Everything else is what the run is.
MAY_CHANGE = frozenset(
    ["epochs", "max_steps", "evaluate_every", "steps_per_loop", "download"]
    + ["strategy", "num_replicas", "worker_timeout_s", "accumulate_steps", "jit_compile", "max_traces"]
    + ["early_stopping", "monitor", "patience", "min_delta", "restore_best"]
    + ["checkpoint_every", "checkpoint_every_s", "keep", "keep_best", "keep_every"]
    + ["check_numerics", "explosion_factor", "max_non_finite"]
    + ["log_every_step", "tensorboard", "drop_hooks"]
)
# What workers of one run may have each for itself.
OF_ONE_WORKER = ("data_dir", "download", "worker_timeout_s")
# What only other modes read, and no run depends on.
OF_MODES = ("run_dir", "replay", "mode", "prompt", "length", "temperature", "top_k", "top_p")
# A finished run goes on only if one of these differs.
PROLONGS = ("epochs", "max_steps", "early_stopping", "monitor", "patience", "min_delta", "restore_best")


def load(split: str) -> data.Arrays:
    """A split of the data set, with the options that its kind of file has."""
    options = {}
    if FLAGS.dataset == "image_folder":
        options = {"on_bad_file": FLAGS.on_bad_file, "image_size": _integers("image_size") or None}
    elif FLAGS.dataset in ("npz", "npy", "tfrecord"):
        if FLAGS.classes is None:
            raise ValueError(f"--dataset={FLAGS.dataset} needs --classes, the number of classes")
        options = {"classes": FLAGS.classes}
    elif FLAGS.dataset == "char_text":
        options = {"window": FLAGS.max_length}
    return data.load(FLAGS.dataset, split=split, data_dir=FLAGS.data_dir, download=FLAGS.download, **options)


def make_pipelines() -> tuple[data.Pipeline, data.Pipeline | None, data.Pipeline]:
    """Training, validation (or None) and test."""
    source, stratify = load("train"), not is_language_model()
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
    augment, transform = data.augment.parse(FLAGS.augment, source.info.classes), data.to_float
    if FLAGS.model not in MODELS:
        # The vocabulary is that of the training set alone.
        transform, tokenizer = None, make_tokenizer(source)
        source, validation, test = (each and as_tokens(each, tokenizer) for each in (source, validation, test))
    if has_soft_labels():
        # Those of an evaluation take the same form.
        transform = data.augment.compose(transform, data.one_hot(source.info.classes))
    source = data.balanced(source, seed=FLAGS.seed) if FLAGS.balanced else source
    options = {"augment": augment, "transform": transform, "weights": _class_weights() or None}
    train = data.Pipeline(source, FLAGS.batch_size, **options)

    def evaluated(held_out):
        # A stream can't be asked for its len().
        size = held_out.examples if hasattr(held_out, "examples") else len(held_out)
        most = FLAGS.batch_size if is_language_model() else 500
        return data.Pipeline(held_out, min(most, size), shuffle=False, transform=transform)

    return train, validation and evaluated(validation), evaluated(test)


def has_soft_labels() -> bool:
    """Whether labels are rows over the classes, as mixup makes them, and not class numbers."""
    return getattr(data.augment.parse(FLAGS.augment), "soft_labels", False)


def is_language_model() -> bool:
    """Whether the model predicts each next token of a text, and not a class of the whole."""
    return FLAGS.model in LANGUAGE_MODELS


def make_tokenizer(source: data.Arrays) -> Any:
    """What turns texts into token ids, learned from a source of texts; that of `char_text` is its own characters."""
    if FLAGS.dataset == "char_text":
        return data.text.Alphabet(source.info.class_names)
    return TOKENIZERS[FLAGS.tokenizer].train(data.text.texts_of(source), FLAGS.vocabulary_size)


def as_tokens(source: data.Arrays, tokenizer: Any) -> data.Arrays:
    """A source of texts as one of token ids: windows for a language model, else one sequence for each text."""
    if FLAGS.dataset == "char_text":
        return source
    if is_language_model():
        return data.text.windows(source, tokenizer, FLAGS.max_length)
    return data.text.tokens(source, tokenizer, max_length=FLAGS.max_length)


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


def make_model(info: data.Info) -> tf.Module:
    """The network for a data set; its initial values depend on the seed alone."""
    tf.random.set_seed(FLAGS.seed)
    units = _integers("units")
    if FLAGS.model not in MODELS:
        model = make_text_model(info, units)
    elif FLAGS.model == "mlp":
        model = nets.mlp(info.input_shape, info.classes, units=units, dropout=FLAGS.dropout)
    else:
        model = nets.convnet(
            info.input_shape,
            info.classes,
            filters=_integers("filters"),
            units=units,
            dropout=FLAGS.dropout,
            batch_norm=FLAGS.batch_norm,
        )
    return engine.cast(model, "float64") if FLAGS.precision == "float64" else model


def make_optimizer(schedule: Callable) -> tf.Module:
    """The update rule with its schedule, behind the clipping."""
    limits = {"clip_value": optim.clip_by_value, "clip_norm": optim.clip_by_norm}
    limits["clip_global_norm"] = optim.clip_by_global_norm
    clips = [clip(_above_0(name)) for name, clip in limits.items() if FLAGS[name].value is not None]
    rule = make_rule(schedule)
    return optim.chain(*clips, rule) if clips else rule


def make_schedule(decay_steps: int) -> Callable:
    """How the learning rate moves."""
    schedules, rate = optim.schedules, _above_0("learning_rate")
    boundaries = _integers("boundaries")
    if FLAGS.schedule == "piecewise" and not boundaries:
        raise ValueError("--schedule=piecewise needs --boundaries, the steps at which the rate falls")
    schedule = {
        "constant": lambda: schedules.constant(rate),
        "exponential": lambda: schedules.exponential(rate, decay_steps, FLAGS.decay_rate),
        "inverse_time": lambda: schedules.inverse_time(rate, decay_steps, FLAGS.decay_rate),
        "inverse_sqrt": lambda: schedules.inverse_sqrt(rate, FLAGS.warmup_steps or 1),
        "piecewise": lambda: schedules.piecewise(
            boundaries, [rate * FLAGS.decay_rate**fall for fall in range(len(boundaries) + 1)]
        ),
        "polynomial": lambda: schedules.polynomial(rate, decay_steps, rate * FLAGS.end_rate, FLAGS.power),
        "cosine": lambda: schedules.cosine(rate, decay_steps, FLAGS.end_rate),
        "cosine_restarts": lambda: schedules.cosine_restarts(rate, decay_steps, alpha=FLAGS.end_rate),
        "cyclic": lambda: schedules.cyclic(rate * FLAGS.end_rate, rate, decay_steps / 2),
        "one_cycle": lambda: schedules.one_cycle(rate, decay_steps),
    }[FLAGS.schedule]()
    if FLAGS.stable_steps:
        if FLAGS.schedule == "inverse_sqrt":
            raise ValueError("--stable_steps does not go with --schedule=inverse_sqrt, which has its own warm-up")
        schedule = schedules.join([rate, schedule], [FLAGS.stable_steps])
    # The warm-up of inverse_sqrt is its own.
    if FLAGS.warmup_steps and FLAGS.schedule != "inverse_sqrt":
        schedule = schedules.warmup(schedule, FLAGS.warmup_steps)
    return schedules.Scale(schedule) if FLAGS.reduce_on_plateau else schedule


def make_rule(schedule: Callable) -> optim.Rule:
    """The update rule with its schedule."""
    given = {name: FLAGS[name].value for name in RULE_FLAGS if FLAGS[name].value is not None}
    for name in given:
        takers = [rule for rule, make in OPTIMIZERS.items() if name in inspect.signature(make).parameters]
        if FLAGS.optimizer not in takers:
            raise ValueError(f"--{name} needs --optimizer={' or '.join(takers)}")
    return OPTIMIZERS[FLAGS.optimizer](schedule, **given)


def make_average(optimizer: tf.Module) -> optim.Average | None:
    """The average of the weights, if there is to be one."""
    if FLAGS.optimizer.startswith("schedule_free"):
        if FLAGS.average:
            raise ValueError(f"--average={FLAGS.average} needs an --optimizer without an average of its own")
        return optim.EvaluationWeights(optimizer)
    takers = {"average_decay": ("ema",), "average_start": ("swa", "polyak"), "average_every": ("swa",)}
    for name, averages in takers.items():
        if FLAGS[name].value is not None and FLAGS.average not in averages:
            raise ValueError(f"--{name} needs --average={' or '.join(averages)}")
    if FLAGS.average == "swa" and FLAGS.average_every is None:
        raise ValueError("--average=swa needs --average_every, such as the steps of an epoch")
    return {
        None: lambda: None,
        "ema": lambda: optim.EMA(0.999 if FLAGS.average_decay is None else FLAGS.average_decay),
        "swa": lambda: optim.SWA(FLAGS.average_start or 0, FLAGS.average_every),
        "polyak": lambda: optim.Polyak(FLAGS.average_start or 0),
    }[FLAGS.average]()


def make_trainer(pipeline: data.Pipeline, strategy: tf.distribute.Strategy | None) -> tuple[engine.Trainer, Callable]:
    """Model, objective, rule and how they run; and the schedule of the rule."""
    with engine.Replicas(strategy).scope():
        model, schedule = make_model(pipeline.info), make_schedule(FLAGS.decay_steps)
        optimizer = make_optimizer(schedule)
    loss, accuracy = "sparse_categorical_crossentropy", engine.metrics.SparseCategoricalAccuracy()
    if has_soft_labels():
        loss, accuracy = "categorical_crossentropy", engine.metrics.CategoricalAccuracy()
    metrics = {"accuracy": accuracy}
    if is_language_model():
        characters = FLAGS.dataset == "char_text" or FLAGS.tokenizer == "characters"
        metrics["bits_per_character" if characters else "bits_per_token"] = engine.metrics.BitsPerToken()
    trainer = engine.Trainer(
        model,
        engine.Supervised(loss),
        optimizer,
        metrics,
        seed=FLAGS.seed,
        strategy=strategy,
        precision=FLAGS.precision,
        jit_compile=FLAGS.jit_compile,
        accumulate_steps=FLAGS.accumulate_steps,
        steps_per_loop=FLAGS.steps_per_loop,
        average=make_average(optimizer),
        loss_scaling=FLAGS.loss_scaling,
        on_non_finite=FLAGS.on_non_finite,
        max_non_finite=FLAGS.max_non_finite,
        check_numerics=FLAGS.check_numerics,
        max_traces=FLAGS.max_traces,
    )
    return trainer, schedule


class Accepted(engine.hooks.Hook):
    """When the run is known to be possible, it takes the directory: its flags are written, an older result goes."""

    chief_only = True

    def __init__(self, directory: run_directory.RunDirectory, lines: dict[str, str]):
        super().__init__("accepted")
        self._directory, self._lines = directory, lines

    def on_fit_begin(self, run: engine.Run) -> None:
        """The checkpoint, if there is one, fits."""
        self._directory.lock()
        self._directory.write_flags(dict(self._lines))
        self._directory.forget_result()


def make_hooks(
    directory: run_directory.RunDirectory, lines: dict[str, str], schedule: Callable
) -> list[engine.hooks.Hook]:
    """What runs between loops."""
    hooks = [
        Accepted(directory, lines),
        engine.hooks.LeaveBeforeFirstStep(_LEFT),
        engine.hooks.Progress(),
        engine.hooks.EpochLines(),
        engine.hooks.Failures(directory.path / "failures"),
        engine.hooks.HistoryFile(directory.history, log_every_step=FLAGS.log_every_step),
        engine.hooks.Checkpoint(
            directory.checkpoints,
            every=FLAGS.checkpoint_every,
            every_s=FLAGS.checkpoint_every_s,
            keep=FLAGS.keep,
            keep_best=FLAGS.keep_best,
            keep_every=FLAGS.keep_every,
            monitor=FLAGS.monitor,
            drop=FLAGS.drop_hooks,
        ),
    ]
    if FLAGS.tensorboard:
        hooks.append(engine.hooks.TensorBoard(directory.tensorboard))
    if FLAGS.explosion_factor:
        hooks.append(engine.hooks.ExplodingLoss(FLAGS.explosion_factor))
    if FLAGS.reduce_on_plateau:
        hooks.append(
            engine.hooks.ReduceOnPlateau(
                schedule,
                FLAGS.monitor,
                factor=FLAGS.plateau_factor,
                patience=FLAGS.plateau_patience,
                min_delta=FLAGS.min_delta,
                cooldown=FLAGS.plateau_cooldown,
                min_lr=FLAGS.min_learning_rate,
            )
        )
    if FLAGS.early_stopping:
        hooks.append(
            engine.hooks.EarlyStopping(
                FLAGS.monitor, patience=FLAGS.patience, min_delta=FLAGS.min_delta, restore_best=FLAGS.restore_best
            )
        )
    return hooks


def train(strategy: tf.distribute.Strategy | None) -> int:
    """One run, from its flags to its result; returns the exit code."""
    if engine.Replicas(strategy).workers > 1 and not FLAGS.run_dir:
        raise ValueError("several workers need --run_dir, a folder that all of them see")
    with run_directory.RunDirectory(FLAGS.run_dir or _default_run_dir()) as directory:
        return train_in(directory, strategy)


def train_in(directory: run_directory.RunDirectory, strategy: tf.distribute.Strategy | None) -> int:
    """One run in its folder; returns the exit code."""
    replicas = engine.Replicas(strategy)
    replicas.chief_does(directory.lock_if_begun)
    before, lines = directory.flags(), _flag_lines()
    if FLAGS.decay_steps is None and "decay_steps" in before:
        # The schedule must not move because the epochs did.
        lines["decay_steps"] = before["decay_steps"]
        FLAGS.decay_steps = int(before["decay_steps"].partition("=")[2])
    directory.check_flags(lines, MAY_CHANGE)
    if not replicas.agreed_on([line for name, line in sorted(lines.items()) if name not in OF_ONE_WORKER]):
        raise ValueError("the workers were started with different flags: start all of them with the same")
    result = directory.result()
    if result and result["stopped_by"] in run_directory.FINAL:
        shorter = result["stopped_by"] == "epochs" and FLAGS.epochs <= result["epochs"]
        if shorter or all(before.get(name) == lines.get(name) for name in PROLONGS):
            print(f"{directory.path} is finished: {_summary(result)}")
            return 0

    pipeline, validation, test = make_pipelines()
    steps = min(FLAGS.epochs * pipeline.steps_per_epoch, FLAGS.max_steps or math.inf)
    if FLAGS.decay_steps is None:
        FLAGS.decay_steps = max(1, steps - FLAGS.warmup_steps - FLAGS.stable_steps)
        lines["decay_steps"] = f"--decay_steps={FLAGS.decay_steps}"
    schedule_ends = FLAGS.warmup_steps + FLAGS.stable_steps + FLAGS.decay_steps
    if FLAGS.schedule in ("cosine", "polynomial", "one_cycle") and schedule_ends < steps:
        print(f"note: the schedule ends at step {schedule_ends} of {steps}; the rate stays where it ends")
    trainer, schedule = make_trainer(pipeline, strategy)
    hooks = make_hooks(directory, lines, schedule)
    parameters = engine.parameter_count(trainer.model)
    watch = f"tensorboard --logdir {shlex.quote(str(directory.tensorboard))}"
    shared = f", {replicas}" if replicas.count > 1 else ""
    print(f"{FLAGS.model} with {parameters:,} parameters on {pipeline.examples:,} examples of {FLAGS.dataset}{shared}")
    print(f"run directory {directory.path}; to watch: {watch}", flush=True)

    before_fit = time.perf_counter() - _STARTED
    try:
        history = trainer.fit(
            pipeline,
            epochs=FLAGS.epochs,
            max_steps=FLAGS.max_steps,
            validation=validation,
            evaluate_every=FLAGS.evaluate_every,
            hooks=hooks,
        )
    except engine.NonFinite as error:
        print(f"train.py: {error}", file=sys.stderr)
        history = error.history
        history.stopped_by = "non_finite"
    finished = history.stopped_by in run_directory.FINAL
    if finished and replicas.any(history.signal is not None):
        # It came while the last checkpoint was written, and whoever sent it does not wait for evaluations.
        signal.raise_signal(history.signal or signal.SIGTERM)
    if finished and replicas.chief:
        with trainer.averaged():
            engine.save_weights(directory.checkpoints / "model", trainer.model)
    first_step = history.time_to_first_step_s
    result = {
        "steps": int(trainer.state.step),
        "epochs": int(trainer.state.epoch),
        "train": history.train,
        "validation": trainer.evaluate(validation) if finished and validation else {},
        "test": trainer.evaluate(test) if finished else {},
        "weights_sha256": engine.weights_sha256(trainer.model),
        "parameters": parameters,
        "examples_per_second": history.examples_per_second,
        "time_to_first_step_s": first_step and before_fit + first_step,
        "wall_s": time.perf_counter() - _STARTED,
        "traces": history.traces,
        "resumed_from": history.resumed_from,
        "stopped_by": history.stopped_by,
    }
    if replicas.chief:
        directory.write_result(result)
    print(_summary(result))
    print(f"to look at it: {watch}")
    if history.stopped_by == "signal":
        return 128 + (history.signal or signal.SIGTERM)
    return 0 if finished else 1


def replay(folder: Path) -> int:
    """The step that was saved in `<run>/failures/step-<number>`, once more, with the flags of its run."""
    _take_flags(folder.parent.parent, f"--replay={folder}: expected <run>/failures/step-<number>")
    report, op = engine.replay(make_trainer(make_pipelines()[0], None)[0], folder)
    print(report)
    print(f"first op: {op or 'none: computed in one piece, all numbers are finite'}")
    return 0


def export() -> int:
    """The final model of a run as `export/`, a SavedModel that takes the data set's own inputs, and as `model.h5`."""
    if not FLAGS.run_dir:
        raise ValueError("--mode=export needs --run_dir, the folder of a finished run")
    folder = Path(FLAGS.run_dir)
    _take_flags(folder, f"--run_dir={folder}: expected a finished run")
    pipeline = make_pipelines()[0]
    model, info = make_model(pipeline.info), pipeline.info
    engine.restore(model, folder / "checkpoints" / "model")
    notes = {"dataset": info.name, "classes": list(info.class_names)}
    first = pipeline.source[np.arange(min(8, len(pipeline.source)))]["inputs"]
    exported = engine.export(
        model,
        folder / "export",
        tf.TensorSpec([None, *info.input_shape], first.dtype),
        example=first,
        preprocess=(lambda inputs: data.to_float({"inputs": inputs})["inputs"]) if FLAGS.model in MODELS else None,
    )
    whole = engine.save_model(model, folder / "model.h5", training=notes)
    print(f"{exported} (a SavedModel, compared with the model) and {whole}")
    return 0


def generate() -> int:
    """The final language model of a run goes on from the prompt; the text is printed."""
    if not FLAGS.run_dir:
        raise ValueError("--mode=generate needs --run_dir, the folder of a finished run")
    folder, seed = Path(FLAGS.run_dir), FLAGS.seed
    _take_flags(folder, f"--run_dir={folder}: expected a finished run")
    if not is_language_model():
        raise ValueError(f"--mode=generate needs a run of --model={' or '.join(LANGUAGE_MODELS)}, not {FLAGS.model}")
    pipeline, tokenizer = make_pipelines()[0], make_tokenizer(load("train"))
    model = make_model(pipeline.info)
    engine.restore(model, folder / "checkpoints" / "model")
    options = {"temperature": FLAGS.temperature, "top_k": FLAGS.top_k, "top_p": FLAGS.top_p, "seed": seed}
    prompt = tokenizer.encode(FLAGS.prompt)
    found = nets.generate(model, prompt[np.newaxis], FLAGS.length, **options)[0].numpy()
    print(tokenizer.decode(np.concatenate([prompt, found])).decode(errors="replace"))
    return 0


def _take_flags(run_dir: Path, expected: str) -> None:
    """The flags of a run take the place of this command's; on one device, as they change no numbers there."""
    flagfile = run_dir / "flags.cfg"
    if not flagfile.is_file():
        raise ValueError(f"{expected}, but {flagfile} is not there")
    FLAGS([sys.argv[0], f"--flagfile={flagfile}", "--nojit_compile"])


def _summary(result: dict) -> str:
    splits = [
        f"{split} {' '.join(f'{name} {_shown(value)}' for name, value in result[split].items() if name != 'data_loss')}"
        for split in ("train", "validation", "test")
        if result[split]
    ]
    return f"stopped by {result['stopped_by']} after step {result['steps']}: {'; '.join(splits)}"


def _shown(value: float | None) -> str:
    return "not finite" if value is None or not math.isfinite(value) else f"{value:.4f}"


def _flag_lines() -> dict[str, str]:
    """Every flag of this program as a line of a flagfile, by name; flags that are not set have none."""
    own = FLAGS.get_flags_for_module(sys.modules[__name__])
    lines = {flag.name: flag.serialize() for flag in own if flag.value is not None}
    return {name: line for name, line in lines.items() if line and name not in OF_MODES}


def _above_0(name: str) -> float:
    value = FLAGS[name].value
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"--{name} must be a finite number above 0, got {value}")
    return value


def _class_weights() -> dict[int, float]:
    try:
        pairs = [part.split("=") for part in FLAGS.class_weights]
        return {int(number): float(weight) for number, weight in pairs}
    except ValueError:
        given = FLAGS["class_weights"].serialize()
        raise ValueError(f"--class_weights must be class=weight with commas between, got {given}") from None


def _integers(name: str) -> list[int]:
    try:
        return [int(part) for part in FLAGS[name].value]
    except ValueError:
        raise ValueError(f"--{name} must be whole numbers with commas between, got {FLAGS[name].serialize()}") from None


def _default_run_dir() -> Path:
    files = [match[1] for match in re.finditer(r"--?flagfile[= ](\S+)", " ".join(sys.argv))]
    config = Path(files[0]).stem if files else FLAGS.model
    return Path("runs") / f"{config}-{time.strftime('%Y%m%d-%H%M%S')}"


def main(argv: list[str]) -> None:
    """Runs, and turns what a user can mend into one line."""
    # TensorFlow reports each checkpoint's sharding at INFO, which absl's app shows.
    logging.set_verbosity(logging.WARNING)
    strategy = None
    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected argument {argv[1]!r}: every setting is a --flag=value")
        if FLAGS.replay or FLAGS.mode != "train":
            other = {"export": export, "generate": generate}
            sys.exit(replay(Path(FLAGS.replay)) if FLAGS.replay else other[FLAGS.mode]())
        with _held_stderr():
            strategy = engine.make_strategy(FLAGS.strategy, FLAGS.num_replicas, worker_timeout_s=FLAGS.worker_timeout_s)
            tf.config.list_logical_devices()
        code = train(strategy)
    except (ValueError, TypeError, OSError, engine.TooManyTraces) as error:
        print(f"train.py: error: {error}", file=sys.stderr)
        code = 2
    except engine.WorkerLost as error:
        print(f"train.py: {error}", file=sys.stderr, flush=True)
        # What TensorFlow does at an orderly exit waits for the worker that is gone.
        os._exit(1)
    except tf.errors.OpError as error:
        if not engine.Replicas(strategy).lost(error):
            raise
        print(f"train.py: {engine.WorkerLost(error)}", file=sys.stderr, flush=True)
        os._exit(1)
    sys.exit(code)


def run() -> None:
    """The entry point of the installed command."""
    with leave_on_signals(_LEFT):
        app.run(main)


if __name__ == "__main__":
    run()
