"""What the gradient transforms that treat each variable by itself share."""

from collections.abc import Mapping
from typing import ClassVar

import tensorflow as tf

from optim.decay import Mask, require_mask
from optim.domain import Domain
from optim.rule import Gradient, Variables, by_path
from optim.schedules import evaluate


class PerVariable:
    """A gradient transform, one variable at a time; a subclass is a frozen dataclass.

    Its fields named in `domains` are numbers or schedules, evaluated once for all variables. With a field `mask`, only
    variables whose path it accepts are transformed; other gradients come out as they are. `transform` is the formula.

    In a chain, paths are those that `init` was given, whichever variables are then trained, and chains may share a
    transform; called without one, there are only the positions in the list: a mask is then a ValueError.
    """

    domains: ClassVar[Mapping[str, Domain]] = {}
    mask: Mask = None
    _paths: Mapping = {}

    def __post_init__(self):
        for name, domain in self.domains.items():
            if not callable(getattr(self, name)):
                domain.require(name, getattr(self, name))
        require_mask("mask", self.mask)

    def init(self, variables: Variables) -> None:
        """Learn the paths of variables, beside those of other chains; for the chain."""
        paths = {variable.ref(): path for path, variable in by_path(variables).items()}
        object.__setattr__(self, "_paths", {**self._paths, **paths})

    def __call__(self, gradients, variables, step=0):
        """The transformed gradients; see the class. Called without a chain, schedules are evaluated at `step`."""
        coefficients = self.coefficients(step)
        found = []
        for position, (gradient, variable) in enumerate(zip(gradients, variables, strict=True)):
            path = self._paths.get(variable.ref())
            if self.mask is not None and path is None:
                raise ValueError(f"{type(self).__name__}: its mask needs the paths of variables; put it in a chain")
            if self.mask is None or self.mask(path):
                gradient = self.transform(gradient, variable, position if path is None else path, **coefficients)
            found.append(gradient)
        return found

    def coefficients(self, step) -> dict[str, tf.Tensor]:
        """Scalars for all variables: the fields named in `domains`, in float64, unless overridden."""
        return {name: evaluate(getattr(self, name), step) for name in self.domains}

    def transform(self, gradient: Gradient, variable: tf.Variable, place: str | int, **coefficients) -> Gradient:
        """The formula, for one variable; `place` is its path, or its position where there are no paths."""
        raise NotImplementedError(f"{type(self).__name__} must define transform()")
