"""How it learns."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf
from absl import flags

import optim
from cli import transfer
from cli.values import above_0, integers

FLAGS = flags.FLAGS
# Rules by name, where this program has defaults of its own with those; each takes the flags that its constructor names.
OPTIMIZERS = {
    "sgd": functools.partial(optim.SGD, momentum=0.9),
    "adamw": functools.partial(optim.AdamW, weight_decay=1e-2),
    **{name.lower(): getattr(optim, name) for name in ("LARS", "Lamb", "Adam", "Adamax", "Nadam", "RAdam", "Lion")},
    **{name.lower(): getattr(optim, name) for name in ("RMSprop", "Adagrad", "Adadelta", "Adafactor", "Ftrl", "Muon")},
    "schedule_free_sgd": optim.ScheduleFreeSGD,
    "schedule_free_adamw": optim.ScheduleFreeAdamW,
}
RULE_FLAGS = ("momentum", "nesterov", "rho", "beta_1", "beta_2", "epsilon", "weight_decay")
SCHEDULES = ("constant", "exponential", "inverse_time", "inverse_sqrt", "piecewise", "polynomial", "cosine")
SCHEDULES += ("cosine_restarts", "cyclic", "one_cycle")
AVERAGES = ("ema", "swa", "polyak")

flags.DEFINE_enum("optimizer", "adam", list(OPTIMIZERS), "The update rule.")
flags.DEFINE_float("learning_rate", 1e-3, "The learning rate; with a schedule, its first or highest value.")
flags.DEFINE_float("momentum", None, "Momentum; 0.9 for sgd unless given. Like the next six: the rule's own default.")
flags.DEFINE_boolean("nesterov", None, "Nesterov momentum.")
flags.DEFINE_float("rho", None, "Decay of the mean square (rmsprop, adadelta).")
flags.DEFINE_float("beta_1", None, "Decay of the first moment; of schedule-free rules, the weight of their average.")
flags.DEFINE_float("beta_2", None, "Decay of the second moment; of lion, of the first.")
flags.DEFINE_float("epsilon", None, "Added to what the step is divided by, or below its root.")
flags.DEFINE_float("weight_decay", None, "Decoupled weight decay; 0.01 for adamw unless given.")
flags.DEFINE_enum("schedule", "constant", SCHEDULES, "How the learning rate moves.")
flags.DEFINE_integer("warmup_steps", 0, "Steps of linear warm-up before the schedule.", lower_bound=0)
flags.DEFINE_integer("stable_steps", 0, "Steps at learning_rate after the warm-up, before the schedule.", lower_bound=0)
flags.DEFINE_integer("decay_steps", None, "Steps of the decay, or of a cycle; unless given, to the run's end.", 1)
flags.DEFINE_float("decay_rate", 0.1, "Factor over decay_steps (exponential), or at each boundary (piecewise).")
flags.DEFINE_list("boundaries", [], "After which steps, counted from the warm-up's end, the rate falls (piecewise).")
flags.DEFINE_float("end_rate", 0.0, "The lowest rate, as a share of learning_rate (polynomial, cosines, cyclic).", 0, 1)
flags.DEFINE_float("power", 1.0, "Exponent (polynomial).")

flags.DEFINE_float("label_smoothing", 0.0, "Share of a label that is spread over all classes.", 0, 1)
flags.DEFINE_float("l2", 0.0, "Weight decay in the gradient: l2/2 times the squares of the weights.", lower_bound=0)
flags.DEFINE_float("bias_rate", 1.0, "What the rate of normalisation's beta is multiplied by.", lower_bound=0)
flags.DEFINE_integer("lookahead", None, "Updates after which slow weights follow (Lookahead).", lower_bound=1)
flags.DEFINE_float("clip_global_norm", None, "Clip gradients by their global norm.")
flags.DEFINE_float("clip_norm", None, "Clip each gradient by its own norm.")
flags.DEFINE_float("clip_value", None, "Clip gradients' values to plus or minus this.")
flags.DEFINE_boolean("reduce_on_plateau", False, "Reduce the rate when the monitored value no longer improves.")
flags.DEFINE_float("plateau_factor", 0.1, "What the rate is multiplied by (reduce_on_plateau).")
flags.DEFINE_integer("plateau_patience", 10, "Looks without improvement before that.", lower_bound=0)
flags.DEFINE_integer("plateau_cooldown", 0, "Looks that do not count after that.", lower_bound=0)
flags.DEFINE_float("min_learning_rate", 0.0, "What reduce_on_plateau does not go below.", lower_bound=0)
flags.DEFINE_enum("average", None, AVERAGES, "An average of the weights: evaluated and saved.")
flags.DEFINE_float("average_decay", None, "Decay of the average (ema); 0.999 unless given.", 0, 0.9999999)
flags.DEFINE_boolean(
    "average_warmup", None, "The average (ema) soon forgets the first weights; it does unless told not."
)
flags.DEFINE_integer("average_start", None, "Updates before the mean begins (swa, polyak); 0 unless given.", 0)
flags.DEFINE_integer("average_every", None, "Updates from one value of the mean to the next (swa).", 1)


def make_optimizer(schedule: Callable, paths: Iterable[str]) -> tf.Module:
    """The update rule with its schedule, behind the clipping; paths: of the variables."""
    limits = {"clip_value": optim.clip_by_value, "clip_norm": optim.clip_by_norm}
    limits["clip_global_norm"] = optim.clip_by_global_norm
    before: list[Any] = [clip(above_0(name)) for name, clip in limits.items() if FLAGS[name].value is not None]
    before += [optim.add_decayed_weights(FLAGS.l2)] if FLAGS.l2 else []
    rule, thawed, scale = make_rule(schedule), transfer.thawed_pattern(), above_0("bias_rate")
    if thawed and scale != 1:
        raise ValueError("--bias_rate does not go with --unfreeze_from: each has variables learn at rates of their own")
    if scale != 1 and not any(path.endswith(".beta") for path in paths):
        raise ValueError(f"--bias_rate is of normalisation's beta, and --model={FLAGS.model} has none")
    # The first part's rate is the one that the history shows.
    if thawed:
        rule = optim.Partition({"head.*": rule, thawed: make_rule(_share(schedule, FLAGS.unfreeze_rate)), "*": rule})
    elif scale != 1:
        rule = optim.Partition({"*.kernel": rule, "*.beta": make_rule(_share(schedule, scale)), "*": rule})
    if FLAGS.lookahead:
        rule = optim.Lookahead(rule, FLAGS.lookahead, _slow_step_size())
    return optim.chain(*before, rule) if before else rule


def _slow_step_size() -> Callable:
    """Lookahead's α: 1 at first, where slow weights would only hold back; in the end 1 − 0.95^lookahead."""
    steps = FLAGS.warmup_steps + FLAGS.stable_steps + FLAGS.decay_steps
    slowest = 0.95**FLAGS.lookahead
    return lambda step: 1 - slowest * tf.minimum(tf.cast(step, tf.float64) / steps, 1.0) ** 3


