"""What there is to choose from."""

import inspect
from collections.abc import Callable

from absl import flags

import data
import optim
from cli import networks, rules
from layers import nets

FLAGS = flags.FLAGS

_OF = {
    "mlp": nets.mlp,
    "convnet": nets.convnet,
    "fast_cifar": nets.FastCifar,
    "efficientnet_lite0": nets.efficientnet_lite0,
    "text_average": nets.TextAverage,
    "transformer_lm": nets.TransformerLM,
    "lstm_lm": nets.RecurrentLM,
    **networks.IMAGENET,
    **dict.fromkeys(networks.CIFAR, nets.cifar_resnet),
    **dict.fromkeys(("text_lstm", "text_bilstm", "text_gru"), nets.TextRNN),
}
KINDS = {
    "models": lambda: {name: _OF[name] for name in networks.ALL},
    "datasets": lambda: _datasets(),
    "optimizers": lambda: {name: getattr(make, "func", make) for name, make in rules.OPTIMIZERS.items()},
    "schedules": lambda: {name: getattr(optim.schedules, name) for name in rules.SCHEDULES},
    "augmentations": lambda: {name: getattr(data.augment, name) for name in data.augment.NAMES},
}

flags.DEFINE_enum("list", None, list(KINDS), "Say what there is to choose from, a line each; nothing else.")


def listed() -> str:
    """Each name of the kind that --list asks for, and in one line what it is."""
    found = KINDS[FLAGS.list]()
    width = max(map(len, found))
    return "\n".join(f"{name:{width}}  {_line(of)}" for name, of in found.items())


def _datasets() -> dict[str, str]:
    # The table in the documentation of `data.load` is the one place where they are described.
    rows = [
        line.strip().strip("|").split("|") for line in data.load.__doc__.splitlines() if line.strip().startswith("|")
    ]
    cells = [[cell.strip().replace("`", "") for cell in row] for row in rows[2:]]
    return {name: f"{what}; data_dir holds {holds}" for names, what, holds in cells for name in names.split(", ")}


def _line(of: Callable | str) -> str:
    text = of if isinstance(of, str) else inspect.getdoc(of)
    return text.splitlines()[0]
