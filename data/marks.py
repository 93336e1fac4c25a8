"""What a pipeline may give the examples of several batches at once."""

import weakref

# Not an attribute: `functools.wraps` would copy it to what a wrapper makes of the function.
_marked = weakref.WeakSet()


def by_example(function):
    """Marks an `augment` or a `transform`: what it makes of an example depends on that, on its draws and nothing else.

    A pipeline then may give it the examples of several batches at once (`Pipeline.stacks`). Returns the function.

    >>> halved = by_example(lambda batch, draws=None: {**batch, "inputs": batch["inputs"] / 2})
    >>> halved({"inputs": 3.0})
    {'inputs': 1.5}
    """
    _marked.add(function)
    return function


def is_by_example(function):
    """Whether it is marked."""
    try:
        return function in _marked
    except TypeError:
        # An object that can't be hashed can't have been.
        return False
