"""The laws of a batch: it is its examples, one beside the other."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from engine.testing.laws.agreement import LawError, agree, rounding_bounds
from engine.testing.laws.compilers import check_repeats
from engine.testing.laws.subject import GRADIENT, Subject, map_tensors, named_outputs


def batch_is_its_examples(fn: Callable, inputs: Any, *, training: Any = None, atol: float = 0.0) -> None:
    """Each row of `fn`'s outputs is what `fn` computes for that example alone.

    Every input and output but scalar inputs is `[batch, …]`, with at least 2 rows. It holds for all layers that do not
    mix examples; batch normalisation in training does, and rightly breaks it. With a step context as `training`,
    example i is computed as row i of the batch (`first_row`), so dropout keeps the law.
    The bound is that of `engine.testing.laws.agreement`: kernels may sum in another order for another number of rows.

    See `engine.testing.laws` for the arguments. ValueError where the inputs are no batch.

    >>> batch_is_its_examples(lambda x: x - tf.reduce_mean(x, 1, keepdims=True), tf.constant([[1.0, 2.0], [3.0, 5.0]]))
    """
    law = "batch_is_its_examples"
    subject = Subject(fn, inputs, training)
    rows = common_rows(law, subject)

    def evaluate(args):
        with subject.undisturbed():
            return named_outputs(subject.call(args))

    expected = evaluate(subject.args)
    check_repeats(law, subject, evaluate(subject.args), expected)
    check_batched(law, subject, expected, rows)
    examples = []
    for row in range(rows):
        with subject.undisturbed():
            examples.append(named_outputs(subject.call(_example(subject.args, row), _at(subject.training, row))))
        check_batched(law, subject, examples[-1], 1)
    found = {name: tf.concat([example[name] for example in examples], 0) for name in examples[0]}
    bounds = rounding_bounds(subject, evaluate, expected, atol=atol)
    agree(law, subject, found, expected, bounds, "one example at a time", "as a batch")


def examples_sum_to_batch_gradient(fn: Callable, inputs: Any, *, training: Any = None, atol: float = 0.0) -> None:
    """The gradient of a batch is the sum of its examples' gradients.

    For L = Σᵢ ⟨vᵢ, fn(x)ᵢ⟩ with random vᵢ: ∂L/∂θ = Σᵢ ∂⟨vᵢ, fn(xᵢ)⟩/∂θ for every trainable variable θ and scalar
    input, and ∂L/∂xᵢ = ∂⟨vᵢ, fn(xᵢ)⟩/∂xᵢ for every input `[batch, …]`. It is what lets an engine cut a batch anywhere.
    A loss that takes the mean over the batch breaks it (its outputs are no longer `[batch, …]`), and so does what
    mixes examples. Shapes, contexts and bounds as in `batch_is_its_examples`. A gradient that is None counts as 0.

    >>> examples_sum_to_batch_gradient(tf.nn.softmax, tf.constant([[0.0, 1.0], [2.0, 0.0]]))
    """
    law = "examples_sum_to_batch_gradient"
    subject = Subject(fn, inputs, training)
    rows = common_rows(law, subject)
    outputs = subject.outputs()
    check_batched(law, subject, outputs, rows)
    if not subject.differentiated(subject.args) or not any(y.dtype.is_floating for y in outputs.values()):
        raise ValueError(f"{law}: {subject} has no floating output, or no floating input or trainable variable")
    check_repeats(law, subject, subject.outputs(), outputs)
    cotangents = subject.cotangents()

    def evaluate(args):
        with subject.undisturbed():
            return _gradients(subject, args, subject.measure(args, cotangents))

    expected = evaluate(subject.args)
    examples = []
    for row in range(rows):
        args, parts = _example(subject.args, row), [v[row : row + 1] for v in cotangents]
        with subject.undisturbed():
            measured = subject.measure(args, parts, _at(subject.training, row))
        check_batched(law, subject, {name: y for name, y in measured.items() if name in outputs}, 1)
        examples.append(_gradients(subject, args, measured))
    batched = {GRADIENT + name for name, x in subject.sources.items() if x.shape.rank}
    found = {
        name: tf.concat([example[name] for example in examples], 0)
        if name in batched
        else tf.add_n([tf.cast(example[name], tf.float64) for example in examples])
        for name in expected
    }
    bounds = rounding_bounds(subject, evaluate, expected, atol=atol)
    agree(law, subject, found, expected, bounds, "summed over single examples", "of the batch")


def _gradients(subject, args, measured):
    """The gradients alone, by name: 0 where there is none."""
    sources = {GRADIENT + name: source for name, source in subject.differentiated(args).items()}
    return {name: measured.get(name, tf.zeros_like(source)) for name, source in sources.items()}


def common_rows(law: str, subject: Subject) -> int:
    """The number of rows of all inputs but scalars; ValueError unless they agree on at least 2."""
    leaves = [leaf for leaf in tf.nest.flatten(subject.args) if leaf is not None and leaf.shape.rank]
    sizes = sorted({int(leaf.shape[0]) for leaf in leaves})
    if len(sizes) != 1 or sizes[0] < 2:
        raise ValueError(f"{law} needs inputs [batch, …] of one batch of at least 2 rows, found rows {sizes}")
    return sizes[0]


def check_batched(law: str, subject: Subject, outputs: Mapping[str, tf.Tensor], rows: int) -> None:
    """LawError unless the first dimension of every output has that many rows."""
    for name, y in outputs.items():
        if y.shape.rank == 0 or y.shape[0] != rows:
            text = (
                f"{subject}: {name} has shape {list(y.shape)} for {rows} example(s): the first dimension is not theirs"
            )
            raise LawError(law, text, name=name)


def _example(args, row):
    return map_tensors(lambda leaf: leaf[row : row + 1] if leaf.shape.rank else leaf, args)


def _at(training, row):
    """The step context of one row of its batch; anything else as it is."""
    if not hasattr(training, "first_row"):
        return training
    own = copy.copy(training)
    own.first_row = training.first_row + row
    return own
