"""The gradient cases of losses: see `registry`."""

import functools

import numpy as np
import tensorflow as tf
from points import normal
from registry import add

import engine

classes, signs = np.array([2, 0, 1, 2]), np.array([[0, 1, 1], [1, 0, 0], [0, 0, 1], [1, 1, 0]])
scores, given = normal(4, 3, scale=3.0), normal(4, 3, seed=1)
positive, rates = np.abs(scores) + 0.1, np.abs(given) + 0.2


def loss(name, label, labels, outputs, of_labels=tf.identity, of_outputs=tf.identity, keywords=None, **options):
    """A case for a loss; `of_labels` and `of_outputs` keep both what they must be while they move."""
    function = functools.partial(getattr(engine.losses, name), **(keywords or {}))
    add(
        f"engine.losses.{name}",
        label,
        lambda: (lambda y, z: function(of_labels(y), of_outputs(z)), (labels, outputs)),
        **{"order": 2, **options},
    )


def nearest(distance):
    """How far the nearest kink is, of a function of labels and outputs that is 0 at kinks."""
    return {"distance_to_kink": lambda y, z: tf.reduce_min(tf.abs(distance(y, z)))}


smooth = {"label_smoothing": 0.2}
loss("sparse_categorical_crossentropy", "rank-2", classes, scores)
loss("sparse_categorical_crossentropy", "sequences", classes.reshape(2, 2, 1), normal(2, 2, 3), order=1)
loss("sparse_categorical_crossentropy", "smoothed", classes, scores, keywords=smooth, order=1)
probable = {"from_logits": False}
loss("sparse_categorical_crossentropy", "probabilities", classes, scores,
     of_outputs=tf.nn.softmax, keywords=probable, order=1)  # fmt: skip
loss("categorical_crossentropy", "distributions", given, scores, tf.nn.softmax)
loss("categorical_crossentropy", "any-labels", np.abs(given), scores)
loss("categorical_crossentropy", "logits", signs, scores, keywords=smooth, order=1)
loss("categorical_crossentropy", "probabilities", given, scores, tf.nn.softmax, tf.nn.softmax, probable, order=1)
loss("binary_crossentropy", "distributions", given, scores, tf.sigmoid, keywords=smooth)
loss("binary_crossentropy", "at-zero", np.array([0, 1, 1]), np.array([0.0, 0.0, -3.0]))
loss("binary_crossentropy", "probabilities", given, scores, tf.sigmoid, tf.sigmoid, probable, order=1)

focal = {"gamma": 1.5, "label_smoothing": 0.1}
loss("categorical_focal_crossentropy", "any-labels", np.eye(3)[classes] + 0.5, scores)
loss("categorical_focal_crossentropy", "smoothed", given, scores, tf.nn.softmax,
     keywords=focal | {"alpha": [1, 2, 3]}, order=1)  # fmt: skip
loss("categorical_focal_crossentropy", "probabilities", classes[:, np.newaxis] == range(3), given,
     lambda y: tf.cast(y, tf.int32), tf.nn.softmax, probable, order=1)  # fmt: skip
loss("binary_focal_crossentropy", "at-zero", np.array([0, 1, 1]), np.array([0.0, 0.0, -3.0]))
balanced = {"apply_class_balancing": True, "alpha": 0.3}
loss("binary_focal_crossentropy", "smoothed", given, scores, tf.sigmoid, keywords=focal | balanced, order=1)
loss("binary_focal_crossentropy", "probabilities", given, scores, tf.sigmoid, tf.sigmoid, balanced | probable, order=1)

margins = nearest(lambda y, z: 1 - (2 * tf.cast(y, z.dtype) - 1) * z)
loss("hinge", "rank-2", signs, given, **margins)
loss("squared_hinge", "rank-2", signs, given, **margins)
one_hot = np.eye(3)[classes]


def categorical_margins(y, z):
    other = tf.sort((1 - y) * z, axis=-1)
    return tf.stack([other[:, -1] - other[:, -2], other[:, -1] - tf.reduce_sum(y * z, axis=-1) + 1])


soft = one_hot * 0.9 + 0.03
loss("categorical_hinge", "soft", soft, given, **nearest(categorical_margins))

cube, other_cube = normal(2, 3, 2), normal(2, 3, 2, seed=1)
gap = nearest(lambda y, z: y - z)
loss("mean_squared_error", "rank-3", cube, other_cube)
loss("mean_squared_error", "rank-1", normal(4), normal(4, seed=1), order=1)
loss("mean_absolute_error", "rank-3", cube, other_cube, **gap)
loss("mean_absolute_error", "rank-1", normal(4), normal(4, seed=1), order=1, **gap)
gap_or_zero = nearest(lambda y, z: tf.stack([y - z, y]))
loss("mean_absolute_percentage_error", "rank-2", given, scores, **gap_or_zero)
loss("mean_squared_logarithmic_error", "rank-2", rates, positive)
loss("huber", "rank-3", cube, other_cube, **nearest(lambda y, z: tf.abs(y - z) - 1))
edge = nearest(lambda y, z: tf.abs(y - z) - 0.3)
loss("huber", "delta", given, scores, keywords={"delta": 0.3}, order=1, **edge)
loss("huber", "at-zero", np.zeros(3), np.array([0.0, 0.0, 0.4]), **nearest(lambda y, z: tf.abs(y - z) - 1))
loss("log_cosh", "both-formulas", given, scores)
loss("log_cosh", "at-zero", np.zeros(3), np.array([0.0, 0.0, 0.4]))
loss("cosine_similarity", "rank-3", cube, other_cube)
loss("poisson", "rank-2", np.abs(given), rates)
loss("kl_divergence", "distributions", given, scores, tf.nn.softmax, tf.nn.softmax)

triples = normal(4, 3, 2)
together = np.array([1, 0, 0, 1])


def distances(y, z):
    return tf.norm(z[:, 0] - z[:, 1], axis=-1) - 1.0


loss("contrastive", "pairs", together, triples[:, :2], **nearest(distances))
loss("contrastive", "towers", together[:2], (cube[:, 0], other_cube[:, 0]), of_outputs=tuple,
     keywords={"margin": 9.0}, order=1)  # fmt: skip


def surplus(y, z):
    far = tf.reduce_sum(tf.square(z[:, :1] - z[:, 1:]), axis=-1)
    return far[:, 0] - far[:, 1] + 0.5


loss("triplet", "triples", together, triples, keywords={"margin": 0.5}, **nearest(surplus))

# In float32, which is all that TensorFlow has here, and without a second order.
sentences = {"labels": np.array([[1, 2], [2, 2], [0, 0]]), "frames": np.array([3, 3, 2])}
loss("ctc", "frames", sentences, normal(3, 3, 3), of_labels=lambda y: y, order=1, dtype="float32")
