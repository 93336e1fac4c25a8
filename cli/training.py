"""How long: a run, from its flags to its result."""

import copy
import math
import re
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import flags

import engine
from cli import devices, hooks, networks, pipelines, start, trainers, transfer
from engine.files import run_directory

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "run_dir", None, "The run's folder; one that holds a run is resumed. Default: runs/<config>-<time>."
)
flags.DEFINE_integer("epochs", 10, "Epochs in all.", lower_bound=1)
flags.DEFINE_integer("max_steps", None, "Updates in all, if fewer than the epochs make.", lower_bound=1)
flags.DEFINE_integer("evaluate_every", None, "Steps between validations, instead of epochs.", lower_bound=1)
flags.DEFINE_integer("steps_per_loop", 100, "Steps in one compiled call.", lower_bound=1)

# What may differ when a run is resumed. Everything else is what the run is.
MAY_CHANGE = frozenset(
    ["epochs", "max_steps", "evaluate_every", "steps_per_loop", "download"]
    + ["strategy", "num_replicas", "worker_timeout_s", "accumulate_steps", "jit_compile", "max_traces"]
    + ["early_stopping", "monitor", "patience", "min_delta", "restore_best"]
    + ["checkpoint_every", "checkpoint_every_s", "keep", "keep_best", "keep_every"]
    + ["check_numerics", "explosion_factor", "max_non_finite"]
    + ["log_every_step", "tensorboard", "drop_hooks"]
    + [f"tensorboard_{name}" for name in ("histograms", "samples", "confusion", "graph")]
)
# What workers of one run may have each for itself.
OF_ONE_WORKER = ("data_dir", "download", "worker_timeout_s")
# What only other modes read, and no run depends on.
OF_MODES = ("run_dir", "replay", "mode", "list", "device", "output")
OF_MODES += ("input", "top", "prompt", "length", "temperature", "top_k", "top_p")
OF_MODES += ("lowest_rate", "highest_rate", "sweep_steps", "profile_first", "profile_steps")
# A finished run goes on only if one of these differs.
PROLONGS = ("epochs", "max_steps", "early_stopping", "monitor", "patience", "min_delta", "restore_best")


def train(strategy: tf.distribute.Strategy | None) -> int:
    """One run, from its flags to its result; returns the exit code."""
    if engine.Replicas(strategy).workers > 1 and not FLAGS.run_dir:
        raise ValueError("several workers need --run_dir, a folder that all of them see")
    with run_directory.RunDirectory(FLAGS.run_dir or _default_run_dir()) as directory:
        return train_in(directory, strategy)


