"""Averages of a model's variables over the updates of a training."""

import tensorflow as tf

from optim.domain import BELOW_1, COUNT, WHOLE
from optim.rule import Variables, by_path, state_variable
from optim.schedules import Setting, evaluate


class Average(tf.Module):
    """A running average of variables: average ← average − rate · (average − variable), for each.

    A subclass defines `rate()`, the share of the present value in the new average: a float64 scalar tensor
    from 0 to 1. At a rate of 1 the average is the variable, and one that equals its variable stays, bit for bit.

    `updates`, an int64 scalar, counts the updates made; `averages` maps paths to averages. All is made by
    `init` and tracked, so that a `tf.train.Checkpoint` of the average is complete.
    """

    def __init__(self):
        super().__init__()
        self.updates = None
        self.averages = {}
        self._paths = dict
        self._averaged = dict

    def init(self, variables: Variables) -> None:
        """Create all state, eagerly and in the strategy scope that is active.

        `variables` maps paths ("layers.0.kernel") to variables, weights and moving statistics alike; in a
        plain sequence the path is the position ("0"). `averages[path]` has the dtype of its variable and
        starts at its value; variables that are not of floats are left out. A second call with the
        same variables does nothing. ValueError: other variables on a second call, or one given twice.
        """
        named = by_path(variables)
        paths = {variable.ref(): path for path, variable in named.items()}
        if self.updates is not None:
            if paths != self._paths():
                raise ValueError(f"{self._label}.init: called before with other variables; make a new average")
            return
        for path, variable in named.items():
            if paths[variable.ref()] != path:
                raise ValueError(f"{self._label}.init: {path} is {paths[variable.ref()]} again; give it once")
        averaged = {path: variable for path, variable in named.items() if variable.dtype.is_floating}
        # In functions, so that tf.Module does not take the model's variables for the average's state.
        self._paths, self._averaged = lambda: paths, lambda: averaged
        self.averages = {path: state_variable(tf.identity(v), f"average/{path}") for path, v in averaged.items()}
        self.updates = state_variable(tf.zeros([], tf.int64), "updates")

    def update(self) -> None:
        """Take the present values of all variables into their averages. ValueError before `init`."""
        if self.updates is None:
            raise ValueError(f"{self._label}.update: there are no averages yet; call init first")
        self.move(self.rate())
        self.updates.assign_add(1)

    def move(self, rate: tf.Tensor) -> None:
        """Move all averages towards their variables, by that share of the way."""
        for path, variable in self._averaged().items():
            average, share = self.averages[path], tf.cast(rate, variable.dtype)
            # The difference need not round to the variable where the share is 1.
            average.assign(tf.where(share < 1, average - share * (average - variable), variable))

    def rate(self) -> tf.Tensor:
        """The share of the variable in its new average: a float64 scalar, of `updates` if it changes."""
        raise NotImplementedError(f"{self._label} must define rate()")

    @property
    def _label(self) -> str:
        return type(self).__name__


class EMA(Average):
    """Exponential moving average: average ← average + (1 − decay)(variable − average).

    After t updates a value of k updates ago weighs (1 − decay) decayᵏ, and the value at `init` decayᵗ. `decay` is
    a number from 0 to below 1, or a schedule, a function from the int64 `updates` made so far to a
    float64 scalar tensor. With `warmup` it is min(decay, (1 + updates) / (10 + updates)), so that the start is soon
    forgotten. 1 − decay is formed in float64: in float32, 1 − 0.999 is off by 5e-5.

    Source: tf.train.ExponentialMovingAverage, whose `num_updates` is the warm-up's `updates`. That averaged
    weights do better than the last ones: Polyak and Juditsky, Acceleration of stochastic approximation by
    averaging (SIAM J. Control and Optimization 30, 1992), for the plain mean.

    >>> x = tf.Variable([0.0])
    >>> average = EMA(decay=0.75)
    >>> average.init({"x": x})
    >>> for value in (4.0, 8.0):
    ...     _ = x.assign([value])
    ...     average.update()
    >>> average.averages["x"].numpy()
    array([2.75], dtype=float32)
    """

    def __init__(self, decay: Setting, *, warmup: bool = False):
        super().__init__()
        self.decay = decay if callable(decay) else BELOW_1.require("decay", decay)
        self.warmup = warmup

    def rate(self) -> tf.Tensor:
        """1 − decay, at the present count of updates."""
        decay = evaluate(self.decay, self.updates)
        if self.warmup:
            updates = tf.cast(self.updates, tf.float64)
            decay = tf.minimum(decay, (1.0 + updates) / (10.0 + updates))
        return 1.0 - decay


