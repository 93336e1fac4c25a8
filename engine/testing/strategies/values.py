"""Strategies for the values of tensors."""

from collections.abc import Callable, Collection
from typing import Any

import ml_dtypes
import numpy as np
import tensorflow as tf
from hypothesis import assume
from hypothesis import strategies as st

from engine.testing.directions import generator
from engine.testing.nests import is_floating
from engine.testing.strategies.shapes import shapes

# Kinds of floating values; "denormal" ones are below the smallest normal number, which processors often flush to 0.
KINDS = ("zeros", "ties", "ordinary", "tiny", "huge", "denormal")
_SEEDS = st.integers(0, 2**16)
_NUDGES = 10


@st.composite
def tensors(
    draw,
    shape: Any = None,
    dtype: Any = "float32",
    magnitude: Any = 1.0,
    elements: Collection[str] | st.SearchStrategy = ("zeros", "ties", "ordinary", "tiny"),
) -> tf.Tensor:
    """Tensors whose values have structure. `shape`, `dtype` and `magnitude` are values or strategies.

    shape: None for any of `shapes()`. dtype: floating, integer (values up to `magnitude`) or bool.
    elements: a strategy for single numbers, or some of `KINDS`, of which each tensor mixes one or more:
    "zeros" (0 and −0), "ties" (few values, often equal), "ordinary" (up to `magnitude`), "tiny" (the smallest normal
    numbers), "huge" (up to the largest finite number), "denormal". The last two are for those who ask: they
    overflow and vanish in functions that are right.
    """
    shape = draw(_strategy(shapes() if shape is None else shape))
    dtype = tf.as_dtype(draw(_strategy(dtype)))
    magnitude = draw(_strategy(magnitude))
    size = int(np.prod(shape, dtype=int))
    if isinstance(elements, st.SearchStrategy):
        values = draw(st.lists(elements, min_size=size, max_size=size))
    else:
        # A few drawn values, and the rest made of them by a seed: so a large tensor is quickly drawn and shrinks.
        few = draw(st.lists(_numbers(draw, elements, dtype, magnitude), min_size=1, max_size=max(size, 1)))[:size]
        rng = generator(draw(_SEEDS))
        more = [few[n] for n in rng.integers(0, len(few), size - len(few))] if few else []
        values = [value for value, _ in few]
        values += [value * rng.uniform(0.5, 1) if scaled else value for value, scaled in more]
    return tf.constant(np.array(values, dtype.as_numpy_dtype).reshape(shape), dtype)


def _numbers(draw, elements, dtype, magnitude):
    """(number, whether more may be made of it by scaling)."""
    if dtype.is_bool:
        return st.tuples(st.booleans(), st.just(False))
    if dtype.is_integer:
        return st.tuples(st.integers(0 if dtype.is_unsigned else -int(magnitude), int(magnitude)), st.just(False))
    unknown = sorted(set(elements) - set(KINDS))
    if unknown or not elements:
        raise ValueError(f"elements must be a strategy or some of {', '.join(KINDS)}, found {elements!r}")
    kinds = draw(st.lists(st.sampled_from(sorted(elements, key=KINDS.index)), min_size=1, unique=True))
    return st.one_of([st.tuples(_floats(kind, dtype, float(magnitude)), st.just(kind == "ordinary")) for kind in kinds])


def _floats(kind, dtype, magnitude):
    """One number of that kind."""
    info = ml_dtypes.finfo(dtype.as_numpy_dtype)
    smallest, largest = float(info.smallest_normal), float(info.max)
    if kind == "zeros":
        return st.sampled_from([0.0, -0.0])
    if kind == "ties":
        return st.sampled_from([0.0, magnitude, -magnitude, magnitude / 2])
    if kind == "ordinary":
        return st.floats(-magnitude, magnitude, allow_subnormal=False)
    sizes = {
        "tiny": st.integers(1, 16).map(lambda n: n * smallest),
        "huge": st.integers(0, 8).map(lambda n: largest * 2.0**-n),
        "denormal": st.integers(1, 2**info.nmant - 1).map(lambda n: n * float(info.smallest_subnormal)),
    }
    return st.builds(lambda size, sign: size * sign, sizes[kind], st.sampled_from([1.0, -1.0]))


