"""What a model is made of: `engine.summary(model, inputs)`."""

from typing import Any

import numpy as np
import tensorflow as tf

from engine.names import module_paths, trainable_variables, variable_paths
from engine.objective import call_model
from engine.summary.calls import Calls, watched
from engine.summary.drawing import drawn
from engine.summary.graphs import Graph
from engine.summary.table import Row, Summary


def summary(model: tf.Module, inputs: Any) -> Summary:
    """Layers by path, output shapes, parameters, multiply-adds and bytes of any `tf.Module`, `model(inputs)`.

    inputs: an example batch, a `tf.TensorSpec` such as `tf.TensorSpec([None, 28, 28, 1])`, or a nest of them, as the
        model takes them. The first dimension is the batch; all numbers are of one example. Sizes that are None
        otherwise stay unknown: give one (a text's length) to have the multiply-adds counted.

    The model is traced in inference, as the Trainer traces it; nothing is computed, and the model stays as it is. A
    layer is a module that is called by its `__call__`, foreign ones too, or that has variables of its own; what else a
    module computes counts for itself, so that every column adds up to its total.
    Multiply-adds are those of matrix products, einsums and convolutions (padding counts) as this device is given them,
    times the turns of the loops around them; of a branch, the dearer side counts. Everything else (additions,
    activations, normalisation, pooling, gathers) counts nothing. What should count and could not be is in
    `Summary.notes`.

    >>> from layers import Dense, Sequential
    >>> model = Sequential([Dense(784, 64, activation="relu"), Dense(64, 10)])
    >>> found = summary(model, tf.TensorSpec([None, 784]))
    >>> found.parameters, found.multiply_adds, found.bytes
    (50890, 50816, 203560)
    """
    if not isinstance(model, tf.Module):
        raise TypeError(f"summary takes a tf.Module, found {model!r}")
    specs = tf.nest.map_structure(_one_example, inputs)
    paths = module_paths(model)
    with watched(paths) as calls:
        traced = tf.function(lambda x: call_model(model, x, False), autograph=False).get_concrete_function(specs)
    graph = Graph(traced.graph.as_graph_def(add_shapes=True))
    counted = graph.multiply_adds()
    rows = _rows(model, paths, calls, counted.by_module)
    drawing = drawn(graph, traced, rows, calls, list(paths))
    return Summary(_in_order(rows, calls), _notes(counted.notes, paths), drawing)


def _one_example(leaf: Any) -> tf.TensorSpec:
    """The spec of a batch of one."""
    spec = leaf if isinstance(leaf, tf.TypeSpec) else tf.TensorSpec.from_tensor(tf.convert_to_tensor(leaf))
    if not isinstance(spec, tf.TensorSpec) or not spec.shape.rank:
        raise ValueError(f"inputs must have a batch dimension: tf.TensorSpec([None, 28, 28, 1]), found {leaf!r}")
    return tf.TensorSpec([1, *spec.shape[1:]], spec.dtype)


def _rows(model: tf.Module, paths: dict, calls: Calls, multiply_adds: dict[int, int]) -> dict[int, Row]:
    """The rows by the numbers of their modules."""
    names = list(paths)
    variables: dict[str, list] = {path: [] for path in paths}
    trained = {id(variable) for variable in trainable_variables(model)}
    for path, variable in variable_paths(model).items():
        variables[_owner(path, paths)].append((variable, id(variable) not in trained))
    rows = {}
    for number, path in enumerate(names):
        own, call = variables[path], calls.found.get(number)
        if call is None and not own and not multiply_adds.get(number):
            continue
        rows[number] = Row(
            path=path,
            layer=type(paths[path]).__name__,
            depth=sum(path.startswith(f"{other}.") for other in names if other) + bool(path),
            calls=call.count if call else 0,
            output=call.output if call else None,
            parameters=sum(_size(variable) for variable, _ in own),
            trainable=sum(_size(variable) for variable, frozen in own if not frozen),
            frozen=any(variable.trainable and frozen for variable, frozen in own),
            multiply_adds=multiply_adds.get(number, 0),
            bytes=sum(_size(variable) * variable.dtype.size for variable, _ in own),
        )
    return rows


def _in_order(rows: dict[int, Row], calls: Calls) -> list[Row]:
    """In the order of first calls; what is never called stands behind the module that it is in."""
    started = {row.path: calls.found[number].started for number, row in rows.items() if row.calls}
    return sorted(rows.values(), key=lambda row: started.get(row.path, started.get(_owner(row.path, started), -1)))


def _owner(path: str, modules: Any) -> str:
    """The path of the innermost of the modules that holds what is at `path`."""
    parts = path.split(".")
    while parts:
        parts.pop()
        if ".".join(parts) in modules:
            break
    return ".".join(parts)


def _size(variable: tf.Variable) -> int:
    return int(np.prod(variable.shape))


def _notes(notes: list[tuple[int | None, str]], paths: dict) -> tuple[str, ...]:
    names = list(paths)
    return tuple(dict.fromkeys(f"{names[number or 0] or 'the model itself'}: {note}" for number, note in notes))
