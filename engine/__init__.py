"""The core of Tapeline: objective, step, loop, trainer, state; losses and metrics; hooks and files."""

from engine import hooks, keras_io, losses, metrics, regularizers
from engine.context import StepContext
from engine.cut import Cut
from engine.diff import diff
from engine.environment import environment
from engine.features import features
from engine.files.checkpoints import CheckpointError
from engine.files.exporting import export
from engine.files.hdf5 import ModelFileError
from engine.files.models import is_model_file, load_model, save_model
from engine.files.restoring import Restored
from engine.files.restoring import restore_model as restore
from engine.files.restoring import save_model as save_weights
from engine.history import History
from engine.loss_scale import LossScale
from engine.names import freeze, parameter_count, trainable_variables, variable_paths, weights_sha256
from engine.non_finite import NonFinite, NonFiniteReport
from engine.objective import Supervised, Terms
from engine.precision import cast
from engine.predictions import Predictions, predictions
from engine.rate_finder import RateSweep, lr_find
from engine.replay import replay
from engine.replicas import Replicas, WorkerLost
from engine.run import Run
from engine.state import TrainState
from engine.step import mean_gradients, step
from engine.strategies import make_strategy
from engine.summary import summary
from engine.sums import slice_sums
from engine.traces import TooManyTraces
from engine.trainer import Trainer
from engine.tune import Timing, Tuning, tune

__all__ = [
    "CheckpointError",
    "Cut",
    "History",
    "LossScale",
    "ModelFileError",
    "NonFinite",
    "NonFiniteReport",
    "Predictions",
    "RateSweep",
    "Replicas",
    "Restored",
    "Run",
    "StepContext",
    "Supervised",
    "Terms",
    "Timing",
    "TooManyTraces",
    "TrainState",
    "Trainer",
    "Tuning",
    "WorkerLost",
    "cast",
    "diff",
    "environment",
    "export",
    "features",
    "freeze",
    "hooks",
    "is_model_file",
    "keras_io",
    "load_model",
    "losses",
    "lr_find",
    "make_strategy",
    "mean_gradients",
    "metrics",
    "parameter_count",
    "predictions",
    "regularizers",
    "replay",
    "restore",
    "save_model",
    "save_weights",
    "slice_sums",
    "step",
    "summary",
    "trainable_variables",
    "tune",
    "variable_paths",
    "weights_sha256",
]