@st.composite
def labels(draw, batch: Any, classes: Any) -> tf.Tensor:
    """int32 `[batch]` of class indices in [0, classes); both numbers are values or strategies."""
    batch, classes = draw(_strategy(batch)), draw(_strategy(classes))
    drawn = draw(st.lists(st.integers(0, classes - 1), min_size=batch, max_size=batch))
    return tf.constant(drawn, tf.int32, [batch])


def masks(shape: Any = None) -> st.SearchStrategy:
    """Boolean tensors of `shape`, a value or a strategy: all False and all True among them."""
    return tensors(shape, "bool")


def weights(shape: Any, dtype: Any = "float32") -> st.SearchStrategy:
    """Weights of examples or tokens: at least 0 and at most 10, often 0 or 1; perhaps all 0, as on padding alone."""
    return tensors(shape, dtype, elements=st.sampled_from([0.0, 1.0]) | st.floats(0, 10, allow_subnormal=False))


@st.composite
def directions(draw, like: Any) -> Any:
    """A nest as `like`, of directions to move its floating tensors in, never all 0; other leaves become None.

    Drawn are a single coordinate, all coordinates alike, or normal numbers from a seed.
    """
    leaves = tf.nest.flatten(like)
    floating = [n for n, leaf in enumerate(leaves) if is_floating(leaf) and np.size(leaf)]
    if not floating:
        raise ValueError("directions need a floating tensor that is not empty")
    kind = draw(st.sampled_from(["coordinate", "ones", "normal"]))
    chosen, position = draw(st.sampled_from(floating)), draw(_SEEDS)
    rng = generator(draw(_SEEDS))
    moves = [None] * len(leaves)
    for n, leaf in enumerate(leaves):
        if not is_floating(leaf):
            continue
        leaf = tf.convert_to_tensor(leaf)
        shape = leaf.shape.as_list()
        move = rng.standard_normal(shape) if kind == "normal" else np.full(shape, float(kind == "ones"))
        if kind == "coordinate" and n == chosen:
            move.flat[position % move.size] = 1
        moves[n] = tf.constant(move, leaf.dtype)
    return tf.nest.pack_sequence_as(like, moves)


@st.composite
def away_from_kinks(draw, inputs: st.SearchStrategy, distance_to_kink: Callable, margin: float = 1e-2) -> Any:
    """Inputs from the strategy `inputs`, moved where need be until every kink is at least `margin` away.

    `distance_to_kink` is what `check_gradients` takes: a function of the same arguments that returns one scalar, or a
    nest like the inputs of distances that broadcast to them (None: no kink). What is too near moves at random by a few
    margins, up to ten times; what is still too near is not drawn.
    """
    drawn = draw(inputs)
    rng = generator(draw(_SEEDS))
    for attempt in range(_NUDGES + 1):
        args = drawn if type(drawn) in (list, tuple) else (drawn,)
        distances = tf.nest.flatten(distance_to_kink(*args))
        leaves = tf.nest.flatten(drawn)
        if len(distances) == 1 and np.ndim(distances[0]) == 0:
            distances *= len(leaves)
        if len(distances) != len(leaves):
            raise ValueError(
                f"distance_to_kink must return one scalar or the {len(leaves)} leaves of the inputs, found "
                f"{len(distances)}"
            )
        near = [None if d is None else np.abs(np.asarray(d, np.float64)) < margin for d in distances]
        if not any(mask is not None and mask.any() for mask in near):
            return drawn
        if attempt < _NUDGES:
            moved = [_nudged(rng, leaf, mask, margin) for leaf, mask in zip(leaves, near, strict=True)]
            drawn = tf.nest.pack_sequence_as(drawn, moved)
    assume(False)
    return drawn


def _nudged(rng, leaf, mask, margin):
    if mask is None or not is_floating(leaf):
        return leaf
    leaf = tf.convert_to_tensor(leaf)
    steps = rng.uniform(1.5, 4.0, leaf.shape) * margin * rng.choice([-1.0, 1.0], leaf.shape)
    return leaf + tf.constant(np.where(mask, steps, 0.0), leaf.dtype)


def _strategy(value):
    return value if isinstance(value, st.SearchStrategy) else st.just(value)
