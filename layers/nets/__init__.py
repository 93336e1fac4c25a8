"""Networks: layers composed as in their papers, sized by arguments."""

from layers.nets.convnet import convnet
from layers.nets.mlp import mlp

__all__ = ["convnet", "mlp"]
