"""Per-example losses `(labels, outputs) -> [batch]` (or `[batch, time]`): no mean over the batch, that is the engine's.

Classification losses take logits. Outputs in half precision are read back in float32 first. Options are keywords, and
`functools.partial(losses.huber, delta=0.5)` is a loss with other ones. Weights, of examples or of tokens, are the
objective's (`engine.Supervised`).
"""

from collections.abc import Callable

from engine.losses.crossentropy import binary_crossentropy, categorical_crossentropy, sparse_categorical_crossentropy
from engine.losses.ctc import ctc
from engine.losses.distributions import kl_divergence, poisson
from engine.losses.embeddings import contrastive, triplet
from engine.losses.focal import binary_focal_crossentropy, categorical_focal_crossentropy
from engine.losses.hinge import categorical_hinge, hinge, squared_hinge
from engine.losses.regression import (
    cosine_similarity,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)

LOSSES: dict[str, Callable] = {
    loss.__name__: loss
    for loss in (
        sparse_categorical_crossentropy,
        categorical_crossentropy,
        binary_crossentropy,
        categorical_focal_crossentropy,
        binary_focal_crossentropy,
        hinge,
        squared_hinge,
        categorical_hinge,
        mean_squared_error,
        mean_absolute_error,
        mean_absolute_percentage_error,
        mean_squared_logarithmic_error,
        huber,
        log_cosh,
        cosine_similarity,
        poisson,
        kl_divergence,
        ctc,
        contrastive,
        triplet,
    )
}

__all__ = ["LOSSES", "get", *LOSSES]


def get(loss: str | Callable) -> Callable:
    """A loss by its name, or the function itself. An unknown name is a ValueError that lists the legal ones."""
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise ValueError(f"unknown loss {loss!r}; there are {', '.join(LOSSES)}")
    return LOSSES[loss]
