"""The one naming of variables: a variable's name is its attribute path, such as `layers.0.kernel`.

Checkpoints, errors, summaries, slots and `weights_sha256` all use it. `tf.Variable.name` will not do: it is not unique.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

# A module, or several by name or in a row.
Nest: TypeAlias = tf.Module | Mapping | list | tuple


def _walk(node, path: tuple[str, ...], frozen: bool, seen: set[int]) -> Iterator[tuple[str, Any, bool]]:
    """Every variable and module below `node`, once, with its path and whether it is frozen."""
    if isinstance(node, tf.Variable):
        if id(node) not in seen:
            seen.add(id(node))
            yield ".".join(path), node, frozen or not node.trainable
        return
    if isinstance(node, tf.Module):
        ignored = getattr(type(node), "_TF_MODULE_IGNORED_PROPERTIES", ())
        children = [(k, v) for k, v in vars(node).items() if k not in ignored and not k.startswith("_self_")]
        frozen = frozen or getattr(node, "trainable", True) is False
    elif isinstance(node, Mapping):
        children = [(str(key), value) for key, value in node.items()]
    elif isinstance(node, list | tuple):
        children = [(str(position), value) for position, value in enumerate(node)]
    else:
        return
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, tf.Module):
        yield ".".join(path), node, frozen
    for name, child in children:
        yield from _walk(child, (*path, name), frozen, seen)


def _variables(module: Nest) -> Iterator[tuple[str, tf.Variable, bool]]:
    return (found for found in _walk(module, (), False, set()) if isinstance(found[1], tf.Variable))


def module_paths(module: tf.Module) -> dict[str, tf.Module]:
    """Every module below `module` by its attribute path, itself by "". A module that is shared goes by its first."""
    return {path: found for path, found, _ in _walk(module, (), False, set()) if isinstance(found, tf.Module)}


def variable_paths(module: Nest) -> dict[str, tf.Variable]:
    """Every variable below `module` by its attribute path, in the order in which the attributes were made.

    A variable that is shared goes by its first path.

    >>> class Line(tf.Module):
    ...     def __init__(self):
    ...         self.slope, self.offsets = tf.Variable(1.0), [tf.Variable(2.0)]
    >>> list(variable_paths(Line()))
    ['slope', 'offsets.0']
    """
    return {path: variable for path, variable, _ in _variables(module)}


def trainable_variables(module: Nest) -> list[tf.Variable]:
    """What training changes by gradients: all variables but those below a frozen module and those made untrainable.

    The compiled step, the counts and the summaries all ask here, so that "frozen" means one thing.
    """
    return [variable for _, variable, frozen in _variables(module) if not frozen]


def frozen_names(module: tf.Module) -> list[str]:
    """What is frozen: variables that could be trained, and modules that have only others, such as moving statistics."""
    # Asked before each call of the loop, hence one walk, and not `tf.Module.variables` for each module.
    found = list(_walk(module, (), False, set()))
    names = [path for path, part, frozen in found if isinstance(part, tf.Variable) and part.trainable and frozen]
    for path, part, _ in found:
        if path and isinstance(part, tf.Module) and getattr(part, "trainable", True) is False:
            own = [variable for _, variable, _ in _variables(part)]
            if own and not any(variable.trainable for variable in own):
                names.append(path)
    return names


def untrained_variables(module: Nest) -> list[tf.Variable]:
    """What a forward pass may change: the variables made with `trainable=False`, such as moving statistics."""
    return [variable for variable in variable_paths(module).values() if not variable.trainable]


def freeze(module: tf.Module, frozen: bool = True) -> None:
    """Freezes (or thaws) a whole subtree, foreign `tf.Module`s included: no gradient, no update.

    Layers that look at their own `trainable` (BatchNorm) then use inference statistics as well.
    """
    for part in (module, *module.submodules):
        part.trainable = not frozen


def parameter_count(module: tf.Module) -> int:
    """The number of scalars in all variables, trainable or not, shared ones counted once."""
    return sum(int(np.prod(variable.shape)) for variable in variable_paths(module).values())


def weights_sha256(module: tf.Module) -> str:
    """The SHA-256 of a module's variables: path, dtype, shape and little-endian bytes, sorted by path."""
    digest = hashlib.sha256()
    for path, variable in sorted(variable_paths(module).items()):
        value = variable.numpy()
        if value.dtype.byteorder == ">" or (value.dtype.byteorder == "=" and not np.little_endian):
            value = value.astype(value.dtype.newbyteorder("<"))
        digest.update(f"{path}\0{variable.dtype.name}\0{list(value.shape)}\0".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
