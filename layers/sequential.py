"""Layers one after the other."""

import functools
import inspect

import tensorflow as tf

from layers.base import Layer

# What layers call the size of their input.
_SIZES = ("in_features", "in_channels", "channels", "features")


class Sequential(Layer):
    """xₖ₊₁ = layersₖ(xₖ): layers, or functions of a tensor, one after the other.

    `training` reaches those that take it. Layers whose sizes cannot follow each other are a ValueError that
    names both: at once where the sizes are known, else when the first tensor passes.

    >>> from layers import Dense, Flatten
    >>> model = Sequential([Flatten(), Dense(784, 64, activation="relu"), Dense(64, 10)])
    >>> model(tf.zeros([2, 28, 28])).shape
    TensorShape([2, 10])
    >>> Sequential([Dense(784, 120), Dense(100, 10)])
    Traceback (most recent call last):
    ValueError: layer 1 Dense(100, 10) cannot take [..., 120] from layer 0 Dense(784, 120): \
Dense(100, 10) expects a last dimension of 100, found 120
    """

    def __init__(self, layers):
        super().__init__()
        if not isinstance(layers, (list, tuple)):
            raise TypeError(f"Sequential takes a list of layers, found {layers!r}")
        # A tuple: TensorFlow refuses to save a list that was changed.
        self.layers = tuple(layers)
        for index, layer in enumerate(self.layers):
            if _waiting(layer) or not callable(layer):
                hint = "; layers.chain constructs it" if _waiting(layer) else ""
                raise TypeError(f"layer {index} must be a layer or a function, found {_name(layer)}{hint}")
        self._taking_training = frozenset(index for index, layer in enumerate(self.layers) if _takes_training(layer))
        self.last_dimension(None)

    def last_dimension(self, size):
        """The last layer's, or a ValueError that names two neighbours."""
        for index, layer in enumerate(self.layers):
            try:
                size = layer.last_dimension(size) if isinstance(layer, Layer) else None
            except ValueError as error:
                raise ValueError(_misfit(self.layers, index, ["...", size], error)) from error
        return size

    def __call__(self, x, training=False):
        """layersₙ(… layers₀(x))."""
        for index in range(len(self.layers)):
            keywords = {"training": training} if index in self._taking_training else {}
            x = _apply(self.layers, index, x, **keywords)
        return x


def chain(input_shape, *items, dtype=tf.float32):
    """A `Sequential` whose layers learn their input sizes from each other, for a straight stack.

    `input_shape` is one example's, without the batch: `(28, 28, 1)`. An item is a layer, a function of a tensor, or
    a layer waiting for its input size: `partial(layers.Conv2D, filters=32, kernel_size=3)` (keywords only)
    or a bare class. If what waits misses its `in_features`, `in_channels`, `channels` or `features`, that is the last
    dimension that reaches it.
    Shapes come from tracing each layer on an unknown batch of `dtype`, the input's; nothing is computed. A stack that
    begins with an `Embedding` takes integers: `chain((None,), Embedding(1000, 64), …, dtype=tf.int32)`.

    >>> from functools import partial
    >>> from layers import Conv2D, Dense, Flatten
    >>> chain((8, 8, 1), partial(Conv2D, filters=4, kernel_size=3), Flatten, partial(Dense, units=10))
    Sequential([Conv2D(1, filters=4, kernel_size=3), Flatten(), Dense(144, units=10)])
    """
    if not isinstance(input_shape, (tuple, list, tf.TensorShape)):
        raise TypeError(f"chain: input_shape must be one example's, such as (28, 28, 1), found {input_shape!r}")
    built, reached = [], tf.TensorSpec([None, *input_shape], dtype)
    for index, item in enumerate(items):
        try:
            built.append(_sized(item, reached.shape[-1]))
        except (ValueError, TypeError) as error:
            raise _kind(error)(f"chain: item {index} {_name(item)}: {error}") from error
        trace = tf.function(functools.partial(_apply, built, index), autograph=False)
        reached = trace.get_concrete_function(reached).structured_outputs
    return Sequential(built)


def _sized(item, size):
    """`item` as a layer or function: what waits for its input size is constructed with it."""
    if not _waiting(item):
        return item
    made = functools.partial(item)  # a partial of a partial is flat
    if made.args:
        raise TypeError("give keywords only, the input size comes first")
    _, *parameters = inspect.signature(made.func.__init__).parameters.values()
    missing = [
        p.name for p in parameters
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in made.keywords
    ]  # fmt: skip
    sizes = [name for name in missing if name in _SIZES]
    if not sizes:
        return made()
    if size is None:
        raise ValueError("the last dimension that reaches it is unknown")
    # Where a layer's sizes come first, as it would be written.
    return made(size) if sizes[0] == parameters[0].name else made(**{sizes[0]: size})


def _waiting(item):
    """Whether `item` is no layer yet, but a layer's class, alone or in a partial."""
    made = item.func if isinstance(item, functools.partial) else item
    return isinstance(made, type) and issubclass(made, tf.Module)


def _apply(layers, index, x, **training):
    """`layers[index](x)`, with errors that tell where the layer stands."""
    try:
        return layers[index](x, **training)
    except (ValueError, TypeError) as error:
        shape = list(x.shape) if hasattr(x, "shape") else type(x).__name__
        raise _kind(error)(_misfit(layers, index, shape, error)) from error


def _kind(error):
    """The class to raise anew; that of `error` may want other arguments than a message."""
    return TypeError if isinstance(error, TypeError) else ValueError


def _misfit(layers, index, shape, error):
    shown = f"[{', '.join(map(str, shape))}]" if isinstance(shape, list) else shape
    source = f"layer {index - 1} {_name(layers[index - 1])}" if index else "the input"
    return f"layer {index} {_name(layers[index])} cannot take {shown} from {source}: {error}"


def _name(item):
    """A layer by its arguments, a function by its name."""
    if isinstance(item, functools.partial):
        keywords = ", ".join(f"{name}={value!r}" for name, value in item.keywords.items())
        return f"partial({_name(item.func)}, {keywords})"
    return getattr(item, "__name__", None) or repr(item)


def _takes_training(layer):
    try:
        return "training" in inspect.signature(layer).parameters
    except ValueError:  # some builtins have no signature
        return False
