"""The hall: flags become parts, and the parts become a run.

python train.py --flagfile=configs/fashion_mnist_mini.cfg
"""

from cli import start  # First, as its clock is: the time to the first step includes the imports.

import os  # isort: skip
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with start.left_on_signals(), start.held_stderr():
    import tensorflow as tf
    from absl import app, flags, logging

    import engine
    from cli import devices, finished, help, listing, looks, training
    from engine.signals import leave_on_signals

FLAGS = flags.FLAGS
MODES = {
    **{mode.__name__: mode for mode in (looks.summary, looks.lr_find, looks.tune, looks.profile)},
    **{mode.__name__: mode for mode in (finished.evaluate, finished.predict, finished.export, finished.generate)},
}


def parse(argv: list[str]) -> list[str]:
    """Takes the flags; answers a call for help."""
    if {"--help", "-h", "--helpshort", "-help", "-helpshort"} & set(argv[1:]):
        help.say(help.short())
        sys.exit(0)
    try:
        return FLAGS(argv)
    except flags.Error as error:
        print(f"train.py: error: {help.advice(error)}", file=sys.stderr)
        sys.exit(2)


def main(argv: list[str]) -> None:
    """Runs, and turns what a user can mend into one line."""
    # TensorFlow reports each checkpoint's sharding at INFO, which absl's app shows.
    logging.set_verbosity(logging.WARNING)
    strategy = None
    try:
        if len(argv) > 1:
            raise ValueError(help.stray(argv[1]))
        if FLAGS.list:
            help.say(listing.listed())
            sys.exit(0)
        devices.choose()
        if FLAGS.replay or FLAGS.mode != "train":
            sys.exit(finished.replay(Path(FLAGS.replay)) if FLAGS.replay else MODES[FLAGS.mode]())
        with start.held_stderr():
            strategy = engine.make_strategy(FLAGS.strategy, FLAGS.num_replicas, worker_timeout_s=FLAGS.worker_timeout_s)
            tf.config.list_logical_devices()
        code = training.train(strategy)
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
    with leave_on_signals(start.LEFT):
        app.run(main, flags_parser=parse)


if __name__ == "__main__":
    run()
