"""Update rules and their schedules, transforms of gradients, and averages of weights.

>>> import tensorflow as tf
>>> import optim
>>> x = tf.Variable([3.0, -4.0])
>>> rule = optim.SGD(learning_rate=0.5)
>>> rule.init({"x": x})
>>> rule.apply([2.0 * x], [x])
>>> x.numpy()
array([0., 0.], dtype=float32)
"""

from optim import schedules
from optim.adam import Adam, AdamW
from optim.averages import EMA, Average
from optim.rule import Rule
from optim.sgd import SGD
from optim.transforms import chain, clip_by_global_norm, clip_by_norm, clip_by_value

__all__ = [
    "EMA",
    "SGD",
    "Adam",
    "AdamW",
    "Average",
    "Rule",
    "chain",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "schedules",
]
