"""Hypothesis strategies: tensors, shapes, convolutions, labels, weights, directions, and layers with their inputs.

    from hypothesis import given
    from engine.testing import strategies

    @given(strategies.layer_cases(layers.Conv2D))
    def test_gradient(case):
        layer, x = case
        testing.check_gradients(layer, x)

Everything shrinks to the smallest shape and the plainest values. Tensors are TensorFlow's; what else is drawn prints as
the expression that makes it again.
"""

from engine.testing.strategies.cases import LayerCase, layer_cases
from engine.testing.strategies.shapes import Convolution, broadcastable_shapes, convolutions, shapes
from engine.testing.strategies.values import (
    KINDS,
    away_from_kinks,
    directions,
    labels,
    masks,
    tensors,
    weights,
)

__all__ = [
    "KINDS",
    "Convolution",
    "LayerCase",
    "away_from_kinks",
    "broadcastable_shapes",
    "convolutions",
    "directions",
    "labels",
    "layer_cases",
    "masks",
    "shapes",
    "tensors",
    "weights",
]
