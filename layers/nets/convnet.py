"""The convolutional network of the tutorials."""

from functools import partial

from layers import activations
from layers.convolution import Conv2D
from layers.dense import Dense
from layers.dropout import Dropout
from layers.normalization import BatchNorm
from layers.pooling import MaxPool2D
from layers.reshaping import Flatten
from layers.sequential import chain


def convnet(input_shape, classes, filters=(32, 64), units=(128,), kernel_size=3, dropout=0.0, batch_norm=False):
    """A block for each of `filters`, then dense layers and logits.

        block: convolution → (batch norm) → relu → 2×2 max-pooling
        head:  flatten → dense, relu for each of `units` → (dropout) → dense `classes`

    `[batch, height, width, channels]` → `[batch, classes]`, without a softmax: losses take logits.
    Source: LeCun et al. 1998, figure 2, with today's relu and max-pooling.

    >>> convnet((28, 28, 1), 10, filters=(32,))
    Sequential([Conv2D(1, filters=32, kernel_size=3, activation='relu'), MaxPool2D(), Flatten(), \
Dense(5408, units=128, activation='relu'), Dense(128, units=10)])
    """
    blocks = []
    for width in filters:
        if batch_norm:
            # Batch norm's beta is the convolution's bias.
            blocks += [partial(Conv2D, filters=width, kernel_size=kernel_size, use_bias=False)]
            blocks += [BatchNorm, activations.relu]
        else:
            blocks += [partial(Conv2D, filters=width, kernel_size=kernel_size, activation="relu")]
        blocks += [MaxPool2D()]
    head = [Flatten(), *(partial(Dense, units=width, activation="relu") for width in units)]
    head += [Dropout(dropout)] if dropout else []
    return chain(input_shape, *blocks, *head, partial(Dense, units=classes))
