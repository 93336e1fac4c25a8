"""Schedules: pure functions from the step to the value of a hyper-parameter.

A schedule is called with an integer scalar, the step, which counts from 0, and returns a float64 scalar
tensor. Any function of that kind is one; those here are immutable, check their arguments when made, and
print as the call that makes them. Names and meanings are TensorFlow's where it has the schedule.
Only `Scale` has a variable in it, for what must change on the way.

>>> decay = warmup(cosine(0.5, decay_steps=100), warmup_steps=10)
>>> decay
warmup(schedule=cosine(initial_value=0.5, decay_steps=100, alpha=0.0), warmup_steps=10, initial_value=0.0)
>>> [float(decay(step)) for step in (0, 5, 10, 60, 110)]
[0.0, 0.25, 0.5, 0.25, 0.0]
"""

from optim.schedules.cycles import cosine_restarts, cyclic, one_cycle
from optim.schedules.decays import constant, cosine, exponential, inverse_sqrt, inverse_time, piecewise, polynomial
from optim.schedules.phases import join, warmup, warmup_cosine, warmup_stable_decay
from optim.schedules.picture import plot
from optim.schedules.scale import Scale
from optim.schedules.schedule import Setting, evaluate  # noqa: F401 (for the rest of optim)

__all__ = [
    "Scale",
    "constant",
    "cosine",
    "cosine_restarts",
    "cyclic",
    "exponential",
    "inverse_sqrt",
    "inverse_time",
    "join",
    "one_cycle",
    "piecewise",
    "plot",
    "polynomial",
    "warmup",
    "warmup_cosine",
    "warmup_stable_decay",
]
