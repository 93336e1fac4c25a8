"""A network in two parts: what makes features of pictures, and what makes classes of features."""

from collections.abc import Mapping

import tensorflow as tf

from layers.base import Layer
from layers.dropout import Dropout
from layers.registry import register
from layers.sequential import _takes_training


@register
class Classifier(Layer):
    """head(dropout(backbone(pixels(x)))): features of pictures, and classes of the features.

    backbone: a layer, `[batch, height, width, channels]` → `[batch, features]`. head: a layer, `[batch, features]` →
    `[batch, classes]`. pixels: a layer without variables, such as `caffe_pixels()`, which brings pictures of values
    from 0 to 1 to what the backbone was trained on; None: they are that already. dropout: its rate, before the head.

    Variables go by `backbone.….kernel` and `head.….kernel`, so a part can be frozen, partitioned and restored by name.
    A backbone that is frozen as a whole runs in inference, dropout and all: what it makes of a picture is then always
    the same. Whoever keeps that (`engine.features`) may call the model with `{"features": [batch, features]}` instead
    of pictures, and gets the same classes.

    >>> from layers import Dense, GlobalAveragePool2D
    >>> model = Classifier(GlobalAveragePool2D(), Dense(3, 10))
    >>> model(tf.zeros([8, 28, 28, 3])).shape, model({"features": tf.zeros([8, 3])}).shape
    (TensorShape([8, 10]), TensorShape([8, 10]))
    """

    def __init__(self, backbone, head, *, dropout=0.0, pixels=None):
        super().__init__()
        head.last_dimension(backbone.last_dimension(None))
        self.pixels, self.backbone, self.dropout, self.head = pixels, backbone, Dropout(dropout), head

    def features(self, x, training=False):
        """What the head sees of pictures, without the dropout: `[batch, features]`."""
        x = x if self.pixels is None else self.pixels(x)
        return _called(self.backbone, x, training if self.backbone.trainable else False)

    def __call__(self, x, training=False):
        """The classes of pictures, or of features: `[batch, classes]`, without a softmax."""
        features = x["features"] if isinstance(x, Mapping) else self.features(x, training)
        return _called(self.head, self.dropout(features, training=training), training)


def _called(layer, x, training):
    return layer(x, training=training) if _takes_training(layer) else layer(x)


@register
class Pixels(Layer):
    """(255·x − mean) / scale of pictures of values from 0 to 1: how a network's trainers fed it.

    `[batch, height, width, channels]` → the same. mean and scale: a number, or one for each channel of x; bgr: the
    channels of the result are in the opposite order.

    >>> Pixels((1.0, 2.0, 3.0), bgr=True)(tf.ones([1, 1, 1, 3])).numpy().ravel().tolist()
    [252.0, 253.0, 254.0]
    """

    def __init__(self, mean=0.0, scale=1.0, *, bgr=False):
        super().__init__()
        self.mean, self.scale, self.bgr = mean, scale, bool(bgr)
        self._channels = len(mean) if isinstance(mean, (tuple, list)) else None

    def last_dimension(self, size):
        """The input's own: as many channels as there are means."""
        if self._channels is not None:
            self.expect(size, self._channels)
        return size

    def __call__(self, x):
        """(255·x − mean) / scale."""
        x = self.take(x, rank=4, size=self._channels)
        y = (255 * x - tf.constant(self.mean, x.dtype)) / tf.constant(self.scale, x.dtype)
        return y[..., ::-1] if self.bgr else y


def caffe_pixels():
    """RGB from 0 to 1 → BGR from 0 to 255 less ImageNet's means, as Keras' `caffe` mode has it: the ResNets' input.

    >>> caffe_pixels()
    Pixels((123.68, 116.779, 103.939), bgr=True)
    """
    return Pixels((123.68, 116.779, 103.939), bgr=True)


def lite_pixels():
    """RGB from 0 to 1 → (255·x − 127) / 128: the EfficientNet-Lites' input.

    >>> lite_pixels()
    Pixels(127.0, 128.0)
    """
    return Pixels(127.0, 128.0)
