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
from optim.adadelta import Adadelta
from optim.adafactor import Adafactor
from optim.adagrad import Adagrad
from optim.adam import Adam, AdamW
from optim.adamax import Adamax
from optim.additions import add_decayed_weights, add_noise, centralize
from optim.averages import EMA, SWA, Average, Polyak
from optim.ftrl import Ftrl
from optim.lamb import Lamb
from optim.lars import LARS
from optim.lion import Lion
from optim.lookahead import Lookahead
from optim.muon import Muon
from optim.nadam import Nadam
from optim.partition import Partition
from optim.radam import RAdam
from optim.rmsprop import RMSprop
from optim.rule import Rule
from optim.sam import SAM
from optim.schedule_free import EvaluationWeights, ScheduleFreeAdamW, ScheduleFreeSGD
from optim.sgd import SGD
from optim.transforms import chain, clip_by_global_norm, clip_by_norm, clip_by_value
from optim.unit_clipping import agc

__all__ = [
    "EMA",
    "LARS",
    "SAM",
    "SGD",
    "SWA",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Average",
    "EvaluationWeights",
    "Ftrl",
    "Lamb",
    "Lion",
    "Lookahead",
    "Muon",
    "Nadam",
    "Partition",
    "Polyak",
    "RAdam",
    "RMSprop",
    "Rule",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "add_decayed_weights",
    "add_noise",
    "agc",
    "centralize",
    "chain",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "schedules",
]
