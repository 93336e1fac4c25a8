"""The runs that are worth disturbing: everything that a run can remember is turned on."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

from tests.faults.processes import train

EVERYTHING = (
    "--batch_size=200",
    "--validation_fraction=0.4",
    "--dropout=0.3",
    "--augment=random_crop,flip_left_right",
    "--accumulate_steps=2",
    "--average=ema",
    "--average_decay=0.9",
    "--early_stopping",
    "--reduce_on_plateau",
    "--plateau_factor=0.5",
    "--plateau_patience=1",
    "--steps_per_loop=4",
    "--checkpoint_every=6",
    "--log_every_step",
)


@dataclasses.dataclass(frozen=True)
class Setting:
    """A run worth killing: its name, its command for a run directory, and after about how many steps it ends."""

    name: str
    command: Callable[[Path], list[str]]
    steps: int


def _pictures(*flags: str) -> Callable[[Path], list[str]]:
    return lambda run_dir: train(run_dir, *EVERYTHING, *flags)


def words(run_dir: Path, *policy: str) -> list[str]:
    """The command of a run below the command line."""
    return [sys.executable, str(Path(__file__).with_name("words.py")), str(run_dir), *policy]


SETTINGS = (
    Setting(
        "convolutions and BatchNorm, one device, dynamic loss scaling",
        _pictures("--model=convnet", "--filters=2,4", "--units=8", "--batch_norm", "--loss_scaling=dynamic",
                  "--optimizer=sgd", "--learning_rate=0.2", "--patience=3", "--epochs=8"),
        140,
    ),
    Setting(
        "a dense network in float16, two replicas",
        _pictures("--model=mlp", "--units=16", "--precision=float16", "--num_replicas=2",
                  "--optimizer=adamw", "--learning_rate=0.03", "--patience=2", "--epochs=10"),
        180,
    ),
    Setting("an embedding, two replicas", words, 150),
    Setting(
        "a dense network, the whole loop as one XLA program",
        _pictures("--model=mlp", "--units=32", "--jit_compile=loop",
                  "--optimizer=adamw", "--learning_rate=0.03", "--patience=2", "--epochs=10"),
        180,
    ),
)  # fmt: skip
