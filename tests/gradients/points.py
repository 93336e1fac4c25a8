"""Points and layers for gradient cases, and how a layer's case is entered."""

import numpy as np
from registry import add

import engine


def normal(*shape, seed=0, scale=1.0):
    """A float64 array of normal numbers."""
    return np.random.default_rng([seed, *shape]).normal(scale=scale, size=shape)


def distinct(*shape, seed=0):
    """Numbers from −1 to 1 in any order, no two of which are near each other: no window has a tie."""
    count = int(np.prod(shape))
    return np.random.default_rng([seed, *shape]).permutation(np.linspace(-1, 1, count)).reshape(shape)


def settled(layer, seed=0):
    """`layer` with other values than those it starts with: biases of 0 hide mistakes. Variances stay above 0."""
    for number, (path, variable) in enumerate(engine.variable_paths(layer).items()):
        value = normal(*variable.shape, seed=seed + number, scale=0.7)
        variable.assign(0.5 + np.abs(value) if path.endswith("variance") else value)
    return layer


def layer(name, label, build, shape, *, values=normal, **options):
    """A case for a layer that `build()` constructs, on an input of `shape`."""
    add(name, label, lambda: (settled(build()), values(*shape)), **options)


def context(**options):
    """A step that draws the same in every evaluation."""
    return engine.StepContext(seed=5, step=3, **options)
