"""Penalties on variables, named terms of the objective: `Supervised(loss, penalties={"l2": L2(1e-4)})`.

A penalty is any function `model -> scalar`. Those here sum a formula over the variables whose path (`variable_paths`)
matches a pattern, in the notation of `fnmatch`: "*kernel", "layers.0.*", "*". They leave out what training does not
change, moving statistics and frozen layers, and are computed in at least float32. A pattern that matches no variable
at all is a ValueError of the first step.

The engine counts a penalty once per update, however the batch is cut. Its gradient goes into the optimizer's moments;
`optim.AdamW` has a decay that does not.
"""

import dataclasses
import fnmatch
import math
import numbers

import tensorflow as tf

from engine.names import trainable_variables, variable_paths

MODES = ("rows", "columns")


class Regularizer:
    """A penalty that is the sum of `of(value, path)` over all variables that match `pattern` and are trained."""

    pattern: str

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is str:
                fits, expected = isinstance(value, str), "a string"
            else:
                fits = isinstance(value, numbers.Real) and 0 <= value < math.inf and not isinstance(value, bool)
                expected = "at least 0"
            if not fits:
                raise ValueError(f"{type(self).__name__}: {field.name} must be {expected}, found {value!r}")

    def of(self, value: tf.Tensor, path: str) -> tf.Tensor:
        """The penalty of one variable."""
        raise NotImplementedError(f"{type(self).__name__} must define of()")

    def __call__(self, model: tf.Module) -> tf.Tensor:
        """The penalty of a model, a scalar."""
        paths = variable_paths(model)
        found = [path for path in paths if fnmatch.fnmatchcase(path, self.pattern)]
        if not found:
            known = ", ".join([*list(paths)[:8], "…"][: len(paths)])
            raise ValueError(f"{type(self).__name__}: pattern {self.pattern!r} matches no variable of {known}")
        trained = {id(variable) for variable in trainable_variables(model)}
        dtypes = [paths[path].dtype for path in found]
        wide = tf.float64 if tf.float64 in dtypes else tf.float32
        terms = [self.of(tf.cast(paths[path], wide), path) for path in found if id(paths[path]) in trained]
        return tf.add_n(terms) if terms else tf.zeros([], wide)


@dataclasses.dataclass(frozen=True)
class L1(Regularizer):
    """l1·Σ |x|.

    >>> from layers import Dense
    >>> float(L1(0.5)(Dense(2, 3, kernel_initializer="ones")))
    3.0
    """

    l1: float = 0.01
    pattern: str = "*kernel"

    def of(self, value: tf.Tensor, path: str) -> tf.Tensor:
        """The penalty of one variable."""
        return self.l1 * tf.reduce_sum(tf.abs(value))


@dataclasses.dataclass(frozen=True)
class L2(Regularizer):
    """l2·Σ x².

    >>> from layers import Dense
    >>> float(L2(0.5, pattern="*")(Dense(2, 3, kernel_initializer="ones", bias_initializer="ones")))
    4.5
    """

    l2: float = 0.01
    pattern: str = "*kernel"

    def of(self, value: tf.Tensor, path: str) -> tf.Tensor:
        """The penalty of one variable."""
        return self.l2 * tf.reduce_sum(tf.square(value))


@dataclasses.dataclass(frozen=True)
class L1L2(Regularizer):
    """l1·Σ |x| + l2·Σ x².

    >>> from layers import Dense
    >>> float(L1L2(0.5, 0.25)(Dense(2, 3, kernel_initializer="ones")))
    4.5
    """

    l1: float = 0.0
    l2: float = 0.0
    pattern: str = "*kernel"

    def of(self, value: tf.Tensor, path: str) -> tf.Tensor:
        """The penalty of one variable."""
        return L1(self.l1).of(value, path) + L2(self.l2).of(value, path)


@dataclasses.dataclass(frozen=True)
class Orthogonal(Regularizer):
    """factor times the mean of |cos| between two rows, or columns, of a kernel: 0 where all are orthogonal.

    mode: "rows" or "columns". Of a kernel `[…, units]` all dimensions but the last make the rows, so a column is what
    leads to an output unit.
    A kernel of a single row (column) has no pair, and the penalty 0. Kernels count alike whatever their sizes.

    >>> from layers import Dense
    >>> round(float(Orthogonal(0.5)(Dense(2, 3, kernel_initializer="ones"))), 6)
    0.5
    """

    factor: float = 0.01
    mode: str = "rows"
    pattern: str = "*kernel"

    def __post_init__(self):
        super().__post_init__()
        if self.mode not in MODES:
            raise ValueError(f"Orthogonal: mode must be {' or '.join(map(repr, MODES))}, found {self.mode!r}")

    def of(self, value: tf.Tensor, path: str) -> tf.Tensor:
        """The penalty of one variable, of rank 2 or more."""
        if value.shape.rank < 2:
            raise ValueError(f"Orthogonal: {path} {value.shape} has no rows and columns, give another pattern")
        matrix = tf.reshape(value, [-1, value.shape[-1]])
        vectors = matrix if self.mode == "rows" else tf.transpose(matrix)
        unit, count = tf.math.l2_normalize(vectors, 1), vectors.shape[0]
        cosines = tf.linalg.set_diag(tf.matmul(unit, unit, transpose_b=True), tf.zeros([count], value.dtype))
        return self.factor * tf.reduce_sum(tf.abs(cosines)) / max(count * (count - 1), 1)
