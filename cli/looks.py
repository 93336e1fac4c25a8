"""What is looked at before a run: the network, the learning rate, where the time goes."""

import math
import time
from pathlib import Path

import tensorflow as tf
from absl import flags

import engine
from cli import networks, pipelines, trainers
from cli.values import output_path

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "output",
    None,
    "Where a mode writes. summary: a drawing, .mmd (mermaid) or .dot (Graphviz); lr_find: its curve, .png; profile: a "
    "folder, by default profiles/<model>-<time>; tune: a flagfile; predict: .csv or "
    ".json.",
)
flags.DEFINE_float("lowest_rate", 1e-7, "The first learning rate that is tried (lr_find).", 0)
flags.DEFINE_float("highest_rate", 10.0, "The last one.", 0)
flags.DEFINE_integer("sweep_steps", 100, "How many are tried, a step each.", lower_bound=2)
flags.DEFINE_integer("profile_first", 20, "The first step that is looked at (profile).", lower_bound=1)
flags.DEFINE_integer("profile_steps", 10, "How many steps are looked at.", lower_bound=1)


def summary() -> int:
    """The network's layers with their sizes and costs; with --output a drawing."""
    path = output_path("a drawing is written", ".mmd", ".dot")
    info = pipelines.make_pipelines()[0].info
    if FLAGS.model in networks.MODELS:
        spec = tf.TensorSpec([None, *info.input_shape])
    else:
        spec = tf.TensorSpec([None, FLAGS.max_length], tf.int32)
    found = engine.summary(networks.make_model(info), spec)
    networks.tell_unread_flags()
    print(found)
    if path:
        path.write_text(found.mermaid() if path.suffix == ".mmd" else found.dot())
        print(f"wrote {path}")
    return 0


def lr_find() -> int:
    """The loss over learning rates, one step each, and a suggestion; nothing is kept."""
    path = output_path("the curve is drawn", ".png")
    trainer, pipeline = _trainer()
    options = {"lowest": FLAGS.lowest_rate, "highest": FLAGS.highest_rate, "steps": FLAGS.sweep_steps}
    found = engine.lr_find(trainer, pipeline, **options)
    print(found)
    if path:
        try:
            found.plot(path)
        except ImportError as error:
            raise ValueError(str(error)) from None
        print(f"wrote {path}")
    return 0


def profile() -> int:
    """Some steps under TensorFlow's profiler: the dearest operations as text, all of it for TensorBoard."""
    folder = Path(FLAGS.output or f"profiles/{FLAGS.model}-{time.strftime('%Y%m%d-%H%M%S')}")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output={folder}: a profile is a folder, and this is a file")
    trainer, pipeline = _trainer()
    hook = engine.hooks.Profile(folder, FLAGS.profile_first, FLAGS.profile_steps)
    trainer.fit(pipeline, max_steps=FLAGS.profile_first + FLAGS.profile_steps - 1, hooks=[hook])
    print(f"wrote {folder}; to look at it: tensorboard --logdir {folder}")
    return 0


def tune() -> int:
    """How fast a step is with each way to compile, and each length of the loop; the fastest as a flagfile."""
    path = output_path("the flags are written")
    trainer, pipeline = _trainer()
    found = engine.tune(trainer, pipeline)
    lines = "".join(f"--{name}={str(value).lower()}\n" for name, value in found.flags.items())
    print(f"{found}\n\nthe fastest:\n{lines}", end="")
    if path:
        path.write_text("# The fastest settings that were found by --mode=tune.\n" + lines)
        print(f"wrote {path}: give it as one more --flagfile")
    return 0


def _trainer() -> tuple[engine.Trainer, object]:
    networks.tell_unread_flags()
    # Before anything uses a device.
    strategy = engine.make_strategy(FLAGS.strategy, FLAGS.num_replicas, worker_timeout_s=FLAGS.worker_timeout_s)
    pipeline = pipelines.make_pipelines()[0]
    if FLAGS.decay_steps is None:
        FLAGS.decay_steps = min(FLAGS.epochs * pipeline.steps_per_epoch, FLAGS.max_steps or math.inf)
    return trainers.make_trainer(pipeline, strategy)[0], pipeline
