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
    weights: the same shape, none below 0; 0 leaves an example out (whose inputs must be finite all the same: 0·∞ in a
        backward pass is no number).
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
    ignore_class: a label that says that there is none (padding of a sequence, an unknown pixel): what has it weighs 0,
        and loss and metrics see class 0 there.
    penalties: functions `model -> scalar` by name, such as those of `engine.regularizers`.

    The batch is a dict with `inputs`, `labels` and, if examples or tokens do not count alike, `weights` ([batch], or
    the shape of the losses): the loss of sequences is the mean over tokens, not over sequences' means.
    """

    def __init__(
        self,
        loss: str | Callable,
        *,
        ignore_class: int | None = None,
        penalties: Mapping[str, Callable] | None = None,
    ):
        self.loss, self.ignore_class = losses_module.get(loss), ignore_class
        self.penalties = dict(penalties or {})
        for name, penalty in self.penalties.items():
            if not callable(penalty):
                raise TypeError(f"Supervised: penalties[{name!r}] must be a function of a model, found {penalty!r}")

    def __call__(self, model: tf.Module, batch: Mapping[str, Any], training: Any) -> Terms:
        """The terms of one slice."""
        if "labels" not in batch:
            raise ValueError(f"Supervised needs labels, and the batch has {', '.join(batch)} only")
        outputs, labels = call_model(model, batch["inputs"], training), batch["labels"]
        if self.ignore_class is not None:
            labels = tf.convert_to_tensor(labels)
            counted = tf.not_equal(labels, tf.constant(self.ignore_class, labels.dtype))
            labels = tf.where(counted, labels, tf.zeros_like(labels))
        losses = self.loss(labels, outputs)
        if losses.shape.rank == 0:
            raise ValueError("a loss must return one value per example ([batch] or [batch, time]), not their mean")
        if batch.get("weights") is None:
            weights = tf.ones_like(losses)
        else:
            weights = tf.cast(batch["weights"], losses.dtype)
            if weights.shape.rank > losses.shape.rank:
                raise ValueError(f"weights of shape {weights.shape} do not fit losses of shape {losses.shape}")
            for _ in range(losses.shape.rank - weights.shape.rank):
                weights = weights[..., tf.newaxis]
            weights = tf.broadcast_to(weights, tf.shape(losses))
        if self.ignore_class is not None:
            weights = tf.where(tf.reshape(counted, tf.shape(losses)), weights, tf.zeros_like(weights))
        penalties = {name: penalty(model) for name, penalty in self.penalties.items()}
        return Terms(losses, weights, outputs, labels, penalties or 0.0)


def as_objective(objective: Callable | str) -> Callable[..., Terms]:
    """A per-example loss becomes a `Supervised`: a name, or a function that needs (labels, outputs) and no more."""
    if isinstance(objective, str):
        return Supervised(objective)
    empty = inspect.Parameter.empty
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(inspect.signature(objective).parameters.values())
    needed = [p for p in parameters if p.kind in positional and p.default is empty]
    return Supervised(objective) if len(needed) == 2 and "training" not in {p.name for p in parameters} else objective


def classes_of(pipeline: Any) -> int | None:
    """How many classes the data of a pipeline has, if it says so."""
    return getattr(getattr(pipeline, "info", None), "classes", None)


def checked_for(objective: Callable[..., Terms], pipeline: Any) -> Callable[..., Terms]:
    """The objective, refusing at trace time a model with fewer outputs than the data has classes."""
    classes, loss = classes_of(pipeline), getattr(objective, "loss", None)
    if not classes or getattr(loss, "func", loss) is not losses_module.sparse_categorical_crossentropy:
        return objective

    def checked(model, batch, training):
        terms = objective(model, batch, training)
        if terms.outputs.shape[-1] < classes:
            raise ValueError(f"the model has {terms.outputs.shape[-1]} outputs, but the data has {classes} classes")
        return terms

    return checked
