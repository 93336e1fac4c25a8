"""What is behind a callable: its modules, their variables, and a copy of it in another dtype."""

import functools
import inspect
import types
from collections.abc import Iterator

import tensorflow as tf

from engine.names import trainable_variables, untrained_variables, variable_paths
from engine.precision import cast


class Callable:
    """A callable with its variables.

    Modules are those that are called, whose method is called, or that a `functools.partial` holds: with a dtype they
    are copied. What a plain function takes from around it is used as it is, and so is the module of a method that is
    a `tf.function` (`functools.partial(Net.step, net)` shows the module).

    function: what to call. label: its name. statistics: variables that an evaluation may move.
    """

    def __init__(self, function, dtype: tf.DType | None):
        if not callable(function):
            raise TypeError(f"expected a function or a module that can be called, found {function!r}")
        self.label = label(function)
        modules = list(modules_of(function))
        if modules and dtype is not None:
            copies = _copies(modules, dtype)
            function = _replaced(function, copies)
            modules = [copies[id(module)] for module in modules]
        self.function = function
        owned = modules[0] if len(modules) == 1 else modules
        around = dict(_around(function))
        self._owned = variable_paths(owned) if modules else {}
        self._trainable = {id(variable) for node in (owned, around) for variable in trainable_variables(node)}
        self._around = variable_paths(around)
        self.statistics = list({id(v): v for node in (owned, around) for v in untrained_variables(node)}.values())

    def tested(self, watched) -> list[tuple[str, tf.Variable]]:
        """(name, variable) for each that has a gradient: all trainable ones of modules, of others those in use."""
        found = [(path, variable) for path, variable in self._owned.items() if id(variable) in self._trainable]
        known = {id(variable) for variable in self._owned.values()}
        names = {id(variable): path for path, variable in self._around.items()}
        taken = set(self._owned)
        for variable in watched:
            if id(variable) in known or (id(variable) in names and id(variable) not in self._trainable):
                continue
            known.add(id(variable))
            plain = names.get(id(variable), variable.name.split(":")[0])
            name, number = plain, 1
            while name in taken:
                number += 1
                name = f"{plain}#{number}"
            taken.add(name)
            found.append((name, variable))
        return found


def label(function) -> str:
    """The name of a callable, as short as it is clear."""
    if isinstance(function, functools.partial):
        return f"partial({label(function.func)}, …)"
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or repr(function)
    name = name.rpartition("<locals>.")[2]
    return type(function).__name__ if name.startswith("<") and name != "<lambda>" else name


def modules_of(function) -> Iterator[tf.Module]:
    """The modules that can be replaced by copies, without repetition."""
    if isinstance(function, tf.Module):
        yield function
    elif isinstance(function, functools.partial):
        parts = [function.func, *tf.nest.flatten([function.args, function.keywords])]
        found = {id(module): module for part in parts for module in modules_of(part)}
        yield from found.values()
    elif isinstance(getattr(function, "__self__", None), tf.Module):
        yield function.__self__


def _copies(modules, dtype):
    holder = tf.Module()
    holder.parts = modules
    try:
        copied = cast(holder, dtype)
    except Exception as error:
        kinds = ", ".join(type(module).__name__ for module in modules)
        raise TypeError(f"{kinds} can't be copied into {dtype.name} ({error}): pass dtype=None") from error
    return {id(module): copy for module, copy in zip(modules, copied.parts, strict=True)}


def _replaced(function, copies):
    if id(function) in copies:
        return copies[id(function)]
    if isinstance(function, functools.partial):
        args, keywords = tf.nest.map_structure(
            lambda part: _replaced(part, copies) if callable(part) else part, (function.args, function.keywords)
        )
        return functools.partial(_replaced(function.func, copies), *args, **keywords)
    if isinstance(function, types.MethodType) and id(function.__self__) in copies:
        return types.MethodType(function.__func__, copies[id(function.__self__)])
    return function


def _around(function):
    """(name, value) of what a plain function takes from around it: closures and globals."""
    if isinstance(function, functools.partial):
        yield from _around(function.func)
        return
    function = getattr(function, "python_function", function)
    if inspect.isfunction(function):
        variables = inspect.getclosurevars(function)
        yield from {**variables.globals, **variables.nonlocals}.items()
