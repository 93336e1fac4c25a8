"""The base of all layers: a `tf.Module` that knows its arguments, its dtype and whether it is frozen."""

import dataclasses
import functools
import inspect

import numpy as np
import tensorflow as tf

from layers import initializers
from layers.registry import REGISTERED


class Layer(tf.Module):
    """A function of a tensor with variables: `__init__` creates every one, `__call__` only computes.

    A layer of your own takes its sizes first:

    >>> class Scale(Layer):
    ...     def __init__(self, features, *, dtype=tf.float32):
    ...         super().__init__(dtype)
    ...         self.gain = self.variable("gain", [features], "ones")
    ...     def __call__(self, x):
    ...         return x * tf.cast(self.gain, x.dtype)
    >>> Scale(3)
    Scale(3)

    `__call__` takes `training` only if it behaves differently in training (see `layers.context`).

    - `dtype` is that of the variables. A layer computes in the dtype of its input and casts its
      variables on use; statistics of normalisation are at least float32.
    - `arguments` are those of the constructor, as given.
    - `registry` holds what files of models may name (`layers.register`).
    - `trainable = False` freezes all modules below: no gradient, no update, inference statistics in
      BatchNorm. Dropout has no variables and goes on as `training` says.
    """

    dtype = tf.float32
    # The axes of a field `kernel` that number the outputs.
    kernel_outputs: tuple[int, ...] = (-1,)
    registry = REGISTERED
    _trainable = True

    def __new__(cls, *args, **kwargs):
        """A layer that knows its arguments before `__init__` runs, for the errors there."""
        layer = super().__new__(cls)
        # A partial is one opaque object to TensorFlow, whose tracking of dicts and lists would put the
        # arguments into checkpoints. The nest is copied: a caller may go on to change a list.
        args, kwargs = tf.nest.map_structure(lambda leaf: leaf, (args, kwargs))
        layer._construction = functools.partial(cls, *args, **kwargs)
        return layer

    def __init__(self, dtype=tf.float32):
        super().__init__()
        try:
            self.dtype = tf.as_dtype(dtype)
        except TypeError:
            raise ValueError(f"{self!r}: dtype must be a floating type, found {dtype!r}") from None
        if not self.dtype.is_floating:
            raise ValueError(f"{self!r}: dtype must be a floating type, found {self.dtype.name}")

    @property
    def arguments(self):
        """The constructor's arguments, an `inspect.BoundArguments`: `.arguments` by name, `.args`, `.kwargs`."""
        made = self._construction
        return inspect.signature(self.__init__).bind(*made.args, **made.keywords)

    def __repr__(self):
        made = self._construction
        arguments = [_show(value) for value in made.args]
        arguments += [f"{name}={_show(value)}" for name, value in made.keywords.items()]
        return f"{type(self).__name__}({', '.join(arguments)})"

    @property
    def trainable(self):
        """Whether training may change this layer; setting it sets all modules below, foreign ones too."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        self._trainable = bool(value)
        for module in self.submodules:
            setattr(module, "_trainable" if isinstance(module, Layer) else "trainable", bool(value))

    def variable(self, name, shape, initializer, *, dtype=None, trainable=True):
        """A new variable, by default of the layer's dtype; `initializer` is a name or a function."""
        dtype = dtype or self.dtype
        try:
            make = initializers.get(initializer)
        except ValueError as error:
            raise ValueError(f"{self!r}: variable {name!r}: {error}") from None
        value = tf.convert_to_tensor(make(shape, dtype), dtype)
        if not value.shape.is_compatible_with(shape):
            found = value.shape.as_list()
            raise ValueError(f"{self!r}: the initializer of {name!r} must make {list(shape)}, found {found}")
        return tf.Variable(value, trainable, name=name, dtype=dtype, shape=shape)

    def last_dimension(self, size):
        """The size of the output's last dimension if the input's is `size`; None means unknown.

        A layer with sizes overrides it, and raises a ValueError for those that it cannot take.
        """

    def take(self, x, rank=None, size=None):
        """`x` as a floating tensor of a rank and last dimension that the layer can take, or an error.

        Raises TypeError for other dtypes, ValueError for another rank (`rank`, or at least 2) or size. size: what the
        last dimension must be, checked as the program runs where it is unknown; for layers that would broadcast.
        """
        x = tf.convert_to_tensor(x)
        if not x.dtype.is_floating:
            raise TypeError(
                f"{self!r} computes with floats, found an input of {x.dtype.name}: "
                "convert it first (in a data pipeline: transform=data.to_float)"
            )
        expected = "at least 2" if rank is None else rank
        if x.shape.rank is None:
            raise ValueError(f"{self!r} expects an input of rank {expected}, found an unknown one")
        if x.shape.rank < 2 if rank is None else x.shape.rank != rank:
            raise ValueError(f"{self!r} expects an input of rank {expected}, found {x.shape.as_list()}")
        self.last_dimension(x.shape[-1])
        return tf.ensure_shape(x, [*x.shape[:-1], size]) if size is not None and x.shape[-1] is None else x

    def expect(self, size, expected):
        """Refuses a known size of the last dimension that is not the expected one."""
        if size not in (None, expected):
            raise ValueError(f"{self!r} expects a last dimension of {expected}, found {size}")


def _show(value):
    """An argument as one would write it."""
    if isinstance(value, (list, tuple)):
        inside = ", ".join(map(_show, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    if isinstance(value, tf.DType):
        return repr(value.name)
    if isinstance(value, (tf.Tensor, tf.Variable, np.ndarray)):
        return f"<{value.dtype.name} {list(value.shape)}>"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (f"{field.name}={_show(getattr(value, field.name))}" for field in dataclasses.fields(value))
        return f"{type(value).__name__}({', '.join(fields)})"
    return getattr(value, "__name__", None) or repr(value)
