"""Composition beyond a straight stack: residual connections, parallel branches, and functions that can be saved."""

import functools
import importlib
import operator

import tensorflow as tf

from layers import activations
from layers.base import Layer
from layers.enforcement import enforce
from layers.registry import REGISTERED, _place
from layers.sequential import Sequential, _name, _takes_training, _waiting


class Residual(Layer):
    """block(x) + shortcut(x); x itself where there is no shortcut.

    block: a layer, a function of a tensor, or a list of them, one after the other. shortcut: None, or likewise what
    brings x to the shape of block(x), such as `Conv2D(16, 32, 1, strides=2)`.
    `training` reaches those that take it. Shapes that differ are refused, never broadcast: a ValueError, and where
    sizes are unknown an error as the model runs (under XLA, or NaN).
    Source: He et al. 2016, equations 1 and 2.

    >>> from layers import Dense
    >>> Residual([Dense(8, 16, activation="relu"), Dense(16, 8)])(tf.zeros([2, 8])).shape
    TensorShape([2, 8])
    """

    def __init__(self, block, shortcut=None):
        super().__init__()
        self.block = _branch(self, "block", block)
        self.shortcut = None if shortcut is None else _branch(self, "shortcut", shortcut)
        self.last_dimension(None)

    def last_dimension(self, size):
        """The block's, which must be that of the shortcut."""
        through = self.block.last_dimension(size)
        beside = size if self.shortcut is None else self.shortcut.last_dimension(size)
        if None not in (through, beside) and through != beside:
            raise ValueError(f"{self!r}: block makes a last dimension of {through}, the shortcut {beside}")
        return beside if through is None else through

    def __call__(self, x, training=False):
        """block(x) + shortcut(x)."""
        y = self.block(x, training=training)
        beside = x if self.shortcut is None else self.shortcut(x, training=training)
        return _elementwise(self, lambda tensors: operator.add(*tensors), [y, beside])


def _mul(tensors):
    return functools.reduce(operator.mul, tensors)


_MERGES = {
    "concat": lambda tensors: tf.concat(tensors, -1),
    "sum": tf.add_n,
    "mul": _mul,
    "ave": lambda tensors: tf.add_n(tensors) / len(tensors),
}


class Parallel(Layer):
    """Branches that see the same x, their results merged.

    branches: a list, each a layer, a function of a tensor, or a list of them, one after the other.
    merge: "concat" along the last dimension, or "sum", "mul" (product) or "ave" (mean) of equal shapes, never
    broadcast, as in `Residual`. `training` reaches those that take it.
    Source: Szegedy et al. 2015, figure 2, for the concatenation.

    >>> from layers import Dense
    >>> Parallel([Dense(8, 3), [Dense(8, 4, activation="relu"), Dense(4, 5)]])(tf.zeros([2, 8])).shape
    TensorShape([2, 8])
    """

    def __init__(self, branches, merge="concat"):
        super().__init__()
        if not (isinstance(branches, (list, tuple)) and branches):
            raise ValueError(f"{self!r}: branches must be a list of at least one, found {branches!r}")
        if merge not in _MERGES:
            raise ValueError(f"{self!r}: merge must be one of {', '.join(_MERGES)}, found {merge!r}")
        self.merge = merge
        self.branches = tuple(_branch(self, f"branches[{index}]", branch) for index, branch in enumerate(branches))
        self.last_dimension(None)

    def last_dimension(self, size):
        """The sum of the branches' for "concat", else what all of them have."""
        sizes = [branch.last_dimension(size) for branch in self.branches]
        if self.merge == "concat":
            return None if None in sizes else sum(sizes)
        known = sorted({size for size in sizes if size is not None})
        if len(known) > 1:
            raise ValueError(f"{self!r}: merge={self.merge!r} needs equal shapes, last dimensions are {known}")
        return known[0] if known else None

    def __call__(self, x, training=False):
        """The branches' results, merged."""
        results = [branch(x, training=training) for branch in self.branches]
        merge = _MERGES[self.merge]
        return merge(results) if self.merge == "concat" else _elementwise(self, merge, results)


