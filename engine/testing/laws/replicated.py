"""The law that replicas compute what one would."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from engine.context import StepContext
from engine.names import variable_paths
from engine.replicas import Replicas
from engine.testing.laws.agreement import LawError, agree, rounding_bounds
from engine.testing.laws.batches import check_batched, common_rows
from engine.testing.laws.subject import GRADIENT, MOVED, Subject

_LAW = "replicas_are_one"


def replicas_are_one(
    module_factory: Callable[[], tf.Module],
    inputs: Any,
    replicas: Sequence[int] = (2, 3),
    *,
    seed: int = 0,
    atol: float = 0.0,
) -> None:
    """A batch cut over replicas gives the outputs, gradients and moved variables of the batch on one.

    The module is made anew within the scope of a `tf.distribute.MirroredStrategy` over logical devices of this
    machine's processor, once for each number in `replicas`, and gets the variables of the first. Each replica computes
    its contiguous slice, in training: where the module takes `training`, that is the step context of its slice, which
    knows `all_reduce` and the rows. Gradients of Σ cotangent·output are summed over replicas. The bound is that of
    `engine.testing.laws.agreement`. A layer that takes a mean over its own slice, or the mean of such means, breaks
    the law.

    `inputs` are `[batch, …]`, with a number of rows that at least one of `replicas` does not divide, for slices
    of unequal sizes; with fewer rows than replicas, some have none. ValueError otherwise. RuntimeError where the
    process has too few logical devices. See `engine.testing.laws` for the other arguments.
    """
    with tf.device("CPU:0"):
        module = module_factory()
        subject = Subject(module, inputs, StepContext(seed, 0))
        rows = common_rows(_LAW, subject)
        _check_counts(replicas, rows)
        check_batched(_LAW, subject, subject.outputs(), rows)
        cotangents = subject.cotangents()

        def evaluate(args):
            with subject.undisturbed():
                return subject.measure(args, cotangents)

        expected = evaluate(subject.args)
        bounds = rounding_bounds(subject, evaluate, expected, atol=atol)
    for count in replicas:
        try:
            found, states = _on_replicas(module_factory, subject, cotangents, count, seed)
        except Exception as error:
            text = f"{subject} computes on one replica, but not on {count}: {type(error).__name__}: {error}"
            raise LawError(_LAW, text) from error
        state = {name: value for name, value in expected.items() if name.endswith(MOVED)}
        rest = {name: value for name, value in expected.items() if name not in state}
        agree(_LAW, subject, found, rest, bounds, f"on {count} replicas", "on one")
        for number, moved in enumerate(states):
            agree(_LAW, subject, moved, state, bounds, f"on replica {number} of {count}", "on one")


def _on_replicas(module_factory, subject, cotangents, count, seed):
    """(outputs and gradients of the whole batch, moved variables of each replica), by name."""
    shared = Replicas(_strategy(count))
    with shared.scope():
        module = module_factory()
    for path, variable in variable_paths(module).items():
        variable.assign(subject.variables[path])
    own = Subject(module, subject.args)
    batched = {GRADIENT + name for name, x in subject.sources.items() if x.shape.rank}
    leaves = tf.nest.flatten(subject.args)

    def replica(part):
        tensors, directions = part.batch
        given = iter(tensors)
        args = tf.nest.pack_sequence_as(subject.args, [None if leaf is None else next(given) for leaf in leaves])
        measured = own.measure(args, [_valid(v, part) for v in directions], shared.context(part, seed, 0))
        summed = {n: v for n, v in measured.items() if n.startswith(GRADIENT) and n not in batched}
        moved = {n: v for n, v in measured.items() if n.endswith(MOVED)}
        rows = {n: v[: part.valid_rows] for n, v in measured.items() if n not in summed and n not in moved}
        return rows, {n: shared.all_reduce(v) for n, v in summed.items()}, moved

    slices = shared.slices(([leaf for leaf in leaves if leaf is not None], cotangents))
    results = tf.function(lambda slices: shared.run(replica, slices), autograph=False)(slices)
    rows, summed, moved = zip(*results, strict=True)
    return {**{n: tf.concat([part[n] for part in rows], 0) for n in rows[0]}, **summed[0]}, moved


def _valid(cotangent, part):
    """The cotangent of a slice: 0 in the row that stands in for none at all."""
    counts = tf.range(tf.shape(cotangent)[0]) < part.valid_rows
    return tf.where(tf.reshape(counts, [-1] + [1] * (cotangent.shape.rank - 1)), cotangent, tf.zeros_like(cotangent))


def _check_counts(replicas, rows):
    most = max(replicas, default=0)
    if min(replicas, default=0) < 2 or all(rows % count == 0 for count in replicas):
        raise ValueError(
            f"{_LAW} needs numbers of replicas from 2 on, at least one of which does not divide the {rows} rows of the "
            f"inputs, found {tuple(replicas)}"
        )
    there = len(tf.config.list_logical_devices("CPU"))
    if there < most:
        raise RuntimeError(
            f"{_LAW} needs {most} logical devices, this process has {there}: before TensorFlow is used, call "
            "tf.config.set_logical_device_configuration(tf.config.list_physical_devices('CPU')[0], "
            f"[tf.config.LogicalDeviceConfiguration()] * {most})"
        )


@functools.cache
def _strategy(count):
    # The default reduction of a second strategy of another size in one process clashes with that of the first.
    reduce = tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(count)], cross_device_ops=reduce)