def train_in(directory: run_directory.RunDirectory, strategy: tf.distribute.Strategy | None) -> int:
    """One run in its folder; returns the exit code."""
    replicas = engine.Replicas(strategy)
    replicas.chief_does(directory.lock_if_begun)
    before, lines = directory.flags(), _flag_lines()
    if FLAGS.decay_steps is None and "decay_steps" in before:
        # The schedule must not move because the epochs did.
        lines["decay_steps"] = before["decay_steps"]
        FLAGS["decay_steps"].value = int(before["decay_steps"].partition("=")[2])
    directory.check_flags(lines, MAY_CHANGE, _default_lines())
    if not replicas.agreed_on([line for name, line in sorted(lines.items()) if name not in OF_ONE_WORKER]):
        raise ValueError("the workers were started with different flags: start all of them with the same")
    result = directory.result()
    if result and result["stopped_by"] in run_directory.FINAL:
        shorter = result["stopped_by"] == "epochs" and FLAGS.epochs <= result["epochs"]
        if shorter or all(before.get(name) == lines.get(name) for name in PROLONGS):
            print(f"{directory.path} is finished: {_summary(result)}")
            return 0

    pipeline, validation, test = pipelines.make_pipelines()
    steps = min(FLAGS.epochs * pipeline.steps_per_epoch, FLAGS.max_steps or math.inf)
    if FLAGS.decay_steps is None:
        FLAGS.decay_steps = max(1, steps - FLAGS.warmup_steps - FLAGS.stable_steps)
        lines["decay_steps"] = f"--decay_steps={FLAGS.decay_steps}"
    schedule_ends = FLAGS.warmup_steps + FLAGS.stable_steps + FLAGS.decay_steps
    if FLAGS.schedule in ("cosine", "polynomial", "one_cycle") and schedule_ends < steps:
        print(f"note: the schedule ends at step {schedule_ends} of {steps}; the rate stays where it ends")
    trainer, schedule = trainers.make_trainer(pipeline, strategy)
    listeners = hooks.make_hooks(directory, lines, schedule)
    listeners += transfer.thaw_hooks(trainer.model, pipeline, validation)
    parameters = engine.parameter_count(trainer.model)
    watch = f"tensorboard --logdir {shlex.quote(str(directory.tensorboard))}"
    shared = f", {replicas}" if replicas.count > 1 else ""
    networks.tell_unread_flags()
    print(f"{FLAGS.model} with {parameters:,} parameters on {pipeline.examples:,} examples of {FLAGS.dataset}{shared}")
    print(f"devices: {devices.listed()}")
    if advice := devices.advice():
        print(advice)
    print(f"run directory {directory.path}; to watch: {watch}", flush=True)

    read, looked_at = pipelines.featured(trainer.model, pipeline, validation)
    before_fit = time.perf_counter() - start.STARTED
    try:
        history = trainer.fit(
            read,
            epochs=FLAGS.epochs,
            max_steps=FLAGS.max_steps,
            validation=looked_at,
            evaluate_every=FLAGS.evaluate_every,
            hooks=listeners,
        )
    except engine.NonFinite as error:
        print(f"train.py: {error}", file=sys.stderr)
        history = error.history
        history.stopped_by = "non_finite"
    first_step = history.time_to_first_step_s
    if history.stopped_by == "signal" and first_step is None and replicas.workers == 1:
        # It came in the moment before `LeaveBeforeFirstStep` was there.
        print(start.LEFT % signal.Signals(history.signal).name, file=sys.stderr)
        return 128 + history.signal
    finished = history.stopped_by in run_directory.FINAL
    if finished and replicas.any(history.signal is not None):
        # It came while the last checkpoint was written, and whoever sent it does not wait for evaluations.
        signal.raise_signal(history.signal or signal.SIGTERM)
    if finished and replicas.chief:
        with trainer.averaged():
            engine.save_weights(directory.checkpoints / "model", trainer.model)
    result = {
        "steps": int(trainer.state.step),
        "epochs": int(trainer.state.epoch),
        "train": history.train,
        "validation": trainer.evaluate(validation) if finished and validation else {},
        "test": trainer.evaluate(test) if finished else {},
        "weights_sha256": engine.weights_sha256(trainer.model),
        "parameters": parameters,
        "examples_per_second": history.examples_per_second,
        "time_to_first_step_s": first_step and before_fit + first_step,
        "wall_s": time.perf_counter() - start.STARTED,
        "traces": history.traces,
        "resumed_from": history.resumed_from,
        "stopped_by": history.stopped_by,
    }
    if replicas.chief:
        directory.write_result(result)
    print(_summary(result))
    print(f"to look at it: {watch}")
    if history.stopped_by == "signal":
        return 128 + (history.signal or signal.SIGTERM)
    return 0 if finished else 1


def _summary(result: dict) -> str:
    splits = [
        f"{split} {' '.join(f'{name} {_shown(value)}' for name, value in result[split].items() if name != 'data_loss')}"
        for split in ("train", "validation", "test")
        if result[split]
    ]
    said = f": {'; '.join(splits)}" if splits else ""
    return f"stopped by {result['stopped_by']} after step {result['steps']}{said}"


def _shown(value: float | None) -> str:
    return "not finite" if value is None or not math.isfinite(value) else f"{value:.4f}"


def given() -> dict[str, Any]:
    """What the command line says of a run: the values of those flags that stand there, by name."""
    return {flag.name: flag.value for flag in _own_flags() if flag.present and flag.name not in OF_MODES}


def _own_flags() -> list[flags.Flag]:
    modules = FLAGS.flags_by_module_dict().items()
    return [flag for module, found in modules if module.startswith("cli.") for flag in found]


def _flag_lines() -> dict[str, str]:
    """Every flag of this program as a line of a flagfile, by name; flags that are not set have none."""
    lines = {flag.name: flag.serialize() for flag in _own_flags() if flag.value is not None}
    return {name: line for name, line in lines.items() if line and name not in OF_MODES}


def _default_lines() -> dict[str, str]:
    """Every flag of this program at its default, as a line by name: what a run was that is older than the flag."""
    flags_then = [copy.deepcopy(flag) for flag in _own_flags() if flag.default is not None]
    for flag in flags_then:
        flag.value = flag.default
    return {flag.name: flag.serialize() for flag in flags_then}


def _default_run_dir() -> Path:
    files = [match[1] for match in re.finditer(r"--?flagfile[= ](\S+)", " ".join(sys.argv))]
    config = Path(files[0]).stem if files else FLAGS.model
    return Path("runs") / f"{config}-{time.strftime('%Y%m%d-%H%M%S')}"
