"""The law that saving and loading changes nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from engine.context import StepContext
from engine.files.checkpoints import CheckpointError
from engine.files.restoring import restore_model, save_model
from engine.names import variable_paths, weights_sha256
from engine.testing.directions import generator
from engine.testing.laws.agreement import LawError, agree
from engine.testing.laws.subject import Subject

_LAW = "saving_changes_nothing"


def saving_changes_nothing(
    module_factory: Callable[[], tf.Module], inputs: Any, folder: str | Path, *, training: Any = None
) -> None:
    """A module that is saved and loaded into a fresh one goes on to compute the same, to the bit.

    Two modules are made. The floating variables of the first are moved (up, by less than 0.1, so that what is never
    negative stays so) and it is called once with `training` (None: a step context), which moves its statistics; then
    `engine.save_weights` writes it to `folder`, and `engine.restore` reads that into the second. From there on both
    must hold equal variables, under equal paths, and compute equal outputs, in inference and in training, and training
    must move their variables alike. Saving must leave the first as it is. What a module keeps anywhere but in
    variables below it, such as a number in a Python attribute that a call changes, breaks the law.

    The calls are eager and on the same kernels, so no rounding is allowed. `folder` must not exist, or be empty; it
    holds the checkpoint afterwards. See `engine.testing.laws` for the other arguments.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{_LAW} writes to a folder of its own, {folder} is not empty")
    training = StepContext(0, 0) if training is None else training
    modules = [_made(module_factory) for _ in range(2)]
    first, second = (Subject(module, inputs) for module in modules)
    rng = generator(3)
    for variable in first.variables.values():
        if variable.dtype.is_floating:
            variable.assign_add(tf.constant(rng.uniform(0, 0.1, variable.shape), variable.dtype))
    first.call(first.args, training)
    digest = weights_sha256(modules[0])
    checkpoint = folder / "step-00000000"
    save_model(checkpoint, modules[0])
    if weights_sha256(modules[0]) != digest:
        raise LawError(_LAW, f"{first}: saving changes its variables")
    try:
        restore_model(modules[1], checkpoint)
    except CheckpointError as error:
        text = f"{first}: what one module saves, another of the same factory cannot load: {error}"
        raise LawError(_LAW, text) from error
    here, there = "as it was saved", "as it was loaded"
    loaded, saved = ({path: tf.identity(v) for path, v in s.variables.items()} for s in (second, first))
    agree(_LAW, first, loaded, saved, None, there, here)
    for mode in (None, training):
        # What the calls move stays moved, as in a run that goes on.
        found, expected = (subject.measure(subject.args, training=mode) for subject in (second, first))
        suffix = " and called in training" if mode is training else ""
        agree(_LAW, first, found, expected, None, there + suffix, here + suffix)


def _made(module_factory):
    module = module_factory()
    if not isinstance(module, tf.Module):
        raise TypeError(f"{_LAW} needs a function that makes a tf.Module, it made {module!r}")
    if not variable_paths(module):
        raise ValueError(f"{_LAW}: {module!r} has no variable: there is nothing to save")
    return module
