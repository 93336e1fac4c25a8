"""A schedule times a factor that may be changed while it is in use."""

import tensorflow as tf

from optim.schedules.schedule import Setting, evaluate, require_setting


class Scale(tf.Module):
    """schedule(step) · factor, of a schedule or a number.

    `factor`, a float64 variable, starts at 1 and may be assigned between steps, such as by a hook that reduces the
    learning rate: nothing is traced again. Given to a rule as it is, with other schedules within and none around it,
    it is part of the rule's variables, and so of its checkpoints.

    >>> rate = Scale(0.5)
    >>> _ = rate.factor.assign(0.25)
    >>> rate, float(rate(7))
    (Scale(schedule=0.5), 0.125)
    """

    def __init__(self, schedule: Setting):
        super().__init__()
        require_setting("schedule", schedule)
        self.schedule = schedule
        self.factor = tf.Variable(tf.ones([], tf.float64), trainable=False, name="factor")

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Value at `step`, an integer scalar: a float64 scalar tensor."""
        return evaluate(self.schedule, step) * self.factor

    def __repr__(self):
        return f"Scale(schedule={self.schedule!r})"
