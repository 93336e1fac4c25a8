"""EfficientNet-Lite0: inverted residuals without what small devices compute badly."""

from layers import checks
from layers.activations import relu6
from layers.base import Layer
from layers.convolution import Conv2D
from layers.dense import Dense
from layers.depthwise import DepthwiseConv2D
from layers.dropout import StochasticDepth
from layers.initializers import variance_scaling
from layers.nets.classifier import Classifier
from layers.nets.stage import Stage
from layers.normalization import BatchNorm
from layers.pooling import GlobalAveragePool2D
from layers.registry import register

_FAN_OUT = variance_scaling(2.0, "fan_out", "untruncated_normal")
# (blocks, kernel, strides, expansion, filters) of the stages 2 to 8.
LITE0 = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@register
class InvertedResidual(Layer):
    """Wide between narrow: Sandler et al. 2018, "MobileNetV2", figure 4d; called MBConv.

        x ──▶ expand 1×1 ─ norm0 ─ relu6 ─ depthwise k×k, strides ─ norm1 ─ relu6 ─ project 1×1 ─ norm2 ──▶ + ──▶
        └───────────────────────────────────────────────────────────────────────────────────────────────▶ ┘

    `[batch, height, width, in_channels]` → `[batch, ⌈height / strides⌉, …, filters]`, within expansion·in_channels;
    an expansion of 1 has no `expand`. x is added where the shape stays; there the rest is dropped for an example with
    probability `dropout` in training (`StochasticDepth`).
    """

    def __init__(self, in_channels, filters, kernel_size=3, strides=1, *, expansion=6, dropout=0.0):
        super().__init__()
        wide = checks.positive(self, "expansion", expansion) * in_channels
        self.expand = _pointwise(in_channels, wide) if expansion > 1 else None
        self.norm0 = BatchNorm(wide) if expansion > 1 else None
        self.depthwise = DepthwiseConv2D(
            wide, kernel_size, strides=strides, padding="same", use_bias=False, depthwise_initializer=_FAN_OUT
        )
        self.norm1 = BatchNorm(wide)
        self.project, self.norm2 = _pointwise(wide, filters), BatchNorm(filters)
        self.dropout = StochasticDepth(dropout) if (in_channels, strides) == (filters, 1) else None

    def last_dimension(self, size):
        """`filters`."""
        return self.project.last_dimension(None)

    def __call__(self, x, training=False):
        """project(depthwise(expand(x))), and x if it can be added."""
        y = x if self.expand is None else relu6(self.norm0(self.expand(x), training=training))
        y = relu6(self.norm1(self.depthwise(y), training=training))
        y = self.norm2(self.project(y), training=training)
        return y if self.dropout is None else x + self.dropout(y, training=training)


@register
class EfficientNetLite(Layer):
    """A stem, stages of inverted residuals, a wide pointwise convolution, global average pooling.

        stem       conv 3×3, stem, stride 2 ─ norm ─ relu6
        stage2 …   for each of `stages`, (blocks, kernel, strides, expansion, filters): the first block has the strides
        top        conv 1×1, features ─ norm ─ relu6 ─ pooling

    `[batch, height, width, in_channels]` → `[batch, features]`; any height and width. dropout: the rate of the last
    block's `StochasticDepth`; it rises from 0 in equal steps.
    Source: Tan and Le 2019, "EfficientNet", table 1; "Lite", of 2020, leaves out squeeze-and-excitation, and has relu6.

    >>> import tensorflow as tf
    >>> net = EfficientNetLite(3, stages=((1, 3, 1, 1, 16), (2, 5, 2, 6, 24)), features=64)
    >>> net(tf.zeros([8, 32, 32, 3])).shape
    TensorShape([8, 64])
    """

    def __init__(self, in_channels=3, *, stem=32, stages=LITE0, features=1280, dropout=0.2):
        super().__init__()
        self.in_channels = checks.positive(self, "in_channels", in_channels)
        self.features = checks.positive(self, "features", features)
        options = {"padding": "same", "use_bias": False, "kernel_initializer": _FAN_OUT}
        self.stem = ConvNorm(Conv2D(in_channels, stem, 3, strides=2, **options))
        width, made, total = stem, 0, sum(stage[0] for stage in stages)
        self._stages = tuple(f"stage{2 + number}" for number in range(len(stages)))
        for name, (count, kernel_size, strides, expansion, filters) in zip(self._stages, stages, strict=True):
            blocks = []
            for number in range(count):
                stride = strides if number == 0 else 1
                rate = checks.fraction(self, "dropout", dropout) * made / total
                blocks.append(InvertedResidual(width, filters, kernel_size, stride, expansion=expansion, dropout=rate))
                width, made = filters, made + 1
            setattr(self, name, Stage(blocks))
        self.top = ConvNorm(_pointwise(width, features))
        self.pooling = GlobalAveragePool2D()

    def last_dimension(self, size):
        """`features`, of a picture with `in_channels`."""
        self.expect(size, self.in_channels)
        return self.features

    def __call__(self, x, training=False):
        """The features of pictures."""
        x = self.stem(self.take(x, rank=4, size=self.in_channels), training=training)
        for name in self._stages:
            x = getattr(self, name)(x, training=training)
        return self.pooling(self.top(x, training=training))


class ConvNorm(Layer):
    """relu6(norm(conv(x)))."""

    def __init__(self, conv):
        super().__init__()
        self.conv, self.norm = conv, BatchNorm(conv.filters)

    def __call__(self, x, training=False):
        """relu6(norm(conv(x)))."""
        return relu6(self.norm(self.conv(x), training=training))


def _pointwise(in_channels, filters):
    return Conv2D(in_channels, filters, 1, use_bias=False, kernel_initializer=_FAN_OUT)


def efficientnet_lite0(input_shape=(224, 224, 3), classes=1000, *, dropout=0.2, pixels=None):
    """The smallest EfficientNet-Lite: 4.65 million weights, 75.1 % of ImageNet with 224×224 pixels.

    `[batch, *input_shape]` → logits `[batch, classes]`; any height and width, of input_shape the channels count.
    dropout: before the head, and of the last block's `StochasticDepth`. pixels: `lite_pixels()` for pictures of values
    from 0 to 1 and the published weights. Variables go by `backbone.stage2.block0.depthwise.kernel`.
    Source: see `EfficientNetLite`.
    """
    backbone = EfficientNetLite(input_shape[-1], dropout=dropout)
    return Classifier(backbone, Dense(backbone.features, classes), dropout=dropout, pixels=pixels)
