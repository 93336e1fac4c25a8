"""What runs between compiled loops."""

from engine.hooks.checkpoint import Checkpoint
from engine.hooks.early_stopping import EarlyStopping
from engine.hooks.exploding_loss import ExplodingLoss
from engine.hooks.failures import Failures
from engine.hooks.history_file import HistoryFile
from engine.hooks.hook import Hook
from engine.hooks.leave import LeaveBeforeFirstStep
from engine.hooks.profile import Profile
from engine.hooks.progress import EpochLines, Progress
from engine.hooks.reduce_on_plateau import ReduceOnPlateau
from engine.hooks.tensorboard import TensorBoard
from engine.hooks.thaw import Thaw

__all__ = [
    "Checkpoint",
    "EarlyStopping",
    "EpochLines",
    "ExplodingLoss",
    "Failures",
    "HistoryFile",
    "Hook",
    "LeaveBeforeFirstStep",
    "Profile",
    "Progress",
    "ReduceOnPlateau",
    "TensorBoard",
    "Thaw",
]
