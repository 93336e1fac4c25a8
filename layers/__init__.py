"""Layers: `tf.Module`s with explicit variables, and networks composed of them.

Every layer creates its variables in `__init__`, from explicit sizes, and only computes in `__call__`.
Images are `[batch, height, width, channels]`. Names and defaults of fields and arguments are those of Keras.
"""

from layers import activations, initializers
from layers.attention import MultiHeadAttention
from layers.base import Layer
from layers.bidirectional import Bidirectional
from layers.composition import Lambda, Parallel, Residual
from layers.convolution import Conv1D, Conv2D, Conv3D
from layers.dense import Dense
from layers.depthwise import DepthwiseConv1D, DepthwiseConv2D, SeparableConv1D, SeparableConv2D
from layers.dropout import AlphaDropout, Dropout, SpatialDropout1D, SpatialDropout2D, StochasticDepth
from layers.embedding import Embedding
from layers.group_norm import GroupNorm, InstanceNorm
from layers.gru import GRU, GRUCell
from layers.layer_norm import LayerNorm, RMSNorm
from layers.lstm import LSTM, LSTMCell
from layers.noise import GaussianDropout, GaussianNoise
from layers.normalization import BatchNorm
from layers.pooling import (
    AveragePool1D,
    AveragePool2D,
    GlobalAveragePool1D,
    GlobalAveragePool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    MaxPool1D,
    MaxPool2D,
)
from layers.positions import PositionEmbedding, RotaryPositions, SinusoidalPositions
from layers.prelu import PReLU
from layers.recomputation import recompute
from layers.recurrent import RNN, StackedRNNCells
from layers.recurrent_cells import SimpleRNN, SimpleRNNCell
from layers.registry import register
from layers.reshaping import Flatten, Permute, Reshape
from layers.resizing import Cropping1D, Cropping2D, UpSampling1D, UpSampling2D, ZeroPadding1D, ZeroPadding2D
from layers.sequential import Sequential, chain
from layers.transformer import TransformerDecoderBlock, TransformerEncoderBlock
from layers.transposed import Conv1DTranspose, Conv2DTranspose
from layers.weight_norm import SpectralNorm, WeightNorm
from layers.whitening import Whitening

from layers import nets  # isort: skip  (networks are made of the layers above)

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "AlphaDropout",
    "AveragePool1D",
    "AveragePool2D",
    "BatchNorm",
    "Bidirectional",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Cropping1D",
    "Cropping2D",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePool1D",
    "GlobalAveragePool2D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GroupNorm",
    "InstanceNorm",
    "LSTMCell",
    "Lambda",
    "Layer",
    "LayerNorm",
    "MaxPool1D",
    "MaxPool2D",
    "MultiHeadAttention",
    "PReLU",
    "Parallel",
    "Permute",
    "PositionEmbedding",
    "RMSNorm",
    "Reshape",
    "Residual",
    "RotaryPositions",
    "SeparableConv1D",
    "SeparableConv2D",
    "Sequential",
    "SimpleRNN",
    "SimpleRNNCell",
    "SinusoidalPositions",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpectralNorm",
    "StackedRNNCells",
    "StochasticDepth",
    "TransformerDecoderBlock",
    "TransformerEncoderBlock",
    "UpSampling1D",
    "UpSampling2D",
    "WeightNorm",
    "Whitening",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "activations",
    "chain",
    "initializers",
    "nets",
    "recompute",
    "register",
]

from layers import registered  # isort: skip  # noqa: F401 - files of models may name all of the above
