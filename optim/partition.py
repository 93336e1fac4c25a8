"""Groups of variables, each with a rule of its own."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import tensorflow as tf

from optim.rule import Gradient, Rule, Variables, apply_where, by_path


class Partition(Rule):
    """A rule made of rules: each variable goes by the first pattern that its path matches.

    `rules` maps patterns, as of file names ("*.bias", "layers.0.*", "*"), to rules or chains; one that stands under
    several patterns takes all of theirs. ValueError of `init`: a path matches none, or nothing goes by a
    pattern other than "*".

    All parts share one `step`. A part without variables in an update still counts it. `value` is that of the first
    part that has the hyper-parameter, and `slots[slot_name]` has the paths of all parts.

    >>> import optim
    >>> rule = Partition({"*.bias": optim.SGD(1.0), "*": optim.SGD(0.5)})
    >>> kernel, bias = tf.Variable([0.0]), tf.Variable([0.0])
    >>> rule.init({"dense.kernel": kernel, "dense.bias": bias})
    >>> rule.apply([tf.constant([1.0]), tf.constant([1.0])], [kernel, bias])
    >>> kernel.numpy(), bias.numpy()
    (array([-0.5], dtype=float32), array([-1.], dtype=float32))
    """

    def __init__(self, rules: Mapping[str, tf.Module]):
        super().__init__()
        for pattern, rule in rules.items():
            if not isinstance(rule, tf.Module) or not hasattr(rule, "apply"):
                raise TypeError(f"Partition: {pattern!r} must have a rule, such as optim.SGD(), got {rule!r}")
        if not rules:
            raise ValueError("Partition: there must be a rule")
        self.parts = list({id(rule): rule for rule in rules.values()}.values())
        places = {id(rule): place for place, rule in enumerate(self.parts)}
        self.patterns = {pattern: places[id(rule)] for pattern, rule in rules.items()}

    @property
    def step(self):
        """What all parts share."""
        return self.parts[0].step

    @step.setter
    def step(self, step):
        for part in self.parts:
            part.step = step

    @property
    def domains(self):
        """Of all parts."""
        return {name: domain for part in reversed(self.parts) for name, domain in part.domains.items()}

    @property
    def slots(self):
        """Of all parts."""
        merged = {}
        for part in self.parts:
            for name, slots in part.slots.items():
                merged.setdefault(name, {}).update(slots)
        return merged

    def create(self, named):
        """The state of each part, for its variables."""
        found = {path: self.pattern(path) for path in named}
        for pattern in self.patterns:
            if pattern not in found.values() and pattern != "*":
                raise ValueError(f"{self._label}.init: no variable goes by {pattern!r}; there are {', '.join(named)}")
        if any(part.step is not None for part in self.parts):
            raise ValueError(f"{self._label}.init: a rule within has had its init already; give a new one")
        for place, part in enumerate(self.parts):
            part.init({path: named[path] for path, pattern in found.items() if self.patterns[pattern] == place})
        for part in self.parts:
            part.step = self.step

    def pattern(self, path: str) -> str:
        """The first pattern that a path matches."""
        for pattern in self.patterns:
            if fnmatchcase(path, pattern):
                return pattern
        raise ValueError(f"{self._label}.init: {path} matches no pattern of {', '.join(self.patterns)}; add '*'")

    def apply(
        self, gradients: Iterable[Gradient], variables: Variables, where: tf.Tensor | None = None
    ) -> list[tf.Variable] | None:
        """Make one update of `variables`, each by its part. See `Rule.apply`."""
        gradients, variables = list(gradients), list(by_path(variables).values())
        places = [self.patterns[self.pattern(path)] for path in self.check(gradients, variables)]
        step, chosen = tf.identity(self.step), []
        for place, part in enumerate(self.parts):
            own = [i for i, found in enumerate(places) if found == place]
            # Each part advances the step that they share.
            self.step.assign(step)
            found = apply_where(part, [gradients[i] for i in own], [variables[i] for i in own], where)
            chosen.extend(found or [])
        return None if where is None else chosen

    def value(self, name):
        """Of the first part that has the hyper-parameter. See `Rule.value`."""
        for part in self.parts:
            if name in part.domains:
                return part.value(name)
        return super().value(name)
