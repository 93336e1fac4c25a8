"""The residual networks of He et al. 2016, for ImageNet and for CIFAR."""

import tensorflow as tf

from layers import checks
from layers.activations import relu
from layers.base import Layer
from layers.dense import Dense
from layers.nets.classifier import Classifier
from layers.nets.keras_weights import load_keras_weights
from layers.nets.residual import BasicBlock, Bottleneck, conv, norm
from layers.nets.stage import Stage
from layers.pooling import GlobalAveragePool2D, GlobalMaxPool2D, MaxPool2D
from layers.registry import register
from layers.resizing import ZeroPadding2D


@register
class ResNet(Layer):
    """A stem, stages of residual blocks, global pooling: He et al. 2016, table 1 and section 4.2.

        stem     conv 7×7, filters[0], stride 2 ─ norm ─ relu ─ max-pooling 3×3, stride 2     or, for small pictures,
                 conv 3×3, filters[0] ─ norm ─ relu
        stage2   depths[0] blocks of filters[0]
        stage3   depths[1] blocks of filters[1], the first with stride 2; and so on
        pooling  "avg" or "max" over what is left of the picture; None: none

    `[batch, height, width, in_channels]` → `[batch, features]`, or without pooling `[batch, height', width', features]`
    with `features` = filters[-1], times 4 for a Bottleneck. Any height and width will do. block: `BasicBlock` or
    `Bottleneck`; use_bias: of the convolutions; projection: whether shortcuts that change the shape have weights.

    >>> net = ResNet(3, depths=(1, 1), filters=(16, 32), small=True, projection=False)
    >>> net(tf.zeros([8, 32, 32, 3])).shape, net.features
    (TensorShape([8, 32]), 32)
    """

    def __init__(
        self,
        in_channels,
        depths,
        filters=(64, 128, 256, 512),
        block=BasicBlock,
        *,
        small=False,
        pooling="avg",
        use_bias=False,
        projection=True,
    ):
        super().__init__()
        if len(depths) != len(filters):
            raise ValueError(f"{self!r}: depths and filters must be of one length, found {depths} and {filters}")
        self.in_channels = checks.positive(self, "in_channels", in_channels)
        self.stem = Stem(in_channels, filters[0], small=small, use_bias=use_bias)
        self.features, self._stages = filters[0], tuple(f"stage{2 + k}" for k in range(len(depths)))
        for name, depth, width in zip(self._stages, depths, filters, strict=True):
            blocks = []
            for number in range(checks.positive(self, "depths", depth)):
                strides = 2 if number == 0 and name != "stage2" else 1
                blocks.append(block(self.features, width, strides, use_bias=use_bias, projection=projection))
                self.features = block.expansion * width
            setattr(self, name, Stage(blocks))
        self.pooling = _pooling(self, pooling)

    def last_dimension(self, size):
        """`features`, of a picture with `in_channels`."""
        self.expect(size, self.in_channels)
        return self.features

    def __call__(self, x, training=False):
        """The features of pictures."""
        x = self.stem(self.take(x, rank=4, size=self.in_channels), training=training)
        for name in self._stages:
            x = getattr(self, name)(x, training=training)
        return x if self.pooling is None else self.pooling(x)


class Stem(Layer):
    """What comes before the stages: a convolution, and for pictures that are not small one pooling."""

    def __init__(self, in_channels, filters, *, small, use_bias):
        super().__init__()
        self.padding = None if small else ZeroPadding2D(3)
        self.conv = conv(in_channels, filters, *((3, 1) if small else (7, 2)), use_bias, "same" if small else "valid")
        self.norm = norm(filters)
        self.pool = None if small else MaxPool2D(3, 2)

    def __call__(self, x, training=False):
        """relu(norm(conv(x))), pooled."""
        x = x if self.padding is None else self.padding(x)
        x = relu(self.norm(self.conv(x), training=training))
        # Zeros: after a relu they never win.
        return x if self.pool is None else self.pool(tf.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]))


def _pooling(layer, name):
    kinds = {"avg": GlobalAveragePool2D, "max": GlobalMaxPool2D}
    if name is not None and name not in kinds:
        raise ValueError(f"{layer!r}: pooling must be 'avg', 'max' or None, found {name!r}")
    return None if name is None else kinds[name]()


