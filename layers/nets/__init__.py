"""Networks: layers composed as in their papers, sized by arguments."""

from layers.nets.classifier import Classifier, Pixels, caffe_pixels, lite_pixels
from layers.nets.convnet import convnet
from layers.nets.efficientnet import EfficientNetLite, efficientnet_lite0
from layers.nets.fast_cifar import FastCifar, fast_cifar
from layers.nets.generation import generate, sample
from layers.nets.language_models import RecurrentLM, TransformerLM
from layers.nets.mlp import mlp
from layers.nets.resnet import ResNet, cifar_resnet, load_resnet, resnet18, resnet34, resnet50, resnet101, resnet152
from layers.nets.text import TextAverage, TextRNN

__all__ = [
    "Classifier",
    "EfficientNetLite",
    "FastCifar",
    "Pixels",
    "RecurrentLM",
    "ResNet",
    "TextAverage",
    "TextRNN",
    "TransformerLM",
    "caffe_pixels",
    "cifar_resnet",
    "convnet",
    "efficientnet_lite0",
    "fast_cifar",
    "generate",
    "lite_pixels",
    "load_resnet",
    "mlp",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "sample",
]
