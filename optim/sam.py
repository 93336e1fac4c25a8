"""Sharpness-aware minimisation: the gradient of a step is taken uphill of where the step begins."""

from collections.abc import Callable, Iterable

import tensorflow as tf

from optim.domain import ABOVE_0
from optim.rule import Gradient, Variables, by_path, state_variable
from optim.sparse import densify


def sam(gradients, variables, *, rho):
    """The uphill points x + ρ g / ‖g‖, ‖g‖² being the sum of the squares of all gradients together; x where that is 0.

    Lists of tensors in one order, a gradient in its variable's shape and dtype. ρ is a float64 scalar, as is the norm.
    Source: Foret et al., Sharpness-aware minimization (arXiv 2010.01412), eq. 2 with p = 2.
    """
    scale = tf.math.divide_no_nan(rho, tf.linalg.global_norm([tf.cast(gradient, tf.float64) for gradient in gradients]))
    return [x + tf.cast(scale, x.dtype) * gradient for gradient, x in zip(gradients, variables, strict=True)]


class SAM(tf.Module):
    """The first of two gradients: goes with any rule, in a loop that takes the second one uphill.

    `rho`, above 0, is how far uphill. A `Trainer` takes one gradient for each update, so this is for loops of your own:

    >>> import optim
    >>> def gradients():
    ...     with tf.GradientTape() as tape:
    ...         loss = x**2
    ...     return tape.gradient(loss, [x])
    >>> rule, sam, x = optim.SGD(0.25), optim.SAM(rho=0.5), tf.Variable(1.0)
    >>> rule.init([x])
    >>> sam.init([x])
    >>> for _ in range(2):
    ...     sam.perturb(gradients(), [x])
    ...     uphill = gradients()
    ...     sam.restore([x])
    ...     rule.apply(uphill, [x])
    >>> float(x)
    -0.125

    On several replicas give `perturb` the gradient of the whole batch; each replica's own makes the paper's
    m-sharpness, and replicas whose variables differ until `restore`. Moving statistics move in both passes, unless
    the second one keeps them. A second `perturb` without `restore` is refused where it runs eagerly, not in a graph.
    """

    def __init__(self, rho: float = 0.05):
        super().__init__()
        self.rho = ABOVE_0.require("rho", rho)
        self._origins: Callable[[], dict] = dict
        self._uphill: Callable[[], dict] = dict

    def init(self, variables: Variables) -> None:
        """Make room for the values to go back to. See `Rule.init` for `variables`."""
        named = by_path(variables)
        if self._origins():
            if set(self._origins()) != {variable.ref() for variable in named.values()}:
                raise ValueError("SAM.init: called before with other variables; make a new SAM")
            return
        origins = {v.ref(): state_variable(tf.identity(v), f"origin/{path}") for path, v in named.items()}
        uphill = {v.ref(): state_variable(tf.constant(False), f"uphill/{path}") for path, v in named.items()}
        # In functions: what holds from `perturb` to `restore` is no part of a checkpoint.
        self._origins, self._uphill = lambda: origins, lambda: uphill

    def perturb(self, gradients: Iterable[Gradient], variables: Variables) -> None:
        """Take `variables` uphill, and remember where they were. Gradients as in `Rule.apply`."""
        gradients, variables = list(gradients), list(by_path(variables).values())
        origins = [self._origin("perturb", variable) for variable in variables]
        flags = [self._uphill()[variable.ref()] for variable in variables]
        for variable, flag in zip(variables, flags, strict=True):
            if tf.executing_eagerly() and flag:
                raise ValueError(f"SAM.perturb: variable {variable.name!r} is uphill already; restore it first")
        if len(gradients) != len(variables) or any(gradient is None for gradient in gradients):
            raise ValueError(f"SAM.perturb: there must be a gradient for each of {len(variables)} variables")
        gradients = [tf.cast(gradient, v.dtype) for gradient, v in zip(gradients, variables, strict=True)]
        dense = [
            densify(gradient, v.shape[0]) if isinstance(gradient, tf.IndexedSlices) else gradient
            for gradient, v in zip(gradients, variables, strict=True)
        ]
        uphill = sam(dense, [tf.convert_to_tensor(v) for v in variables], rho=tf.constant(self.rho, tf.float64))
        for variable, origin, flag, value in zip(variables, origins, flags, uphill, strict=True):
            origin.assign(variable)
            flag.assign(True)
            variable.assign(value)

    def restore(self, variables: Variables) -> None:
        """Put `variables` back to where they were, bit for bit."""
        for variable in by_path(variables).values():
            variable.assign(self._origin("restore", variable))
            self._uphill()[variable.ref()].assign(False)

    def _origin(self, method: str, variable: tf.Variable) -> tf.Variable:
        origin = self._origins().get(variable.ref())
        if origin is None:
            raise ValueError(f"SAM.{method}: variable {variable.name!r} is unknown; give init every variable first")
        return origin
