"""Accumulation and compilation: one slice of a batch, computed in several parts, each by XLA if asked for."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from engine.context import StepContext
from engine.slices import batch_rows, part, take
from engine.sums import SliceSums, added


class Cut(NamedTuple):
    """How a replica's slice is computed.

    parts: in how many contiguous parts, one after the other (accumulation).
    jit_compile: forward and backward by XLA, which compiles once for each number of rows that a part may have: those
    of a run are few.
    unrolled: the parts are traced one by one, and not in a loop: their sizes are then known to an XLA program that the
    step is part of.
    """

    parts: int = 1
    jit_compile: bool = False
    unrolled: bool = False


WHOLE = Cut()


class NotCompiled(ValueError):
    """XLA can't compile what it was to compile."""


@contextlib.contextmanager
def explained(jit_compile: bool) -> Iterator[None]:
    """Within it, what XLA can't compile is a `NotCompiled` that names `jit_compile` and the reason."""
    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        if not jit_compile or "compil" not in error.message:
            raise
        lines = error.message.splitlines()
        reason = re.sub(r"^\W*\(\d+\) \w+: *", "", next((line for line in lines if "XLA" in line), lines[0]))
        raise NotCompiled(f"jit_compile: XLA can't compile this step, train without it: {reason}") from error


class _Collective(Exception):
    """A replica spoke to the others where it can't: in a loop or a function of its own."""


def cut_sums(sums_of: Callable, batch: Mapping[str, Any], context: StepContext, cut: Cut) -> SliceSums:
    """`sums_of(batch, context)` over the parts of a slice, added up.

    The parts come one after the other in a loop, traced once. Only where layers of several replicas speak to each
    other within the forward pass (BatchNorm), which TensorFlow can't do in a loop or a compiled function, the parts
    are traced one by one, and XLA compiles what lies between the all-reduces.
    """
    if cut.parts == 1 and not cut.jit_compile:
        return sums_of(batch, context)
    strings = [leaf.name for leaf in tf.nest.flatten(batch) if cut.jit_compile and leaf.dtype == tf.string]
    if strings:
        raise ValueError(f"jit_compile: XLA takes no strings, and the batch holds some ({', '.join(strings)})")
    if cut.unrolled:
        return _one_by_one(sums_of, batch, context, cut)
    try:
        return _looped(sums_of, batch, context, cut)
    except _Collective:
        return _one_by_one(sums_of, batch, context, cut)


def _looped(sums_of, batch, context, cut):
    def speak(_):
        raise _Collective

    reduce = {"all_reduce": speak if context.replicas > 1 else None, "replicas": context.replicas}
    seed, step = context.seed, context.step

    # All that differs between parts is an argument: the function is traced once, and compiled once.
    @tf.function(autograph=False, jit_compile=cut.jit_compile)
    def compute(batch, seed, step, first_row, valid_rows, first_part):
        return sums_of(batch, StepContext(seed, step, first_row, valid_rows, **reduce, first_part=first_part))

    def part_sums(number, count):
        own, first_row, rows = _part(batch, context, number, count)
        # Where every row counts, layers are spared the masks.
        valid_rows = None if context.valid_rows is None else rows
        return compute(own, seed, step, first_row, valid_rows, tf.equal(number, 0))

    if cut.parts == 1:
        return part_sums(0, 1)
    # No part is empty, unless the whole slice is.
    count = tf.minimum(cut.parts, tf.maximum(_rows(batch, context), 1))
    first = part_sums(0, count)
    leaves = tf.nest.flatten(first, expand_composites=True)

    def sums(reached):
        present = iter(reached)
        filled = [None if leaf is None else next(present) for leaf in leaves]
        return tf.nest.pack_sequence_as(first, filled, expand_composites=True)

    def present(sums):
        return [leaf for leaf in tf.nest.flatten(sums, expand_composites=True) if leaf is not None]

    growing = _growing(first)
    shapes = [tf.TensorShape([None, *t.shape[1:]]) if id(t) in growing else t.shape for t in present(first)]
    _, total = tf.while_loop(
        lambda number, _: number < count,
        lambda number, reached: (number + 1, present(added(sums(reached), part_sums(number, count)))),
        (1, present(first)),
        shape_invariants=(tf.TensorShape([]), shapes),
        parallel_iterations=1,
    )
    return sums(total)


def _growing(sums: SliceSums) -> set[int]:
    """The ids of the tensors of rows' gradients, which become longer with each part."""
    slices = [g for g in (*sums.gradients, *sums.penalty_gradients) if isinstance(g, tf.IndexedSlices)]
    return {id(tensor) for g in slices for tensor in (g.values, g.indices)}


def _one_by_one(sums_of, batch, context, cut):
    total = None
    for number in range(cut.parts):
        own, first_row, rows = _part(batch, context, number, cut.parts)
        reduce = {"all_reduce": context.all_reduce, "replicas": context.replicas}
        with tf.xla.experimental.jit_scope() if cut.jit_compile else contextlib.nullcontext():
            sums = sums_of(
                own, StepContext(context.seed, context.step, first_row, rows, **reduce, first_part=number == 0)
            )
        total = sums if total is None else added(total, sums)
    return total


def _rows(batch, context):
    return batch_rows(batch) if context.valid_rows is None else tf.cast(context.valid_rows, tf.int32)


def _part(batch, context, number, count):
    """(rows of the batch, index of the first in the global batch, how many count)."""
    first, rows = part(_rows(batch, context), number, count)
    own = batch if isinstance(count, int) and count == 1 else take(batch, first, rows)
    return own, context.first_row + tf.cast(first, tf.int64), rows
