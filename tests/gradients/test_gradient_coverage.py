"""A public thing that can be differentiated has a gradient case, or the build breaks and names it."""

import inspect

import cases  # noqa: F401 (fills the registry)
import pytest
import registry
import tensorflow as tf

import engine
import layers
import optim

LAYERS = [getattr(layers, name) for name in layers.__all__]
LAYERS = [thing for thing in LAYERS if inspect.isclass(thing) and thing is not layers.Layer]
# They choose where a variable starts, and not what is computed.
STARTS = ("initializer", "dtype")


class MadeUp(layers.Layer):
    def __call__(self, x):
        return x * x


def test_every_public_thing_has_a_gradient_case():
    assert registry.missing() == []


@pytest.mark.parametrize(
    ("module", "within", "thing"),
    [
        (layers, "layers", MadeUp),
        (layers.nets, "layers.nets", lambda x: x * x),
        (layers.activations, "layers.activations", lambda x: x * x),
        (engine.losses, "engine.losses", lambda labels, outputs: outputs - labels),
        (optim, "optim", lambda gradients, variables: gradients),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_made_up_thing_without_a_case_is_named(monkeypatch, module, within, thing):
    monkeypatch.setattr(module, "made_up", thing, raising=False)
    if hasattr(module, "__all__"):
        monkeypatch.setattr(module, "__all__", [*module.__all__, "made_up"])
    else:
        monkeypatch.setattr(thing, "__module__", module.__name__)
    assert registry.missing() == [f"{within}.made_up"]


def test_cases_and_reasons_are_of_what_exists_and_of_one_kind():
    names = {name for within, module in registry.WALKED.items() for name in registry.public(within, module)}
    assert set(registry.CASES) <= names
    assert not {name for name in registry.CASES if registry.excused(name)}
    assert set(registry.WITHOUT) == {registry.excused(name) for name in names} - {None}


def test_what_is_excused_has_no_gradient():
    step = tf.constant(3)
    for schedule in (optim.schedules.cosine(0.1, 10), optim.schedules.exponential(0.1, 10, 0.5)):
        with tf.GradientTape() as tape:
            tape.watch(step)
            value = schedule(step)
        assert tape.gradient(value, step) is None
    with pytest.raises(TypeError, match="initial_value must be a finite number"):
        optim.schedules.cosine(tf.constant(0.1), 10)


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_every_option_of_a_layer_is_given_in_some_case(kind):
    given = set()
    for several in registry.CASES.values():
        for case in several:
            function, _ = case.make()
            for module in (function, *function.submodules) if isinstance(function, tf.Module) else ():
                if type(module) is kind:
                    given |= set(module.arguments.arguments)
    options = {name for name in inspect.signature(kind).parameters if not name.endswith(STARTS)}
    assert options <= given
