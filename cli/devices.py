"""On what it runs. None of this changes what a batch means: batch_size is examples per update."""

import re
from pathlib import Path

import tensorflow as tf
from absl import flags

import engine

FLAGS = flags.FLAGS

flags.DEFINE_enum("strategy", "auto", engine.strategies.NAMES, "Where replicas are: here or on several machines.")
flags.DEFINE_integer("num_replicas", None, "Replicas (mirrored): GPUs, or logical devices of the processor.", 1)
flags.DEFINE_float("worker_timeout_s", 300, "Seconds to wait for the other workers to come (multi_worker).", 0)
flags.DEFINE_integer("accumulate_steps", 1, "Parts in which a replica computes its slice of a batch.", lower_bound=1)
flags.DEFINE_enum("precision", "float32", list(engine.precision.PRECISIONS), "Dtype of computation.")
flags.DEFINE_enum("loss_scaling", "auto", ["auto", "dynamic", "none"], "auto: dynamic for float16, else none.")


class _Compiled(flags.ArgumentParser):
    syntactic_help = "auto, true, false or loop"

    def parse(self, argument):
        text = str(argument).lower()
        if text not in ("auto", "loop", "true", "false", "1", "0"):
            raise ValueError(f"expected {self.syntactic_help}")
        return text if text in ("auto", "loop") else text in ("true", "1")

    def flag_type(self):
        return self.syntactic_help


class _CompiledFlag(flags.Flag):
    """Also `--jit_compile` and `--nojit_compile`, as it was when there were these two."""

    def __init__(self, name, help_string):
        super().__init__(_Compiled(), flags.ArgumentSerializer(), name, "auto", help_string)
        self.boolean = True

    def serialize(self):
        return f"--{self.name}={str(self.value).lower()}"


flags.DEFINE_flag(
    _CompiledFlag(
        "jit_compile",
        "What XLA compiles: nothing (false), forward and backward (true), the whole loop as one program (loop); auto: "
        "loop for small dense networks, else nothing.",
    )
)
flags.DEFINE_enum("on_non_finite", "raise", engine.non_finite.POLICIES, "What becomes of a step that is not finite.")
flags.DEFINE_integer("max_non_finite", 10, "Steps in all that may be skipped or rolled back.", lower_bound=1)
flags.DEFINE_boolean("check_numerics", False, "Stop at the first op of the training loop that makes a NaN or infinity.")
flags.DEFINE_float("explosion_factor", 10.0, "Warn of a loss above this times its running median; 0: never.", 0)
flags.DEFINE_integer("max_traces", None, "Traces of the training loop beyond which it is an error.", lower_bound=1)
flags.DEFINE_string("device", None, "cpu, gpu, or one of several such as gpu:1; unless given, all that there are.")


def choose() -> None:
    """Shows TensorFlow the devices of --device alone; GPUs are given memory as they need it."""
    if FLAGS.device:
        kind, _, number = FLAGS.device.lower().partition(":")
        if kind not in ("cpu", "gpu") or not (number.isdigit() or not number) or (kind == "cpu" and number):
            raise ValueError(f"--device must be cpu, gpu or gpu:<number>, got {FLAGS.device}")
        there = tf.config.list_physical_devices("GPU")
        chosen = [] if kind == "cpu" else there[int(number) :][:1] if number else there
        if kind == "gpu" and not chosen:
            raise ValueError(f"--device={FLAGS.device}: there are {len(there) or 'no'} GPUs; --device=cpu will do")
        tf.config.set_visible_devices(chosen, "GPU")
    for gpu in tf.config.get_visible_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def advice(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """What is known to be slow here, in one line: bfloat16 on a processor that has no instructions for it."""
    if FLAGS.precision != "bfloat16" or tf.config.get_visible_devices("GPU") or not cpuinfo.exists():
        return None
    known = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE)
    if not known or {"avx512_bf16", "amx_bf16"} & set(known[1].split()):
        return None
    return "note: this processor has no instructions for bfloat16, which is many times slower than float32 here"


def listed() -> str:
    """The devices in use, in words."""
    return ", ".join(device.name.removeprefix("/physical_device:") for device in tf.config.get_visible_devices())
