"""The core of Tapeline: objective, step, loop, trainer, state; losses and metrics; hooks and files."""

from engine import hooks, losses, metrics
from engine.context import StepContext
from engine.files.checkpoints import CheckpointError
from engine.files.checkpoints import restore_model as restore
from engine.files.checkpoints import save_model as save_weights
from engine.history import History
from engine.names import freeze, parameter_count, trainable_variables, variable_paths, weights_sha256
from engine.objective import Supervised, Terms
from engine.precision import cast
from engine.run import Run
from engine.state import TrainState
from engine.step import mean_gradients, slice_sums, step
from engine.trainer import Trainer

__all__ = [
    "CheckpointError",
    "History",
    "Run",
    "StepContext",
    "Supervised",
    "Terms",
    "TrainState",
    "Trainer",
    "cast",
    "freeze",
    "hooks",
    "losses",
    "mean_gradients",
    "metrics",
    "parameter_count",
    "restore",
    "save_weights",
    "slice_sums",
    "step",
    "trainable_variables",
    "variable_paths",
    "weights_sha256",
]
