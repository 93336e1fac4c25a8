"""What `--helpshort` says, and what is said to a flag that there is not."""

import difflib
import os
import re
import sys
import textwrap
from collections.abc import Sequence

from absl import flags

import data
from cli import devices, finished, hooks, listing, looks, networks, pipelines, rules, trainers, training, transfer

FLAGS = flags.FLAGS
_MODULES = (pipelines, networks, transfer, rules, devices, training, trainers, hooks, looks, finished, listing)


def groups() -> list[tuple[str, list[flags.Flag]]]:
    """The flags of this program, by the first line of the module that reads them."""
    found = FLAGS.flags_by_module_dict()
    return [(module.__doc__.splitlines()[0], found[module.__name__]) for module in _MODULES]


def short() -> str:
    """A line or two for each flag: what it takes, what it is unless given, and what it does."""
    lines = ["python train.py --flagfile=configs/fashion_mnist_mini.cfg [--flag=value …]", ""]
    lines += ["Flags of the line win over those of flagfiles, and later flagfiles over earlier ones.", ""]
    for title, found in groups():
        lines += [title]
        for flag in found:
            lines += [f"  --{flag.name}{_takes(flag)}"]
            lines += textwrap.indent(textwrap.fill(_help(flag), 94), " " * 6).splitlines()
        lines += [""]
    return "\n".join(lines)


def say(text: str) -> None:
    """Prints to whoever reads, and that may be nobody any more: `| head` closes its end."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python would try again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _help(flag: flags.Flag) -> str:
    # absl puts the choices before it, which stand behind the name here.
    return " ".join(flag.help.split()).rpartition(">: ")[2]


def _takes(flag: flags.Flag) -> str:
    if flag.name == "jit_compile":
        return "=auto|true|false|loop  [auto]"
    if flag.boolean:
        return f"  (or --no{flag.name})" if flag.default else ""
    choices = getattr(flag.parser, "enum_values", None)
    unless = "" if flag.default in (None, [], "") else f"  [{flag.default_as_str.strip(chr(39))}]"
    return f"={'|'.join(choices) if choices else '…'}{unless}"


# What people call things elsewhere.
_ALSO = {
    "lr": "learning_rate",
    "gpu": "device",
    "gpus": "num_replicas",
    "batch": "batch_size",
    "validation_split": "validation_fraction",
    "name": "run_dir",
    "output_dir": "run_dir",
    "logdir": "run_dir",
    "config": "flagfile",
    "data": "dataset",
    "resume": "run_dir",
    "test": "evaluate",
    "eval": "evaluate",
    "cnn": "convnet",
    "dense": "mlp",
    "lstm": "text_lstm",
    "gru": "text_gru",
    "bilstm": "text_bilstm",
    "transformer": "transformer_lm",
    "gpt": "transformer_lm",
    "fp16": "float16",
    "bf16": "bfloat16",
    "fp32": "float32",
    "mixed_bfloat16": "bfloat16",
    "step": "piecewise",
    "linear": "polynomial",
}


def advice(error: flags.Error) -> str:
    """What is wrong with a command line, in one line, with what was probably meant."""
    if isinstance(error, flags.UnrecognizedFlagError):
        own = [flag.name for _, found in groups() for flag in found] + ["flagfile"]
        guess = _guess(error.flagname.replace("-", "_"), own)
        meant = f": did you mean --{guess}?" if guess else ":"
        return f"there is no --{error.flagname}{meant} --helpshort lists all flags"
    said = " ".join(str(error).split())
    if "Unable to open flagfile" in said:
        return f"{said.partition('directory: ')[2] or said}: there is no such flagfile; configs/ has some"
    match = re.match(r"flag --(\w+)=(.*?): (.*)", said)
    if not match:
        return said
    name, value, reason = match.groups()
    choices = getattr(FLAGS[name].parser, "enum_values", None) or (data.NAMES if name == "dataset" else None)
    if choices:
        guess = _guess(value, choices)
        meant = f": did you mean {guess}?" if guess else ":"
        return f"--{name}={value}{meant} there are {', '.join(choices)}"
    kind = "a whole number" if "int()" in reason else "a number" if "float" in reason else None
    return f"--{name}={value}: expected {kind}" if kind else f"--{name}={value}: {reason}"


def stray(argument: str) -> str:
    """What is wrong with an argument that is no flag."""
    if argument.endswith((".cfg", ".txt")):
        return f"unexpected argument {argument!r}: did you mean --flagfile={argument}?"
    if re.fullmatch(r"[\d.,]+", argument):
        return f"unexpected argument {argument!r}: lists have commas and no spaces, such as --units=128,64"
    return f"unexpected argument {argument!r}: every setting is a --flag=value"


def _guess(given: str, known: Sequence[str]) -> str | None:
    meant = _ALSO.get(given.lower())
    if meant in known:
        return meant
    lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(given.lower(), lower, n=1, cutoff=0.6) or [
        name for name in lower if name.startswith(given.lower())
    ]
    return lower[close[0]] if close else None
