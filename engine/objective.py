"""What is minimised: per-example losses and weights, never a mean.

The engine alone reduces, over all slices of the batch before it divides:

    total = Σ wᵢ·ℓᵢ / Σ wᵢ + penalty

so that the gradient cannot depend on how the batch was cut.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from engine import losses as losses_module


class Terms(NamedTuple):
    """What an objective says about a slice of a batch.

    losses:  [batch] or [batch, time], one loss per example or token.
    weights: the same shape; 0 leaves an example out.
    outputs, labels: what the metrics see.
    penalty: regularisation or auxiliary terms, counted once per update: a scalar, or named scalars in a dict.
    """

    losses: tf.Tensor
    weights: tf.Tensor
    outputs: Any
    labels: Any
    penalty: Any = 0.0


def call_model(model: Callable, inputs: Any, training: Any) -> Any:
    """`model(inputs, training=training)`, or `model(inputs)` for a model that has no such argument."""
    parameters = inspect.signature(model).parameters.values()
    takes = any(p.name == "training" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    return model(inputs, training=training) if takes else model(inputs)


class Supervised:
    """The usual objective: a per-example loss of `labels` and the model's outputs.

    loss: a function `(labels, outputs) -> [batch] or [batch, time]`, or the name of one in `engine.losses`.

    The batch is a dict with `inputs`, `labels` and, if examples do not count alike, `weights` ([batch], or the
    shape of the losses).
    """

    def __init__(self, loss: str | Callable):
        self.loss = losses_module.get(loss)

    def __call__(self, model: tf.Module, batch: Mapping[str, Any], training: Any) -> Terms:
        """The terms of one slice."""
        outputs = call_model(model, batch["inputs"], training)
        losses = self.loss(batch["labels"], outputs)
        if losses.shape.rank == 0:
            raise ValueError("a loss must return one value per example ([batch] or [batch, time]), not their mean")
        if batch.get("weights") is None:
            weights = tf.ones_like(losses)
        else:
            weights = tf.cast(batch["weights"], losses.dtype)
            for _ in range(losses.shape.rank - weights.shape.rank):
                weights = weights[..., tf.newaxis]
            weights = tf.broadcast_to(weights, tf.shape(losses))
        return Terms(losses, weights, outputs, batch["labels"])
