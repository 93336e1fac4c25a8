"""The leaves of a nest by name, as in `inputs[0]['a']`."""

from collections.abc import Iterator, Mapping

import tensorflow as tf


def named_leaves(nest, name: str) -> list[tuple[str, object]]:
    """(name, leaf) for every leaf, in the order of `tf.nest.flatten(nest, expand_composites=True)`.

    The components of a ragged or sparse tensor all go by its name.

    >>> named_leaves(({"b": 1, "a": [2, 3]},), "inputs")
    [("inputs[0]['a'][0]", 2), ("inputs[0]['a'][1]", 3), ("inputs[0]['b']", 1)]
    """
    return list(_walk(nest, name))


def _walk(node, name: str) -> Iterator[tuple[str, object]]:
    if isinstance(node, Mapping) and tf.nest.is_nested(node):
        for key in sorted(node):
            yield from _walk(node[key], f"{name}[{key!r}]")
    elif isinstance(node, tuple) and hasattr(node, "_fields"):
        for field, value in zip(node._fields, node, strict=True):
            yield from _walk(value, f"{name}.{field}")
    elif isinstance(node, list | tuple):
        for position, value in enumerate(node):
            yield from _walk(value, f"{name}[{position}]")
    else:
        # Ragged and sparse tensors, and the classes of others that tf.nest can open.
        for leaf in tf.nest.flatten(node, expand_composites=True):
            yield name, leaf


def is_floating(leaf) -> bool:
    """Whether a leaf is a tensor, an array or a number that has derivatives. Complex ones are a TypeError."""
    if isinstance(leaf, float):
        return True
    dtype = getattr(leaf, "dtype", None)
    if dtype is None:
        if isinstance(leaf, complex):
            raise TypeError("complex numbers are not supported: check the real and the imaginary part")
        return False
    try:
        dtype = tf.as_dtype(dtype)
    except TypeError:
        return False
    if dtype.is_complex:
        raise TypeError(f"{dtype.name} is not supported: check the real and the imaginary part")
    return dtype.is_floating
