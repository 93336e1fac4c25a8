"""Gradient transforms, and the chain that puts them in front of an update rule.

A transform is a function `(gradients, variables) -> gradients` of lists in one order; it takes `step` as well
if it depends on it. The gradients are what `Rule.apply` accepts, dense or `tf.IndexedSlices`, each in its
variable's dtype.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from optim.domain import ABOVE_0, Domain
from optim.rule import Gradient, Rule, Variables, apply_where, by_path
from optim.schedules import Setting, evaluate
from optim.sparse import deduplicate


def chain(*parts: Callable | Rule) -> "Chain":
    """Transforms, in the order in which gradients pass them, and last a rule: the result is a rule again.

    >>> import optim
    >>> rule, x = optim.chain(optim.clip_by_global_norm(1.0), optim.SGD(1.0)), tf.Variable([0.0, 0.0])
    >>> rule.init({"x": x})
    >>> rule.apply([tf.constant([3.0, 4.0])], [x])
    >>> x.numpy()
    array([-0.6, -0.8], dtype=float32)

    A chain may end in a chain. TypeError, naming the argument: the last one is no rule, another one is a rule
    or nothing that can be called, or one is a class in place of an instance.
    """
    for position, part in enumerate(parts):
        if isinstance(part, type):
            raise TypeError(f"chain: argument {position} is the class {part.__name__}; write {part.__name__}(…)")
    if not parts or not isinstance(parts[-1], Rule | Chain):
        found = repr(parts[-1]) if parts else "no argument"
        raise TypeError(f"chain: the last argument must be a rule, such as optim.SGD(), got {found}")
    transforms, rule = parts[:-1], parts[-1]
    for position, transform in enumerate(transforms):
        if isinstance(transform, Rule | Chain):
            raise TypeError(f"chain: argument {position}, {type(transform).__name__}, is a rule; only the last may be")
        if not callable(transform):
            raise TypeError(f"chain: argument {position} must be a gradient transform, got {transform!r}")
    if isinstance(rule, Chain):
        return Chain((*transforms, *rule.transforms), rule.rule)
    return Chain(tuple(transforms), rule)


class Chain(tf.Module):
    """A rule whose gradients pass `transforms` first; made by `chain`, used as any `Rule`.

    A transform with state is a `tf.Module` with `init(variables)`, which has the calling rules of `Rule.init`;
    a checkpoint of the chain holds its variables. One with a parameter `step` gets the rule's.
    """

    def __init__(self, transforms: tuple[Callable, ...], rule: Rule):
        super().__init__()
        self.transforms, self.rule = transforms, rule
        self._taking_step = frozenset(i for i, transform in enumerate(transforms) if _takes_step(transform))

    @property
    def step(self) -> tf.Variable | None:
        """The rule's."""
        return self.rule.step

    @step.setter
    def step(self, step: tf.Variable) -> None:
        self.rule.step = step

    @property
    def domains(self) -> Mapping[str, Domain]:
        """The rule's."""
        return self.rule.domains

    @property
    def slots(self) -> Mapping[str, Mapping[str, tf.Variable]]:
        """The rule's."""
        return self.rule.slots

    def value(self, name: str) -> tf.Tensor:
        """See `Rule.value`."""
        return self.rule.value(name)

    def init(self, variables: Variables) -> None:
        """Create the state of the rule, then that of the transforms. See `Rule.init`."""
        named = by_path(variables)
        self.rule.init(named)
        for transform in self.transforms:
            if hasattr(transform, "init"):
                transform.init(named)

    def apply(
        self, gradients: Iterable[Gradient], variables: Variables, where: tf.Tensor | None = None
    ) -> list[tf.Variable] | None:
        """Make one update of `variables` from the transformed gradients. See `Rule.apply`.

        What `Rule.apply` refuses is refused in its words, before a transform runs. ValueError: a transform
        does not return a list with one gradient for each variable.
        """
        variables, gradients = list(by_path(variables).values()), list(gradients)
        self.rule.check(gradients, variables)
        # As the rule would: slices of one row are to be summed in the variable's precision.
        gradients = [tf.cast(gradient, variable.dtype) for gradient, variable in zip(gradients, variables, strict=True)]
        for i, transform in enumerate(self.transforms):
            keywords = {"step": self.step} if i in self._taking_step else {}
            gradients = transform(gradients, variables, **keywords)
            if not isinstance(gradients, list | tuple) or len(gradients) != len(variables):
                found = len(gradients) if isinstance(gradients, list | tuple) else gradients
                raise ValueError(f"{transform!r} must return a list of {len(variables)} gradients, got {found}")
        return apply_where(self.rule, gradients, variables, where)


