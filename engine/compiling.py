"""Which of the two compiled loops a trainer uses: a rule that looks at the model, and never at a clock.

`jit_compile` of a `Trainer`, and of `train.py`:

- False: the graph loop. TensorFlow's kernels, several at a time.
- True: the graph loop, with forward and backward of each replica's slice compiled by XLA.
- "loop": the whole loop is one XLA program over stacked batches, on one device without a strategy.
- "auto": "loop" for small dense and recurrent networks, else False.

By "auto" a network is small if it has from 2¹⁴ to 2²¹ numbers to train, all of them in vectors and matrices, and at
most 256 operations in its forward pass: a smaller one is done before it is compiled, in a larger one the products
outweigh what XLA saves, and one of more operations (a transformer of two blocks) takes tens of seconds to compile.
Its operations must be such as XLA does as well as TensorFlow's kernels, and the same: no convolution or pooling,
which are several times slower in XLA; no lookup, where a wrong index is an error in a graph and something else in
XLA, and nothing with an effect of its own but reading and assigning variables (assertions, printing, Python, random
numbers without a key), unless it gives NaN where XLA can't stop, as the lookup of `layers.Embedding` does. Whatever
it is, it stays with the graph loop where batches are cut (accumulation), are of half precision, come from a stream,
or hold strings or shapes that differ from batch to batch in more than the number of rows; on an accelerator; with a
strategy; and where XLA can't compile it.

The choice is a function of the model and of what a batch is, so that a run that is resumed goes on with the same bits.
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from engine.context import StepContext
from engine.names import trainable_variables
from engine.precision import cast_floating
from engine.replicas import Replicas

CHOICES = ("auto", True, False, "loop")
_FEWEST, _MOST, _MOST_OPERATIONS = 2**14, 2**21, 256
_READING = ("ReadVariableOp", "AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp")
_UNSUITED = ("Conv", "Pool", "If", "Case", "Call", "Gather", "Scatter", "Dilation", "Resize", "Sort", "TopK")
# The name scope of operations that give NaN where a value is not allowed, as `layers.Embedding` does.
_OR_NAN = "or_nan"
# TensorFlow's own function of that name looks at shapes in ways of its own; labels are looked at by `engine.losses`.
_LOSS = "SparseSoftmaxCrossEntropyWithLogits/assert"
_SHAPES = ("Const", "Shape", "ShapeN", "Size", "Rank")


def checked(setting: Any, replicas: Replicas, check_numerics: bool) -> bool | str:
    """The setting. ValueError: it is none, or does not go with the trainer's other settings."""
    if not isinstance(setting, bool | str) or setting not in CHOICES:
        raise ValueError(f'jit_compile must be "auto", True, False or "loop", got {setting!r}')
    if setting == "loop" and replicas.strategy is not None:
        raise ValueError('jit_compile="loop" is for one device: leave out the strategy, or compile with True')
    if check_numerics and (setting in (True, "loop") or replicas.count > 1):
        raise ValueError("check_numerics sees ops of one device without XLA: leave out jit_compile and replicas")
    return setting


def choice(
    setting: bool | str,
    model: tf.Module,
    objective: Callable,
    spec: Any,
    *,
    compute_dtype: tf.DType,
    replicas: Replicas,
    graph: bool,
) -> bool | str:
    """What a setting comes to, for a model and batches of `spec`.

    graph: whether something else keeps "auto" with the graph loop. ValueError: "loop", and batches that can't be
    stacked for XLA.
    """
    if setting == "loop":
        _check_batch(spec)
    if setting != "auto":
        return setting
    if graph or replicas.strategy or replicas.copies_ahead:
        return False
    return "loop" if suits_xla(model, objective, spec, compute_dtype) else False


def _check_batch(spec: Any) -> None:
    for leaf in tf.nest.flatten(spec):
        if not _stacks(leaf):
            raise ValueError(f'jit_compile="loop": XLA takes dense numbers, and the batch holds {leaf}')


def _stacks(leaf: Any) -> bool:
    return isinstance(leaf, tf.TensorSpec) and leaf.dtype not in (tf.string, tf.variant, tf.resource)


def suits_xla(model: tf.Module, objective: Callable, spec: Mapping[str, Any], compute_dtype: tf.DType) -> bool:
    """The rule for "auto": of a model, and batches of `spec`. It traces the forward pass, if the sizes fit."""
    leaves = tf.nest.flatten(spec)
    if compute_dtype.size < 4 or not all(_stacks(leaf) and leaf.shape[1:].is_fully_defined() for leaf in leaves):
        return False
    variables = trainable_variables(model)
    numbers = sum(variable.shape.num_elements() for variable in variables)
    if not _FEWEST <= numbers <= _MOST or any(variable.shape.rank > 2 for variable in variables):
        return False

    @tf.function(autograph=False)
    def forward(batch):
        batch = {**batch, "inputs": cast_floating(batch["inputs"], compute_dtype)}
        return objective(model, batch, StepContext(0, 0)).losses

    graph = forward.get_concrete_function(spec).graph
    if sum(operation.type != "Const" for operation in graph.get_operations()) > _MOST_OPERATIONS:
        return False
    # Bodies of loops; nothing in one that is stateless has an effect.
    within = [node.op for function in graph.as_graph_def().library.function for node in function.node_def]
    return all(map(_suits, graph.get_operations())) and not any(map(_unsuited, within))


def _suits(operation: tf.Operation) -> bool:
    if operation.type in _READING or _OR_NAN in operation.name or _LOSS in operation.name:
        return True
    return not (operation.op_def.is_stateful or _unsuited(operation.type)) or _of_shapes(operation, {})


def _of_shapes(operation: tf.Operation, known: dict) -> bool:
    """Whether it computes with shapes alone, which XLA knows before it runs."""
    if operation.name not in known:
        known[operation.name] = operation.type in _SHAPES or (
            bool(operation.inputs) and all(_of_shapes(tensor.op, known) for tensor in operation.inputs)
        )
    return known[operation.name]


def _unsuited(kind: str) -> bool:
    return any(word in kind for word in _UNSUITED)
