"""What a saved model may be built of: classes and functions by name, and nothing else.

A file of a model holds names and arguments, no code. Whoever reads it looks the names up here.
"""

from collections.abc import Callable
from typing import Any

REGISTERED: dict[str, Callable] = {}


def register(thing: Any = None, *, name: str | None = None) -> Any:
    """Lets models that contain a class of layers, or a function, be saved and loaded. A decorator.

    name: by which files know it; by default its own, `__name__`. A name stands for one thing for ever: files outlive
    programs. ValueError: a name that is taken. A class may define `from_saved(*args, **kwargs)`, a class method that
    is called in place of the class for what comes out of a file.

    >>> @register
    ... class Doubled:
    ...     pass
    >>> @register(name="mypackage.square")
    ... def square(x):
    ...     return x * x
    >>> REGISTERED["Doubled"] is Doubled, REGISTERED["mypackage.square"] is square
    (True, True)
    >>> del REGISTERED["Doubled"], REGISTERED["mypackage.square"]
    """
    if thing is None:
        return lambda thing: register(thing, name=name)
    name = name or thing.__name__
    known = REGISTERED.get(name)
    # A module that is loaded again, as in a notebook, brings its own things anew.
    if known is not None and _place(known) != _place(thing):
        raise ValueError(f"register: {name!r} is {_place(known)}; give {_place(thing)} another name=…")
    REGISTERED[name] = thing
    return thing


def _place(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', repr(thing))}"