class Lambda(Layer):
    """A function of a tensor as a layer that can be saved: it is kept by its name.

    function: the name of an activation, the path by which a function is imported, such as "tensorflow.math.sin" or
    "mypackage.blocks.gate", or the function itself if it can be imported: a lambda, a function inside a function, and
    one of the program that runs (`__main__`) have no name that another program could import, and are refused.
    (`Sequential` takes any function, as long as the model is not saved.) `training` is passed if the function takes it.
    A file of a model imports nothing: from one come activations, TensorFlow's maths ("tensorflow.math.…",
    "tensorflow.nn.…") and what `layers.register` was given under that path.
    Fields: `function`, and its `path`.

    >>> Lambda("tensorflow.math.square")(tf.constant([3.0])).numpy().tolist()
    [9.0]
    >>> Lambda(lambda x: x * 2)
    Traceback (most recent call last):
    ValueError: Lambda: function must be importable, a lambda has no name: define it in a module with def
    """

    def __init__(self, function):
        super().__init__()
        self.path = _path(function) if callable(function) else function
        if not isinstance(self.path, str):
            raise TypeError(f"Lambda: function must be a function or its name, found {function!r}")
        self.function = function if callable(function) else _imported(function)
        self._takes_training = _takes_training(self.function)

    @classmethod
    def from_saved(cls, function):
        """The layer of a function by its name in a file, which is no reason to import anything."""
        if callable(function):
            return cls(function)
        if not isinstance(function, str):
            raise ValueError(f"Lambda: function must be a name, found {function!r}")
        registered = {_place(thing): thing for thing in REGISTERED.values()} | REGISTERED
        if function in registered or function in activations.BY_NAME:
            return cls(registered.get(function, function))
        raise ValueError(f"Lambda: the file names the function {function!r}: give it to layers.register to allow it")

    def __call__(self, x, training=False):
        """function(x)."""
        return self.function(x, training=training) if self._takes_training else self.function(x)


def _path(function):
    """The path by which `function` is imported, or a ValueError that says why there is none."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if name is not None and name.endswith("<lambda>"):
        reason = "a lambda has no name: define it in a module with def"
    elif name is None or module is None:
        reason = f"{function!r} has no name: define a function in a module with def"
    elif "<locals>" in name:
        reason = f"{name} is defined inside a function: define it in a module"
    elif module == "__main__":
        reason = f"{name} is of the program that runs: define it in a module"
    else:
        path = f"{module}.{name}"
        try:
            found = _imported(path)
        except ValueError:
            found = None
        if found is function:
            return path
        reason = f"{path} is something else: give the path by which it is imported"
    raise ValueError(f"Lambda: function must be importable, {reason}")


def _imported(path):
    """The function of that name or path."""
    if path in activations.BY_NAME:
        return activations.BY_NAME[path]
    parts = path.split(".")
    for end in range(len(parts) - 1, 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        found = functools.reduce(lambda thing, name: getattr(thing, name, None), parts[end:], module)
        if callable(found):
            return found
        break
    raise ValueError(f"Lambda: function {path!r} is neither an activation nor the path of a function to import")


def _branch(layer, name, block):
    """`block` as a layer that passes `training` on."""
    parts = block if isinstance(block, (list, tuple)) else [block]
    for part in parts:
        if _waiting(part) or not callable(part):
            raise TypeError(f"{layer!r}: {name} must be of layers and functions, found {_name(part)}")
    return block if isinstance(block, Sequential) else Sequential(parts)


def _elementwise(layer, merge, tensors):
    """merge(tensors), if their shapes are equal: sums and products would broadcast."""
    tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
    first, *others = tensors
    for other in others:
        if not first.shape.is_compatible_with(other.shape):
            raise ValueError(f"{layer!r}: branches must make equal shapes, found {first.shape} and {other.shape}")
    if all(tensor.shape.is_fully_defined() for tensor in tensors):
        return merge(tensors)
    if any(tensor.shape.rank is None for tensor in tensors):
        raise ValueError(f"{layer!r}: branches must make equal shapes, found one of unknown rank")
    sizes = tf.stack([tf.shape(tensor) for tensor in tensors])
    equal = tf.reduce_all(sizes == sizes[0], 0)
    axis = tf.argmin(tf.cast(equal, tf.int32), output_type=tf.int32)
    message = "branches must make equal shapes, sizes of an axis"
    return enforce(layer, tf.reduce_all(equal), message, tf.gather(sizes, axis, axis=1), lambda: merge(tensors))
