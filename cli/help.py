"""What `--helpshort` says: the flags of this program by what they are about."""

import textwrap

from absl import flags

from cli import devices, finished, hooks, listing, networks, pipelines, rules, trainers, training, transfer

FLAGS = flags.FLAGS
_MODULES = (pipelines, networks, transfer, rules, devices, training, trainers, hooks, finished, listing)


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


def _help(flag: flags.Flag) -> str:
    # absl puts the choices before it, which stand behind the name here.
    return " ".join(flag.help.split()).rpartition(">: ")[2]


def _takes(flag: flags.Flag) -> str:
    if flag.boolean:
        return f"  (or --no{flag.name})" if flag.default else ""
    choices = getattr(flag.parser, "enum_values", None)
    unless = "" if flag.default in (None, [], "") else f"  [{flag.default_as_str.strip(chr(39))}]"
    return f"={'|'.join(choices) if choices else '…'}{unless}"
