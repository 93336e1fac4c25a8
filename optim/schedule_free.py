"""Schedule-free learning: an average in the place of a schedule, and gradients taken near it."""

from collections.abc import Callable, Iterable, Mapping

import tensorflow as tf

from optim.averages import Average
from optim.decay import Decaying, Mask, decays_by_default
from optim.domain import ABOVE_0, BELOW_1
from optim.rule import Gradient, Variables, by_path, state_variable
from optim.schedules import Setting


def schedule_free(step, variable, z, x, *, beta, share):
    """Move by a step and average; returns the new (variable, z, x).

    z ← z − step
    x ← x + c (z − x)
    y ← z + β (x − z)

    Tensors of one shape and dtype. y is `variable`, where gradients are taken; z is what they move, x its average; c is
    `share`.
    Source: Defazio et al., The road less scheduled (arXiv 2405.15682), eqs. 3 to 5.
    """
    z = z - step
    x = x + share * (z - x)
    return z + beta * (x - z), z, x


def schedule_free_sgd(gradient, variable, z, x, *, gamma, weight_decay, **coefficients):
    """One step of schedule-free SGD; returns what `schedule_free` does, for the step γ (g + w y)."""
    return schedule_free(gamma * (gradient + weight_decay * variable), variable, z, x, **coefficients)


def schedule_free_adamw(gradient, variable, z, x, v, *, gamma, weight_decay, rate_2, epsilon, **coefficients):
    """One step of schedule-free AdamW; returns the new (variable, z, x, v).

    v ← v + (1 − β₂)(g² − v)
    schedule_free, for the step γ (g / (√v + ε̂) + w y),   γ = η √(1 − β₂ᵗ)

    Tensors of one shape and dtype. `rate_2` is 1 − β₂, formed in float64.
    Source: Defazio et al. (arXiv 2405.15682), algorithm 1.
    """
    v = v + rate_2 * (tf.square(gradient) - v)
    step = gamma * (gradient / (tf.sqrt(v) + epsilon) + weight_decay * variable)
    return *schedule_free(step, variable, z, x, **coefficients), v


class ScheduleFree(Decaying):
    """What schedule-free rules share: the slots "z" and "x", which start at the variable, and the average's weights.

    The variable holds y. Validate and keep x: `slots["x"]` has it, and `EvaluationWeights(rule)` brings it to the
    Trainer. Statistics of BatchNorm are those at y.

    The step of update t weighs γₜ² in the average: cₜ = γₜ² / Σ γᵢ², over the updates that a variable has had, which
    `weight_sums[path]` keeps. A variable's value at its first update counts as its start, wherever it came from. While
    it is left out of all updates, such as frozen, x follows it.
    """

    weight_sums: Mapping[str, tf.Variable] = {}

    def create(self, named):
        """The slots, and Σ γ² of each variable."""
        super().create(named)
        self.weight_sums = {path: state_variable(tf.zeros([], tf.float64), f"weight_sum/{path}") for path in named}

    def apply(
        self, gradients: Iterable[Gradient], variables: Variables, where: tf.Tensor | None = None
    ) -> list[tf.Variable] | None:
        """Make one update of `variables`. See `Rule.apply`."""
        variables = list(by_path(variables).values())
        chosen = super().apply(gradients, variables, where)
        present = {variable.ref() for variable in variables}
        for ref, path in self._paths().items():
            if ref not in present:
                x, variable = self.slots["x"][path], ref.deref()
                x.assign(tf.where(tf.equal(self.weight_sums[path], 0.0), variable, x))
        return chosen

    def initial(self, slot, path, variable):
        """The variable's value for z and x, zeros for v."""
        return super().initial(slot, path, variable) if slot == "v" else tf.identity(variable)

    def gamma(self) -> tf.Tensor:
        """The rate of one update, γ."""
        return self.value("learning_rate")

    def coefficients(self):
        """What all formulas need."""
        return {"gamma": self.gamma(), "beta": self.value("beta_1"), "weight_decay": self.value("weight_decay")}

    def own(self, path, coefficients):
        """Advance Σ γ² of a variable; whether it was 0, and c."""
        weight, before = tf.square(coefficients["gamma"]), tf.convert_to_tensor(self.weight_sums[path])
        total = before + weight
        self.weight_sums[path].assign(total)
        # A warm-up begins with a rate of 0.
        return {"first": tf.equal(before, 0.0), "share": tf.math.divide_no_nan(weight, total)}

    def update(self, path, gradient, variable, z, x, *slots, first, weight_decay, **coefficients):
        """See the formula."""
        z, x = tf.where(first, variable, z), tf.where(first, variable, x)
        coefficients["weight_decay"] = weight_decay if self.decays(path) else tf.zeros_like(weight_decay)
        return self.formula(gradient, variable, z, x, *slots, **coefficients)