def cifar_resnet(input_shape, classes, depth=20):
    """The networks for small pictures, of 20, 32, 44, 56, … layers: He et al. 2016, section 4.2.

    6n + 2 layers: a 3×3 convolution, 2n of 16 filters, 2n of 32, 2n of 64, one dense layer; shortcuts without weights.
    `[batch, *input_shape]` → logits `[batch, classes]`; of input_shape, (height, width, channels), the channels count.

    >>> model = cifar_resnet((32, 32, 3), 10, depth=20)
    >>> sum(int(tf.size(variable)) for variable in model.trainable_variables)
    269722
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"cifar_resnet: depth must be 6n + 2, such as 20, 32, 44, 56, found {depth}")
    backbone = ResNet(input_shape[-1], (blocks,) * 3, (16, 32, 64), small=True, projection=False)
    return Classifier(backbone, Dense(64, classes))


def resnet18(input_shape=(None, None, 3), classes=1000, *, include_top=True, pooling=None):
    """18 layers, of basic blocks: He et al. 2016, table 1. Arguments as those of `resnet50`."""
    return _imagenet(input_shape, classes, (2, 2, 2, 2), BasicBlock, include_top, pooling, use_bias=False)


def resnet34(input_shape=(None, None, 3), classes=1000, *, include_top=True, pooling=None):
    """34 layers, of basic blocks: He et al. 2016, table 1. Arguments as those of `resnet50`."""
    return _imagenet(input_shape, classes, (3, 4, 6, 3), BasicBlock, include_top, pooling, use_bias=False)


def resnet50(input_shape=(None, None, 3), classes=1000, *, include_top=True, pooling=None, pretrained=None):
    """50 layers, of bottlenecks: He et al. 2016, table 1, as Keras' applications have it.

    `[batch, *input_shape]` → logits `[batch, classes]` (Keras' softmax is for the loss to make). Any height and width;
    of input_shape the channels count. Inputs are those of Keras' `caffe` mode: see `caffe_pixels`.
    Without `include_top` → the last feature map, or with pooling "avg" or "max" `[batch, 2048]`, and the variables go
    by `stage2.block0.conv1.kernel`; with it by `backbone.stage2.….kernel` and `head.kernel`.

    pretrained: a file of weights in Keras' legacy HDF5 format, such as the published
    `resnet50_weights_tf_dim_ordering_tf_kernels.h5` (and `…_notop.h5`, without `include_top`). ValueError names the
    first layer in which the file is another network's.

    >>> resnet50((64, 64, 3), include_top=False, pooling="avg")(tf.zeros([1, 64, 64, 3])).shape
    TensorShape([1, 2048])
    """
    return _imagenet(input_shape, classes, (3, 4, 6, 3), Bottleneck, include_top, pooling, pretrained)


def resnet101(input_shape=(None, None, 3), classes=1000, *, include_top=True, pooling=None, pretrained=None):
    """101 layers, of bottlenecks: He et al. 2016, table 1. See `resnet50`."""
    return _imagenet(input_shape, classes, (3, 4, 23, 3), Bottleneck, include_top, pooling, pretrained)


def resnet152(input_shape=(None, None, 3), classes=1000, *, include_top=True, pooling=None, pretrained=None):
    """152 layers, of bottlenecks: He et al. 2016, table 1. See `resnet50`."""
    return _imagenet(input_shape, classes, (3, 8, 36, 3), Bottleneck, include_top, pooling, pretrained)


def _imagenet(input_shape, classes, depths, block, include_top, pooling, pretrained=None, use_bias=True):
    backbone = ResNet(
        input_shape[-1], depths, block=block, pooling="avg" if include_top else pooling, use_bias=use_bias
    )
    model = Classifier(backbone, Dense(backbone.features, classes)) if include_top else backbone
    if pretrained is not None:
        load_keras_weights(pretrained, keras_layers(backbone, model.head if include_top else None))
    return model


def load_resnet(backbone, path):
    """Sets a `ResNet` of bottlenecks from a file of weights as `resnet50` takes them; the file may have a head.

    ValueError names the first layer in which the file is another network's.
    """
    load_keras_weights(path, keras_layers(backbone), ignore=("predictions", "probs"))


def keras_layers(backbone, head=None):
    """Layers of a ResNet of bottlenecks by their names in Keras' applications; a tuple of names: one of them."""
    found = {"conv1_conv": backbone.stem.conv, "conv1_bn": backbone.stem.norm}
    for stage in range(2, 6):
        for number, block in enumerate(getattr(backbone, f"stage{stage}").blocks):
            name = f"conv{stage}_block{number + 1}"
            if block.shortcut is not None:
                found |= {f"{name}_0_conv": block.shortcut.conv, f"{name}_0_bn": block.shortcut.norm}
            for k in (1, 2, 3):
                found |= {f"{name}_{k}_conv": getattr(block, f"conv{k}"), f"{name}_{k}_bn": getattr(block, f"norm{k}")}
    # The published file was written when its last layer was called "probs".
    return found if head is None else {**found, ("predictions", "probs"): head}
