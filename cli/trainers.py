"""The parts as a Trainer."""

import functools
from collections.abc import Callable

import tensorflow as tf
from absl import flags

import data
import engine
from cli import networks, pipelines, rules
from layers import nets

FLAGS = flags.FLAGS

flags.DEFINE_integer("seed", 0, "Of every random stream.")


def make_trainer(pipeline: data.Pipeline, strategy: tf.distribute.Strategy | None) -> tuple[engine.Trainer, Callable]:
    """Model, objective, rule and how they run; and the schedule of the rule."""
    with engine.Replicas(strategy).scope():
        model, schedule = networks.make_model(pipeline.info), rules.make_schedule(FLAGS.decay_steps)
        optimizer = rules.make_optimizer(schedule, engine.variable_paths(model))
        if isinstance(model, nets.FastCifar):
            # Its first layer is made of pictures of the training set; a resumed run has it in its checkpoint.
            first, as_floats = pipelines.first_of(pipeline.source, 5000), pipelines.as_floats(pipeline.source)
            model.fit((as_floats(first) if as_floats else first)["inputs"])
    loss, accuracy = "sparse_categorical_crossentropy", engine.metrics.SparseCategoricalAccuracy()
    if pipelines.has_soft_labels():
        loss, accuracy = "categorical_crossentropy", engine.metrics.CategoricalAccuracy()
    if FLAGS.label_smoothing:
        loss = functools.partial(engine.losses.get(loss), label_smoothing=FLAGS.label_smoothing)
    metrics: dict[str, engine.metrics.Metric] = {"accuracy": accuracy}
    if networks.is_language_model():
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
        average=rules.make_average(optimizer),
        loss_scaling=FLAGS.loss_scaling,
        on_non_finite=FLAGS.on_non_finite,
        max_non_finite=FLAGS.max_non_finite,
        check_numerics=FLAGS.check_numerics,
        max_traces=FLAGS.max_traces,
    )
    return trainer, schedule