class ScheduleFreeSGD(ScheduleFree):
    """Gradient descent without a schedule: the rule `schedule_free_sgd`, with slots "z" and "x".

    `learning_rate` is above 0, `beta_1` (β) from 0 to below 1, `weight_decay` 0 or above; each may be a schedule, the
    rate a warm-up. `mask` tells from a variable's path whether it decays: see `optim.decay`. See `ScheduleFree`.
    """

    domains = {"learning_rate": ABOVE_0, "beta_1": BELOW_1, **Decaying.domains}
    slot_names = ("z", "x")
    formula = staticmethod(schedule_free_sgd)

    def __init__(
        self,
        learning_rate: Setting = 0.01,
        beta_1: Setting = 0.9,
        weight_decay: Setting = 0.0,
        mask: Mask = decays_by_default,
    ):
        super().__init__()
        self.configure(learning_rate=learning_rate, beta_1=beta_1)
        self.configure_decay(weight_decay, mask)


class ScheduleFreeAdamW(ScheduleFree):
    """AdamW without a schedule: the rule `schedule_free_adamw`, with slots "z", "x" and "v".

    `learning_rate` and `epsilon` are above 0, `beta_1` (β) and `beta_2` from 0 to below 1, `weight_decay` 0 or above;
    each may be a schedule, the rate a warm-up. `mask`: see `optim.decay`. See `ScheduleFree`. Other libraries
    leave the factor √(1 − β₂ᵗ) of γ out of the average's weights.
    """

    domains = {
        "learning_rate": ABOVE_0, "beta_1": BELOW_1, "beta_2": BELOW_1, "epsilon": ABOVE_0, **Decaying.domains,
    }  # fmt: skip
    slot_names = ("z", "x", "v")
    products = ("beta_2",)
    formula = staticmethod(schedule_free_adamw)

    def __init__(
        self,
        learning_rate: Setting = 0.0025,
        beta_1: Setting = 0.9,
        beta_2: Setting = 0.999,
        epsilon: Setting = 1e-8,
        weight_decay: Setting = 0.0,
        mask: Mask = decays_by_default,
    ):
        super().__init__()
        self.configure(learning_rate=learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
        self.configure_decay(weight_decay, mask)

    def gamma(self):
        """Advance β₂ᵗ and correct the learning rate by it."""
        return self.value("learning_rate") * tf.sqrt(1.0 - self.product("beta_2"))

    def coefficients(self):
        """Those that all share, and what the mean square needs."""
        return {**super().coefficients(), "rate_2": 1.0 - self.value("beta_2"), "epsilon": self.value("epsilon")}


class EvaluationWeights(Average):
    """The averages x that a schedule-free rule makes, as the `average` of a Trainer: no memory, no arithmetic.

    `averages[path]` is `rule.slots["x"][path]`; what the rule does not train, such as moving statistics, has none.
    `rule` may be a chain or a partition around a schedule-free rule, and has been through `init`.

    >>> import optim
    >>> rule, x = optim.ScheduleFreeSGD(learning_rate=1.0, beta_1=0.5), tf.Variable([0.0])
    >>> rule.init({"x": x})
    >>> average = optim.EvaluationWeights(rule)
    >>> average.init({"x": x})
    >>> for gradient in ([-2.0], [-4.0]):
    ...     rule.apply([tf.constant(gradient)], [x])
    ...     average.update()
    >>> x.numpy(), average.averages["x"].numpy()
    (array([5.], dtype=float32), array([4.], dtype=float32))
    """

    def __init__(self, rule: tf.Module):
        super().__init__()
        # In a function: the rule is part of a checkpoint by itself.
        self._rule: Callable[[], tf.Module] = lambda: rule

    def init(self, variables: Variables) -> None:
        """Find the averages; `variables` are the rule's and any others. ValueError: the rule has none."""
        if self.updates is not None:
            return
        if "x" not in self._rule().slots:
            raise ValueError(f"{self._label}.init: the rule has no slots 'x': init a schedule-free rule first")
        self.averages = dict(self._rule().slots["x"])
        # A Trainer lets an average of no updates begin anew.
        self.updates = state_variable(tf.identity(self._rule().step), "updates")

    def update(self) -> None:
        """Count: the rule has updated the averages."""
        self.updates.assign_add(1)
