"""Lookahead: a rule goes ahead, and slow weights follow it part of the way."""

from collections.abc import Iterable

import tensorflow as tf

from optim.domain import COUNT, Domain
from optim.rule import Gradient, Rule, Variables, apply_where, by_path, state_variable
from optim.schedule_free import ScheduleFree
from optim.schedules import Setting

SHARE = Domain("a number above 0, up to 1", lambda x: 0 < x <= 1)


def lookahead(variable, slow, *, slow_step_size):
    """Slow weights after a period; returns the new (variable, slow), which are equal.

    s ← s + α (x − s)
    x ← s

    Tensors of one shape and dtype.
    Source: Zhang et al., Lookahead optimizer: k steps forward, 1 step back (arXiv 1907.08610), algorithm 1.
    """
    slow = slow + slow_step_size * (variable - slow)
    return slow, slow


class Lookahead(Rule):
    """A rule whose variables every `sync_period` updates go back to slow weights: `lookahead`, with slots "slow".

    `rule` is any rule or chain; `sync_period` (the paper's k) a whole number from 1; `slow_step_size` (α) above 0,
    up to 1, or a schedule. A variable's slow weights start at its value at its first update, and its periods are of
    its own updates, which `updates[path]` counts. The other slots, the step and the hyper-parameters are the rule's;
    its momentum goes on through a synchronisation. Schedule-free rules are refused: they keep weights of their own.
    """

    def __init__(self, rule: tf.Module, sync_period: int = 6, slow_step_size: Setting = 0.5):
        super().__init__()
        if not isinstance(rule, tf.Module) or not hasattr(rule, "apply"):
            raise TypeError(f"Lookahead: the first argument must be a rule, such as optim.SGD(), got {rule!r}")
        if any(isinstance(module, ScheduleFree) for module in (rule, *rule.submodules)):
            raise TypeError(
                "Lookahead: a schedule-free rule makes its variables from z and x, and would undo slow weights"
            )
        self.rule = rule
        self.configure(slow_step_size=slow_step_size)
        self.sync_period = int(COUNT.require("sync_period", sync_period))

    @property
    def step(self):
        """The rule's."""
        return self.rule.step

    @step.setter
    def step(self, step):
        self.rule.step = step

    @property
    def domains(self):
        """The rule's, and that of α."""
        return {**self.rule.domains, "slow_step_size": SHARE}

    @property
    def slots(self):
        """The rule's, and the slow weights."""
        return {**self.rule.slots, "slow": self.slow}

    def create(self, named):
        """The rule's state, slow weights and the counts of updates."""
        self.rule.init(named)
        self.slow = {path: state_variable(tf.identity(variable), f"slow/{path}") for path, variable in named.items()}
        self.updates = {path: state_variable(tf.zeros([], tf.int64), f"updates/{path}") for path in named}

    def apply(
        self, gradients: Iterable[Gradient], variables: Variables, where: tf.Tensor | None = None
    ) -> list[tf.Variable] | None:
        """Make one update of `variables` by the rule, and at the end of a period synchronise. See `Rule.apply`."""
        gradients, variables = list(gradients), list(by_path(variables).values())
        paths = self.check(gradients, variables)
        if not variables:
            return apply_where(self.rule, gradients, variables, where)
        slow, counts = [self.slow[path] for path in paths], [self.updates[path] for path in paths]
        share, before = self.value("slow_step_size"), tf.stack([tf.convert_to_tensor(count) for count in counts])
        starts, ends = tf.equal(before, 0), tf.equal((before + 1) % self.sync_period, 0)

        def begin():
            for variable, own, now in zip(variables, slow, tf.unstack(starts), strict=True):
                own.assign(tf.where(now, variable, own))
            return tf.constant(True)

        def synchronise():
            for variable, own, now in zip(variables, slow, tf.unstack(ends), strict=True):
                new = lookahead(
                    tf.convert_to_tensor(variable),
                    tf.convert_to_tensor(own),
                    slow_step_size=tf.cast(share, variable.dtype),
                )
                for state, value in zip((variable, own), new, strict=True):
                    state.assign(tf.where(now, value, state))
            return tf.constant(True)

        def nothing():
            return tf.constant(False)

        tf.cond(tf.reduce_any(starts), begin, nothing)
        chosen = apply_where(self.rule, gradients, variables, where)
        for count in counts:
            count.assign_add(1)
        tf.cond(tf.reduce_any(ends), synchronise, nothing)
        return chosen

    def value(self, name):
        """α's, or the rule's. See `Rule.value`."""
        return super().value(name) if name == "slow_step_size" or name not in self.domains else self.rule.value(name)