def compensated_mean(mean, residual, value, share):
    """One step of a running mean, mean − share · (mean − value), to twice its digits; returns (mean, residual).

    The mean is `mean` + `residual`, what rounding takes from the one being in the other: in float32 alone, after some
    10⁵ values, what a further one adds is less than half a unit in the last place, and lost.
    Source: Knuth, The Art of Computer Programming, volume 2, section 4.2.2, theorem B, for the sum and its error.
    """
    back = share * ((mean - value) + residual) - residual
    total = mean - back
    added = total - mean
    return total, (mean - (total - added)) - (back + added)


class SWA(Average):
    """Stochastic weight averaging: the plain mean of the values after updates start, start + every, start + 2 every, ….

    `start` is 0 or above, `every` 1 or above; both count updates, and value 0 is that at `init`. Up to `start` the
    average is the variable. It goes with a learning rate that stays high, or a cyclic one whose lows are the updates
    that count. Moving statistics are averaged as the weights are; the paper computes them anew in another pass over
    the data. `residuals` keep the digits that the averages' dtype has no room for: see `compensated_mean`.
    Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization (arXiv 1803.05407),
    algorithm 1.

    >>> x = tf.Variable([0.0])
    >>> average = SWA(start=2, every=2)
    >>> average.init({"x": x})
    >>> for value in (1.0, 2.0, 3.0, 4.0, 9.0):
    ...     _ = x.assign([value])
    ...     average.update()
    >>> average.averages["x"].numpy()
    array([3.], dtype=float32)
    """

    def __init__(self, start: int, every: int):
        super().__init__()
        self.start, self.every = WHOLE.require("start", start), COUNT.require("every", every)
        self.residuals = {}

    def init(self, variables: Variables) -> None:
        """See `Average.init`."""
        super().init(variables)
        if not self.residuals:
            self.residuals = {
                path: state_variable(tf.zeros(average.shape, average.dtype), f"residual/{path}")
                for path, average in self.averages.items()
            }

    def rate(self) -> tf.Tensor:
        """1 until the start, then 1 / (number of values so far), or 0 where the present one does not count."""
        passed = self.updates + 1 - int(self.start)
        models = 1 + passed // int(self.every)
        share = tf.where(passed % int(self.every) == 0, 1.0 / tf.cast(models, tf.float64), 0.0)
        return tf.where(passed > 0, share, 1.0)

    def move(self, rate: tf.Tensor) -> None:
        """See `Average.move`. Where the rate is 0, nothing is computed."""

        def take():
            for path, variable in self._averaged().items():
                average, residual, share = self.averages[path], self.residuals[path], tf.cast(rate, variable.dtype)
                mean, rest = compensated_mean(average, residual, variable, share)
                average.assign(tf.where(share < 1, mean, variable))
                residual.assign(tf.where(share < 1, rest, tf.zeros_like(rest)))
            return tf.constant(True)

        tf.cond(rate > 0, take, lambda: tf.constant(False))


class Polyak(SWA):
    """The mean of all values from update `start` on: SWA that leaves none out.

    Source: Polyak and Juditsky, Acceleration of stochastic approximation by averaging (SIAM J. Control and
    Optimization 30, 1992), whose `start` is 0.
    """

    def __init__(self, start: int = 0):
        super().__init__(start, every=1)
