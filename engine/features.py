"""What a frozen part of a model makes of every example, computed once."""

from typing import Any

import numpy as np
import tensorflow as tf

from engine import precision as precisions
from engine.reading import told_by


def features(model: Any, pipeline: Any, *, precision: str = "float32") -> dict[str, np.ndarray]:
    """A pipeline's examples with `model.features(inputs)` in the place of their inputs: arrays `[examples, …]`.

    model: has `features(inputs, training=False)`, such as `layers.nets.Classifier`. Examples come once each, in source
    order, as an evaluation has them; `labels` and `weights` are kept. A model whose features are frozen learns from
    these what it would learn from the examples, at the price of its head.

    precision: the dtype in which features are computed; what is kept is at least float32.
    """
    compute_dtype = precisions.get(precision).compute

    @tf.function(autograph=False)
    def computed(inputs):
        found = model.features(precisions.cast_floating(inputs, compute_dtype), training=False)
        return tf.cast(found, compute_dtype if compute_dtype.size >= 4 else tf.float32)

    with told_by(pipeline):
        batches = [
            {**{name: value.numpy() for name, value in batch.items()}, "inputs": computed(batch["inputs"]).numpy()}
            for batch in pipeline.evaluation()
        ]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