@dataclass(frozen=True)
class Clip:
    """What the clipping transforms share: `limit`, a number above 0 or a schedule.

    Slices come out as slices, those of the same row summed. What is not finite does not become finite.
    Called without a chain, a schedule is evaluated at `step`.
    """

    limit: Setting

    def __post_init__(self):
        if not callable(self.limit):
            ABOVE_0.require("limit", self.limit)

    def __call__(self, gradients, variables, step=0):
        """The clipped gradients; see the class."""
        unique = [deduplicate(g) if isinstance(g, tf.IndexedSlices) else tf.convert_to_tensor(g) for g in gradients]
        values = [g.values if isinstance(g, tf.IndexedSlices) else g for g in unique]
        clipped = self._clip(values, evaluate(self.limit, step)) if values else []
        return [
            tf.IndexedSlices(value, g.indices, g.dense_shape) if isinstance(g, tf.IndexedSlices) else value
            for value, g in zip(clipped, unique, strict=True)
        ]

    def _clip(self, values: list[tf.Tensor], limit: tf.Tensor) -> list[tf.Tensor]:
        raise NotImplementedError


class clip_by_global_norm(Clip):
    """g ← g · min(1, limit / ‖g‖), where ‖g‖² is the sum of the squares of all gradients together.

    If ‖g‖ is within the limit, gradients come out as they are, bit for bit. Numbers whose squares leave
    their dtype's range are no obstacle. If one number is not finite, all come out as NaN, as in TensorFlow.
    Source: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks
    (arXiv 1211.5063), algorithm 1.

    >>> clip_by_global_norm(5.0)([tf.constant([6.0]), tf.constant([8.0])], [])
    [<tf.Tensor: shape=(1,), dtype=float32, numpy=array([3.], dtype=float32)>, \
<tf.Tensor: shape=(1,), dtype=float32, numpy=array([4.], dtype=float32)>]
    """

    def _clip(self, values, limit):
        return _within_norm(values, limit)


class clip_by_norm(Clip):
    """g ← g · min(1, limit / ‖g‖) for each gradient, by its own Euclidean norm.

    Otherwise as `clip_by_global_norm`.
    """

    def _clip(self, values, limit):
        return [value for each in values for value in _within_norm([each], limit)]


class clip_by_value(Clip):
    """g ← max(−limit, min(limit, g)), number by number; infinities and NaN stay what they are."""

    def _clip(self, values, limit):
        return [_within_value(value, tf.cast(limit, value.dtype)) for value in values]


def _within_norm(values: list[tf.Tensor], limit: tf.Tensor) -> list[tf.Tensor]:
    # ‖g‖ = m · ‖g / m‖ with m = max |g|: in float32 the squares of 1e30 and 1e-30 are infinity and 0.
    dtype = tf.float64 if any(value.dtype == tf.float64 for value in values) else tf.float32
    wide = [tf.cast(value, dtype) for value in values]
    largest = tf.reduce_max(tf.stack([tf.reduce_max(tf.abs(value)) for value in wide]))
    # Where all is 0, or there is nothing (−infinity), or so little that processors may take it for 0.
    largest = tf.where(largest < np.finfo(dtype.as_numpy_dtype).tiny, tf.ones([], dtype), largest)
    wide = [value / largest for value in wide]
    # Half a sum of squares, in one pass.
    halves = tf.stack([tf.cast(tf.nn.l2_loss(value), tf.float64) for value in wide])
    half = tf.reduce_sum(halves)
    # The root has no derivative at 0, where nothing is cut.
    scaled_norm = tf.sqrt(2.0 * tf.where(half == 0, tf.ones_like(half), half))
    within = (half == 0) | (tf.cast(largest, tf.float64) * scaled_norm <= limit)
    factor = tf.cast(limit / scaled_norm, dtype)
    # Not a factor of 1, which turns subnormal numbers into 0 on some threads.
    return [
        tf.where(within, value, tf.cast(scaled * factor, value.dtype))
        for value, scaled in zip(values, wide, strict=True)
    ]


def _within_value(value: tf.Tensor, limit: tf.Tensor) -> tf.Tensor:
    bounded = tf.where(tf.math.is_finite(value), tf.sign(value) * limit, value)
    return tf.where(tf.abs(value) <= limit, value, bounded)


def _takes_step(transform: Callable) -> bool:
    try:
        return "step" in inspect.signature(transform).parameters
    except ValueError:  # some builtins have no signature
        return False
