"""Wrong gradients, planted in real layers and functions by `tf.custom_gradient`.

Each plant is a pair: the same forward pass with the right backward pass, which must pass the check, and with one that
has a mistake, which must not. `planted_layers` and `planted_functions` fill `PLANTS`.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from points import settled

import engine


@dataclasses.dataclass(frozen=True)
class Plant:
    """mistake: what is wrong. right, wrong: build the callables. control: what plants with the same right one share.

    blamed, index: what the error must name; None: any.
    """

    mistake: str
    right: Callable[[], Callable]
    wrong: Callable[[], Callable]
    control: object
    inputs: tuple
    blamed: str | None
    index: tuple | None
    options: Mapping

    def __str__(self):
        return self.mistake.replace(" ", "-")


PLANTS: list[Plant] = []


class Spoiled(tf.Module):
    """A layer whose gradients pass through `spoil(gradients, x, upstream)`: a dict of "x" and the variables by path."""

    def __init__(self, layer, spoil):
        super().__init__()
        self.layer, self.spoil = layer, spoil

    def __call__(self, x, **training):
        @tf.custom_gradient
        def run(x):
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(x)
                y = self.layer(x, **training)

            def gradient(upstream, variables=()):
                paths = {variable.ref(): path for path, variable in engine.variable_paths(self.layer).items()}
                names = [paths[variable.ref()] for variable in variables]
                right = tape.gradient(y, [x, *variables], upstream)
                found = self.spoil(dict(zip(["x", *names], right, strict=True)), x, upstream)
                return (found["x"], [found[name] for name in names]) if variables else found["x"]

            return y, gradient

        return run(x)


def untouched(gradients, x, upstream):
    """What `Spoiled` takes for no mistake."""
    return gradients


def in_layer(mistake, build, x, spoil, blamed, index=None, **options):
    """Plants a mistake in the layer that `build()` makes; `blamed` is "x" or the variable's path."""
    name = {"x": "inputs[0]", None: None}.get(blamed, f"layer.{blamed}")
    right, wrong = (lambda spoil=spoil: Spoiled(settled(build()), spoil) for spoil in (untouched, spoil))
    PLANTS.append(Plant(mistake, right, wrong, build, (x,), name, index, options))


def changed(path, change):
    """A spoil that puts `change(gradient)` in place of the gradient of `path`."""
    return lambda gradients, x, upstream: {**gradients, path: change(gradients[path])}


def replaced(path, rule):
    """A spoil that puts `rule(x, upstream)` in its place."""
    return lambda gradients, x, upstream: {**gradients, path: rule(x, upstream)}


def with_backward(forward, backward):
    """`forward` with the gradients `backward(g, y, *inputs)`, which may be a function of another rule."""

    @tf.custom_gradient
    def run(*inputs):
        y = forward(*inputs)
        return y, lambda *g: backward(g[0] if len(g) == 1 else g, y, *inputs)

    return run


def gradient_of(function):
    """The backward pass of `function`, by a tape: it serves as another function's."""

    def backward(g, y, *inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(*inputs)
        return tape.gradient(outputs, inputs, g)

    return backward


def in_function(mistake, forward, wrong, *inputs, right=None, blamed=None, index=None, **options):
    """Plants a backward pass in a function; the right one is `right`, or that of the function itself.

    `wrong` and `right` are called with the gradient that arrives, the output and the inputs. `blamed` is the number of
    an input; None where the check may name any.
    """
    blamed = None if blamed is None else f"inputs[{blamed}]"
    right = right or gradient_of(forward)
    makers = (lambda rule=rule: with_backward(forward, rule) for rule in (right, wrong))
    PLANTS.append(Plant(mistake, *makers, mistake, inputs, blamed, index, options))


def at(index, change):
    """One coordinate of a gradient changed."""

    def spoil(gradient):
        where = np.zeros(gradient.shape, bool)
        where[index] = True
        return tf.where(where, change(gradient), gradient)

    return spoil
