"""Laws beyond the derivative, each a function to call on a layer, a loss or a network of your own.

    from engine.testing import laws
    laws.same_in_graph_and_xla(layer, x)
    laws.batch_is_its_examples(layer, x)

A law that holds returns None; one that is broken raises a `LawError` (an AssertionError) that says what differs,
where, and by how much more than rounding explains. Wrong arguments are a ValueError or a TypeError.

All take the arguments alike. `fn`: a `tf.Module`, a method of one, a `functools.partial` of these, or a function.
`inputs`: one tensor; or a tuple or list, the positional arguments; or a dict, which is one argument. Arguments may
be nests of tensors; integers, booleans and None pass through. `training`: what is passed as `training=` to a
callable that takes it, None for nothing; with dropout a step context, `engine.StepContext(seed, step)`, of which each
evaluation gets a copy. Variables of the module are put back after every evaluation.
"""

from engine.testing.laws.agreement import LawError
from engine.testing.laws.batches import batch_is_its_examples, examples_sum_to_batch_gradient
from engine.testing.laws.compilers import same_in_graph_and_xla
from engine.testing.laws.freezing import frozen_has_no_gradient
from engine.testing.laws.precisions import float32_follows_float64
from engine.testing.laws.replicated import replicas_are_one
from engine.testing.laws.saving import saving_changes_nothing

__all__ = [
    "LawError",
    "batch_is_its_examples",
    "examples_sum_to_batch_gradient",
    "float32_follows_float64",
    "frozen_has_no_gradient",
    "replicas_are_one",
    "same_in_graph_and_xla",
    "saving_changes_nothing",
]
