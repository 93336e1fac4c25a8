"""A gradient case for every public thing that can be differentiated, under its public name.

`CASES` says at which points each is checked, `WITHOUT` why a name has no case; `missing()` walks the public names and
returns those that have neither.
"""

import collections
import dataclasses
import types
from collections.abc import Callable, Mapping

import engine
import layers
import optim


@dataclasses.dataclass(frozen=True)
class Case:
    """A thing at a point: `make()` gives (callable, inputs), anew at every call, and the rest goes to the check.

    order: 2 for the gradient of the gradient too. skips: verdicts that TensorFlow makes impossible here.
    """

    name: str
    label: str
    make: Callable[[], tuple]
    order: int = 1
    skips: tuple[str, ...] = ()
    options: Mapping = dataclasses.field(default_factory=dict)

    def __str__(self):
        return f"{self.name}-{self.label}"


CASES: dict[str, list[Case]] = collections.defaultdict(list)

WITHOUT = {
    "engine.losses.get": "finds a loss by its name",
    "engine.regularizers.Regularizer": "the base of regularizers has no formula",
    "layers.Layer": "the base of layers computes nothing",
    "layers.activations.get": "finds an activation by its name",
    "layers.initializers": "initial values are drawn, and are functions of no tensor",
    "layers.nets.RecurrentLM": "made of layers that have cases; takes whole numbers",
    "layers.nets.TextAverage": "made of layers that have cases; takes whole numbers",
    "layers.nets.TextRNN": "made of layers that have cases; takes whole numbers",
    "layers.nets.TransformerLM": "made of layers that have cases; takes whole numbers",
    "layers.nets.generate": "draws tokens, which are whole numbers",
    "layers.nets.sample": "draws tokens, which are whole numbers",
    "layers.register": "keeps a class or function by its name",
    **{f"layers.nets.resnet{depth}": "a ResNet, which has cases, of these sizes" for depth in (18, 34, 50, 101, 152)},
    "layers.nets.load_resnet": "reads a file",
    "layers.nets.cifar_resnet": "a ResNet, which has cases, of these sizes",
    "layers.nets.fast_cifar": "a FastCifar, which has cases, of these sizes",
    "layers.nets.efficientnet_lite0": "an EfficientNetLite, which has cases, of these sizes",
    "optim.Average": "assigns to variables, and no tape sees through that",
    "optim.EvaluationWeights": "the slots of a rule, which assigns",
    "optim.Lookahead": "hands gradients to a rule, which assigns",
    "optim.Partition": "hands gradients to rules, which assign",
    "optim.SAM": "assigns to variables, and no tape sees through that",
    "optim.EMA": "assigns to variables, and no tape sees through that",
    "optim.Polyak": "assigns to variables, and no tape sees through that",
    "optim.SWA": "assigns to variables, and no tape sees through that",
    "optim.Rule": "the base of rules has no formula",
    "optim.chain": "hands gradients from its transforms, which have cases, to a rule, which assigns",
    "optim.schedules": "functions of a whole number, the step; their parameters are numbers, and refuse tensors",
}

WALKED = {
    "layers": layers,
    "engine.losses": engine.losses,
    "engine.regularizers": engine.regularizers,
    "optim": optim,
}


def public(name, thing):
    """The names of what can be called below `name`: of modules those in `__all__`, or else what they define."""
    if not isinstance(thing, types.ModuleType):
        return [name] if callable(thing) else []
    own = getattr(thing, "__all__", None) or [
        key
        for key, value in vars(thing).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == thing.__name__
    ]
    return [found for key in sorted(own) for found in public(f"{name}.{key}", getattr(thing, key))]


def excused(name):
    """The entry of `WITHOUT` that covers a name: its own, or that of the module it is in."""
    parts = name.split(".")
    return next((above for end in range(len(parts), 0, -1) if (above := ".".join(parts[:end])) in WITHOUT), None)


def missing():
    """The public names that have neither a case nor a reason to have none."""
    names = [found for name, module in WALKED.items() for found in public(name, module)]
    return [name for name in names if name not in CASES and not excused(name)]


def add(name, label, make, *, order=1, skips=(), **options):
    """Enters a case; `options` are those of `check_gradients`."""
    CASES[name].append(Case(name, label, make, order, skips, options))
