"""The law that frozen means no gradient."""

import copy
from typing import Any

import tensorflow as tf

from engine.names import freeze, trainable_variables, variable_paths
from engine.testing.laws.agreement import LawError
from engine.testing.laws.subject import Subject, named_outputs

_LAW = "frozen_has_no_gradient"


def frozen_has_no_gradient(module: tf.Module, inputs: Any, *, training: Any = True) -> None:
    """What is frozen gets no gradient and stays as it is, and what is not frozen still trains.

    On a copy of the module, for the whole and then for each part of it, as `engine.freeze` and
    `engine.trainable_variables` see them:

    - once frozen, none of its variables is among those that training changes; all others still are;
    - a call in training, with everything frozen, changes the bits of no variable (statistics stand still);
    - thawing gives back every variable that was trainable before;
    - every trainable variable that a call reads is below the module, where freezing can find it.

    Freezing is the engine's choice of variables: the law does not ask that a tape refuse a frozen variable.
    `training` is given to the calls; see `engine.testing.laws` for the other arguments. TypeError where `module` is
    none; ValueError if it has no trainable variable.
    """
    if not isinstance(module, tf.Module):
        raise TypeError(f"{_LAW} needs a tf.Module, found {module!r}")
    subject = Subject(module, inputs, training)
    if not subject.trained:
        raise ValueError(f"{_LAW}: {subject} has no trainable variable: there is nothing to freeze")
    _check_reach(subject, module)
    thawable = copy.deepcopy(module)
    own = Subject(thawable, inputs, training)
    before = set(own.trained)
    for path, part in _parts(thawable):
        below = {id(variable) for variable in variable_paths(part).values()}
        freeze(part)
        left = {id(variable) for variable in trainable_variables(thawable)}
        where = f"with {path} frozen" if path else "frozen"
        for name, variable in own.variables.items():
            if id(variable) in below and id(variable) in left:
                text = f"{subject}: {where}, variable {name} is still trained: `trainable = False` does not reach it"
                raise LawError(_LAW, text, name=name)
            if name in before and id(variable) not in below and id(variable) not in left:
                text = f"{subject}: {where}, variable {name} is not trained either, which is not below {path}"
                raise LawError(_LAW, text, name=name)
        if not path:
            _check_still(subject, own)
        freeze(part, False)
        thawed = {id(variable) for variable in trainable_variables(thawable)}
        for name in before:
            if id(own.variables[name]) not in thawed:
                text = f"{subject}: thawed again {path and f'at {path}'}, variable {name} is not trained any more"
                raise LawError(_LAW, text, name=name)


def _check_reach(subject, module):
    """Every trainable variable that a call reads has a path."""
    known = {id(variable) for variable in variable_paths(module).values()}
    with subject.undisturbed(), tf.GradientTape() as tape:
        subject.call(subject.args)
    for variable in tape.watched_variables():
        if id(variable) not in known:
            name = variable.name.split(":")[0]
            text = f"{subject} reads a trainable variable {name} {list(variable.shape)} that is not below it: "
            raise LawError(_LAW, text + "freezing cannot find it", name=name)


def _check_still(subject, own):
    """A call moves no variable. The outputs are computed too, or nothing might run."""
    held = {name: variable.numpy() for name, variable in own.variables.items()}
    named_outputs(own.call(own.args))
    for name, variable in own.variables.items():
        if variable.numpy().tobytes() != held[name].tobytes():
            text = f"{subject}: frozen, a call with training={own.training!r} still moves variable {name}"
            raise LawError(_LAW, text, name=name)


def _parts(module):
    """(path, part) of the module itself, with an empty path, and of every module below it that has variables."""
    yield "", module
    paths = variable_paths(module)
    for part in module.submodules:
        inside = {id(variable) for variable in variable_paths(part).values()}
        if inside:
            first = next((path for path, variable in paths.items() if id(variable) in inside), "")
            yield first.rpartition(".")[0] or type(part).__name__, part
