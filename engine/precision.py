"""Precision is the dtype of a model's variables and the dtype that its inputs are cast to: no global policy.

Mixed precision is just that: variables, slots and everything that is summed stay float32, layers compute in their
input's dtype, and losses read the outputs back in float32.
"""

import copy
from typing import NamedTuple

import absl.logging
import tensorflow as tf

from engine.names import variable_paths


class Precision(NamedTuple):
    """name; variables: what weights and slots are kept in; compute: what inputs are cast to."""

    name: str
    variables: tf.DType
    compute: tf.DType


PRECISIONS = {
    "float32": Precision("float32", tf.float32, tf.float32),
    "bfloat16": Precision("bfloat16", tf.float32, tf.bfloat16),
    "float16": Precision("float16", tf.float32, tf.float16),
    "float64": Precision("float64", tf.float64, tf.float64),
}


def get(name: str) -> Precision:
    """A precision by name; an unknown one is a ValueError that lists the legal ones."""
    if name not in PRECISIONS:
        raise ValueError(f"unknown precision {name!r}; there are {', '.join(PRECISIONS)}")
    return PRECISIONS[name]


def cast(model: tf.Module, dtype: tf.DType | str) -> tf.Module:
    """A copy of `model` whose floating variables are `dtype`, holding the same values (rounded, where narrower).

    Integer variables keep their dtype. Shared variables stay shared; the copy shares nothing with the original.
    Call it within the strategy's scope if there is one.
    """
    dtype = tf.as_dtype(dtype)
    replaced = {
        id(variable): tf.Variable(
            tf.cast(variable, dtype) if variable.dtype.is_floating else variable,
            trainable=variable.trainable,
            name=variable.name.split(":")[0],
        )
        for variable in variable_paths(model).values()
    }
    copied = copy.deepcopy(model, memo=replaced)
    for part in (copied, *copied.submodules):
        for name in ("dtype", "compute_dtype"):
            if isinstance(getattr(part, name, None), tf.DType):
                setattr(part, name, dtype)
    return copied


def cast_floating(values, dtype: tf.DType):
    """Every floating tensor of a nest in `dtype`; integers and the rest as they are."""
    return tf.nest.map_structure(
        lambda value: tf.cast(value, dtype) if getattr(value, "dtype", None) and value.dtype.is_floating else value,
        values,
    )


def check_variables(model: tf.Module, precision: Precision) -> None:
    """Refuses a model whose floating variables are not in the precision's dtype, naming the first.

    Warns of layers without a floating input, such as embeddings, that compute in another dtype than was asked for.
    """
    for module in (model, *model.submodules):
        if hasattr(module, "compute_dtype") and (module.compute_dtype or precision.variables) != precision.compute:
            name = precision.compute.name
            absl.logging.warning("%r does not compute in %s: give it compute_dtype=%r", module, name, name)
    for path, variable in variable_paths(model).items():
        if variable.dtype.is_floating and variable.dtype != precision.variables:
            raise ValueError(
                f"variable {path} is {variable.dtype.name} where the precision asks for {precision.variables.name}: "
                f"give the Trainer engine.cast(model, {precision.variables.name!r})"
            )
