"""Update rules and their schedules.

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
from optim.rule import Rule
from optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Rule", "schedules"]
