"""What a frozen part of a model makes of every example, computed once."""

import weakref
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

    precision: the dtype in which features are computed; what is kept is at least float32. As in a trainer, the model is
    traced once as long as its variables are the same objects.
    """
    dataset = pipeline.evaluation()
    # Of the short last batch, too.
    spec = dataset.element_spec["inputs"]
    computed = _compiled(model, precisions.get(precision).compute).get_concrete_function(spec)
    with told_by(pipeline):
        batches = [
            {**{name: value.numpy() for name, value in batch.items()}, "inputs": computed(batch["inputs"]).numpy()}
            for batch in dataset
        ]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


# Traced once for a training set and a test set. Weakly, as they are of a model that may go.
_functions: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _compiled(model: Any, compute_dtype: tf.DType) -> Any:
    """`model.features` in inference as a function of inputs: the one made before if its variables are the same."""
    facts = compute_dtype, [variable.ref() for variable in getattr(model, "variables", ())]
    if _functions.get(model, (None,))[0] != facts:
        # A dictionary's value must not keep its key alive.
        held = weakref.ref(model)

        @tf.function(autograph=False)
        def computed(inputs):
            found = held().features(precisions.cast_floating(inputs, compute_dtype), training=False)
            return tf.cast(found, compute_dtype if compute_dtype.size >= 4 else tf.float32)

        _functions[model] = facts, computed
    return _functions[model][1]