def _share(schedule: Callable, share: float) -> Callable:
    return lambda step: schedule(step) * tf.constant(share, tf.float64)


def make_schedule(decay_steps: int) -> Callable:
    """How the learning rate moves."""
    schedules, rate = optim.schedules, above_0("learning_rate")
    boundaries = integers("boundaries")
    if FLAGS.schedule == "piecewise" and not (boundaries and min(boundaries) > 0):
        raise ValueError("--schedule=piecewise needs --boundaries above 0, the steps at which the rate falls")
    schedule = {
        "constant": lambda: schedules.constant(rate),
        "exponential": lambda: schedules.exponential(rate, decay_steps, FLAGS.decay_rate),
        "inverse_time": lambda: schedules.inverse_time(rate, decay_steps, FLAGS.decay_rate),
        "inverse_sqrt": lambda: schedules.inverse_sqrt(rate, FLAGS.warmup_steps or 1),
        "piecewise": lambda: schedules.piecewise(
            boundaries, [rate * FLAGS.decay_rate**fall for fall in range(len(boundaries) + 1)]
        ),
        "polynomial": lambda: schedules.polynomial(rate, decay_steps, rate * FLAGS.end_rate, FLAGS.power),
        "cosine": lambda: schedules.cosine(rate, decay_steps, FLAGS.end_rate),
        "cosine_restarts": lambda: schedules.cosine_restarts(rate, decay_steps, alpha=FLAGS.end_rate),
        "cyclic": lambda: schedules.cyclic(rate * FLAGS.end_rate, rate, decay_steps / 2),
        "one_cycle": lambda: schedules.one_cycle(rate, decay_steps),
    }[FLAGS.schedule]()
    if FLAGS.stable_steps:
        if FLAGS.schedule == "inverse_sqrt":
            raise ValueError("--stable_steps does not go with --schedule=inverse_sqrt, which has its own warm-up")
        schedule = schedules.join([rate, schedule], [FLAGS.stable_steps])
    # The warm-up of inverse_sqrt is its own.
    if FLAGS.warmup_steps and FLAGS.schedule != "inverse_sqrt":
        schedule = schedules.warmup(schedule, FLAGS.warmup_steps)
    return schedules.Scale(schedule) if FLAGS.reduce_on_plateau else schedule


def make_rule(schedule: Callable) -> optim.Rule:
    """The update rule with its schedule."""
    given = {name: FLAGS[name].value for name in RULE_FLAGS if FLAGS[name].value is not None}
    for name in given:
        takers = [rule for rule, make in OPTIMIZERS.items() if name in inspect.signature(make).parameters]
        if FLAGS.optimizer not in takers:
            raise ValueError(f"--{name} needs --optimizer={' or '.join(takers)}")
    return OPTIMIZERS[FLAGS.optimizer](schedule, **given)


def make_average(optimizer: tf.Module) -> optim.Average | None:
    """The average of the weights, if there is to be one."""
    if FLAGS.optimizer.startswith("schedule_free"):
        if FLAGS.average:
            raise ValueError(f"--average={FLAGS.average} needs an --optimizer without an average of its own")
        return optim.EvaluationWeights(optimizer)
    takers = {
        "average_decay": ("ema",),
        "average_warmup": ("ema",),
        "average_start": ("swa", "polyak"),
        "average_every": ("swa",),
    }
    for name, averages in takers.items():
        if FLAGS[name].value is not None and FLAGS.average not in averages:
            raise ValueError(f"--{name} needs --average={' or '.join(averages)}")
    if FLAGS.average == "swa" and FLAGS.average_every is None:
        raise ValueError("--average=swa needs --average_every, such as the steps of an epoch")
    return {
        None: lambda: None,
        "ema": lambda: optim.EMA(
            0.999 if FLAGS.average_decay is None else FLAGS.average_decay, warmup=FLAGS.average_warmup is not False
        ),
        "swa": lambda: optim.SWA(FLAGS.average_start or 0, FLAGS.average_every),
        "polyak": lambda: optim.Polyak(FLAGS.average_start or 0),
    }[FLAGS.average]()
