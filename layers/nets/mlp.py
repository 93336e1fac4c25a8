"""The multilayer perceptron."""

from functools import partial

from layers.dense import Dense
from layers.dropout import Dropout
from layers.reshaping import Flatten
from layers.sequential import chain


def mlp(input_shape, classes, units=(128, 64), activation="relu", dropout=0.0):
    """Flatten, then one dense layer for each of `units`, each followed by dropout, then logits.

    `[batch, *input_shape]` → `[batch, classes]`, without a softmax: losses take logits.
    Source: Rumelhart, Hinton and Williams 1986; with these units, the tutorials' 784-128-64-10 for digits.

    >>> mlp((28, 28), 10)
    Sequential([Flatten(), Dense(784, units=128, activation='relu'), \
Dense(128, units=64, activation='relu'), Dense(64, units=10)])
    """
    hidden = []
    for width in units:
        hidden.append(partial(Dense, units=width, activation=activation))
        hidden += [Dropout(dropout)] if dropout else []
    return chain(input_shape, Flatten(), *hidden, partial(Dense, units=classes))
