"""Networks: layers composed as in their papers, sized by arguments."""

from layers.nets.convnet import convnet
from layers.nets.generation import generate, sample
from layers.nets.language_models import RecurrentLM, TransformerLM
from layers.nets.mlp import mlp
from layers.nets.text import TextAverage, TextRNN

__all__ = ["RecurrentLM", "TextAverage", "TextRNN", "TransformerLM", "convnet", "generate", "mlp", "sample"]
