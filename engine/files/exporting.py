"""A model as a SavedModel: for TensorFlow Serving, other languages, and programs that do not have this code."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from engine.files.replacing import replace
from engine.objective import call_model

_TOLERANCE = 1e-4


def export(
    model: tf.Module,
    folder: str | Path,
    inputs: Any,
    *,
    example: Any = None,
    preprocess: Callable | None = None,
    name: str = "serving_default",
) -> Path:
    """Writes `model`, in inference, as a SavedModel with the signature `name`, which `tf.saved_model.load` reads.

    inputs: what one call gets: a `tf.TensorSpec` or a dict of them, or a batch as an example; the first dimension, the
        batch's, becomes unknown. A single tensor goes by the name `inputs`, those of a dict by their keys.
    example: a batch of such inputs, as real as can be, to compare with, where `inputs` are specifications; without it
        floats are drawn from 0 to 1, and integers are 0, which is a class, a token and a length everywhere, but says
        little of pictures.
    preprocess: a function of such inputs to what the model takes, such as uint8 pixels to floats; part of the export.

    A single output goes by the name `outputs`, those of a dict by their keys, those of a tuple by `output_0`, ….

    What was written is loaded again and compared with the model on the example (1e-4 of the largest output) before it
    takes its place, under another name until then. ValueError: a folder that holds anything but an export, an export
    that computes other numbers, or outputs that are no numbers.

    >>> import tempfile, layers, engine
    >>> folder = engine.export(layers.Dense(3, 2), tempfile.mkdtemp() + "/dense", tf.TensorSpec([None, 3]))
    >>> tf.saved_model.load(str(folder)).signatures["serving_default"](inputs=tf.zeros([5, 3]))["outputs"].shape
    TensorShape([5, 2])
    """
    folder = Path(folder)
    if folder.exists() and not (folder / "saved_model.pb").is_file() and any(folder.iterdir()):
        raise ValueError(f"export: {folder} holds something that is no export: choose another folder")
    named = inputs if isinstance(inputs, Mapping) else {"inputs": inputs}
    specs = {key: _spec(key, value) for key, value in named.items()}

    def compute(**given):
        found = given if isinstance(inputs, Mapping) else given["inputs"]
        found = preprocess(found) if preprocess else found
        return _by_name(call_model(model, found, False))

    served = tf.function(compute, autograph=False).get_concrete_function(**specs)
    holder = tf.Module()
    holder.model = model
    aside = folder.with_name(f".writing-{folder.name}-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        tf.saved_model.save(holder, str(aside), signatures={name: served})
        given = example if isinstance(example, Mapping) else {} if example is None else {"inputs": example}
        examples = {key: _example(given.get(key, named[key]), spec) for key, spec in specs.items()}
        _compare(tf.saved_model.load(str(aside)).signatures[name](**examples), compute(**examples))
        replace(folder, aside)
    except OSError as error:
        raise OSError(f"{folder} could not be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _spec(name: str, value: Any) -> tf.TensorSpec:
    value = value if isinstance(value, tf.TensorSpec) else tf.TensorSpec(np.shape(value), tf.as_dtype(value.dtype))
    if value.shape.rank is None or value.shape.rank == 0:
        raise ValueError(f"export: inputs must have a batch dimension, {name} is {value}")
    return tf.TensorSpec([None, *value.shape[1:]], value.dtype, name)


def _example(value: Any, spec: tf.TensorSpec) -> tf.Tensor:
    if not isinstance(value, tf.TensorSpec):
        return tf.convert_to_tensor(value)
    shape = [3 if size is None else size for size in spec.shape]
    if not spec.dtype.is_floating:
        return tf.zeros(shape, spec.dtype)
    return tf.cast(np.random.default_rng(0).uniform(0, 1, shape), spec.dtype)


def _by_name(outputs: Any) -> dict[str, tf.Tensor]:
    if isinstance(outputs, Mapping):
        return dict(outputs)
    if isinstance(outputs, tuple | list):
        return {f"output_{number}": output for number, output in enumerate(outputs)}
    return {"outputs": outputs}


def _compare(found: Mapping[str, tf.Tensor], expected: Mapping[str, tf.Tensor]) -> None:
    for name, tensor in expected.items():
        if not (tf.is_tensor(tensor) and (tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool)):
            raise ValueError(f"export: {name} must be a tensor of numbers, the model makes {tensor!r}")
        values, other = (tf.cast(numbers, tf.float64).numpy() for numbers in (tensor, found[name]))
        finite = np.isfinite(values)
        tolerance = _TOLERANCE * max(np.abs(values[finite]).max(initial=0), 1e-30)
        if not np.allclose(values, other, rtol=0, atol=tolerance, equal_nan=True):
            off = np.abs(values[finite] - other[finite]).max(initial=0)
            raise ValueError(f"export: {name} of the exported model is off by {off:.3g}")
