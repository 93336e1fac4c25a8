"""Layers: `tf.Module`s with explicit variables, and networks composed of them.

Every layer creates its variables in `__init__`, from explicit sizes, and only computes in `__call__`.
Images are `[batch, height, width, channels]`. Names and defaults of fields and arguments are those of Keras.
"""

from layers import activations, initializers
from layers.base import Layer
from layers.convolution import Conv2D
from layers.dense import Dense
from layers.dropout import Dropout
from layers.normalization import BatchNorm
from layers.pooling import AveragePool2D, GlobalAveragePool2D, MaxPool2D
from layers.recomputation import recompute
from layers.reshaping import Flatten
from layers.sequential import Sequential, chain

from layers import nets  # isort: skip  (networks are made of the layers above)

__all__ = [
    "AveragePool2D",
    "BatchNorm",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePool2D",
    "Layer",
    "MaxPool2D",
    "Sequential",
    "activations",
    "chain",
    "initializers",
    "nets",
    "recompute",
]
