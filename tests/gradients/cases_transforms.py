"""The gradient cases of the transforms of gradients: see `registry`."""

import numpy as np
import tensorflow as tf
from points import normal
from registry import add

import optim


def clipped(clip):
    """Gradients clipped by a limit that is a tensor: a schedule that returns it."""
    return lambda first, second, limit: clip(lambda step: limit)([first, second], [])


def sliced(clip):
    """Clipped slices: two are of the same row."""

    def run(values, dense):
        slices = tf.IndexedSlices(values, tf.constant([2, 0, 2]), tf.constant([4, 2]))
        found, other = clip(1.5)([slices, dense], [])
        return found.values, other

    return run


for name in ("clip_by_global_norm", "clip_by_norm", "clip_by_value"):
    clip = getattr(optim, name)
    for label, limit in (("cuts", 0.8), ("cuts-one", 2.2)):
        point = (normal(3, 2), normal(4, seed=1), np.array(limit))
        add(f"optim.{name}", label, lambda f=clip, point=point: (clipped(f), point))
    add(
        f"optim.{name}",
        "nothing-to-cut",
        lambda f=clip: (lambda g, h: f(1.5)([g, h], []), (np.zeros((3, 2)), np.zeros(4))),
    )
    add(f"optim.{name}", "slices", lambda f=clip: (sliced(f), (normal(3, 2), normal(5, seed=1))))


def limited(gradient, weights, clipping):
    """Clipped by units, by a share that is a tensor; a column of the weights is lighter than epsilon."""
    return optim.agc(lambda step: clipping, epsilon=0.5)([gradient], [weights])


light = np.array([1.0, 0.01])
for label, shape, clipping in (("matrix", (3, 2), 0.4), ("convolution", (2, 2, 2, 2), 0.9), ("vector", (2,), 0.4)):
    point = (normal(*shape), normal(*shape, seed=1) * light, np.array(clipping))
    add("optim.agc", label, lambda point=point: (limited, point))
add("optim.agc", "nothing-to-cut", lambda: (limited, (np.zeros((3, 2)), normal(3, 2), np.array(0.4))))


def rows_only(transform):
    """A transform of slices of a variable [4, 2], two of them of the same row."""

    def run(values, weights):
        (found,) = transform([tf.IndexedSlices(values, tf.constant([2, 0, 2]), tf.constant([4, 2]))], [weights])
        return found.values if isinstance(found, tf.IndexedSlices) else found

    return run


for name, transform in (
    ("agc", optim.agc(0.4)),
    ("centralize", optim.centralize()),
    ("add_noise", optim.add_noise(0.3)),
    ("add_decayed_weights", optim.add_decayed_weights(0.1, mask=None)),
):
    # What does not look at the weights has no gradient there.
    none = {} if name in ("agc", "add_decayed_weights") else {"disconnected": ("inputs[1]",)}
    add(f"optim.{name}", "slices", lambda f=transform: (rows_only(f), (normal(3, 2), normal(4, 2, seed=1))), **none)
    pair = (normal(3, 2, 2), normal(3, 2, 2, seed=1))
    add(f"optim.{name}", "dense", lambda f=transform, pair=pair: (lambda g, x: f([g], [x]), pair), **none)
