"""What is written, and what comes between loops."""

from collections.abc import Callable

from absl import flags

import engine
from cli import start
from engine.files import run_directory

FLAGS = flags.FLAGS

flags.DEFINE_boolean("early_stopping", False, "End when the monitored value no longer improves.")
flags.DEFINE_string("monitor", "validation.loss", "What early_stopping, reduce_on_plateau and keep_best look at.")
flags.DEFINE_integer("patience", 3, "Looks without improvement after which early stopping ends the run.", lower_bound=0)
flags.DEFINE_float("min_delta", 0.0, "What counts as improvement.", lower_bound=0)
flags.DEFINE_boolean("restore_best", True, "Early stopping puts the best weights back.")
flags.DEFINE_integer("checkpoint_every", None, "Steps between checkpoints, beside those at each epoch's end.", 1)
flags.DEFINE_float("checkpoint_every_s", None, "Seconds between checkpoints, beside those.", 0)
flags.DEFINE_integer("keep", 3, "Newest checkpoints that stay.", lower_bound=1)
flags.DEFINE_integer("keep_best", 0, "Best checkpoints by the monitored value that stay beside them.", lower_bound=0)
flags.DEFINE_integer("keep_every", None, "Each n-th checkpoint stays for ever.", lower_bound=1)
flags.DEFINE_boolean("log_every_step", False, "A line of history.jsonl for each step instead of each loop.")
flags.DEFINE_boolean("tensorboard", True, "Write for TensorBoard: scalars, and what the next four say.")
flags.DEFINE_boolean("tensorboard_histograms", True, "Histograms of all variables, at each epoch's end.")
flags.DEFINE_integer("tensorboard_samples", 16, "Pictures shown with what they are taken for; 0: none.", 0)
flags.DEFINE_integer("tensorboard_confusion", 1000, "Examples in the confusion matrix; 0: none.", 0)
flags.DEFINE_boolean("tensorboard_graph", True, "The graph of a step, once.")
flags.DEFINE_list("drop_hooks", [], "Hooks whose state in the checkpoint may be forgotten.")


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
        self._directory.add_environment(engine.environment())
        self._directory.forget_result()


def _switched() -> dict[str, bool]:
    """The hooks with a state that flags which may change switch on and off, by name, and whether they are on."""
    return {"exploding_loss": bool(FLAGS.explosion_factor), "early_stopping": FLAGS.early_stopping}


def make_hooks(
    directory: run_directory.RunDirectory, lines: dict[str, str], schedule: Callable
) -> list[engine.hooks.Hook]:
    """What runs between loops."""
    hooks = [
        engine.hooks.LeaveBeforeFirstStep(start.LEFT),
        Accepted(directory, lines),
        engine.hooks.Progress(),
        # Without a validation set, that of training is marked.
        engine.hooks.EpochLines("auto" if FLAGS.monitor == "validation.loss" else FLAGS.monitor),
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
            # What a flag switches off may have been on.
            drop=[*FLAGS.drop_hooks, *(name for name, on in _switched().items() if not on)],
        ),
    ]
    if FLAGS.tensorboard:
        options = ("histograms", "samples", "confusion", "graph")
        options = {name: FLAGS[f"tensorboard_{name}"].value for name in options}
        hooks.append(engine.hooks.TensorBoard(directory.tensorboard, **options))
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
