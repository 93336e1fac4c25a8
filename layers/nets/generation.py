"""Texts drawn from a language model, token by token."""

import numpy as np
import tensorflow as tf


def generate(model, prompt, length, *, temperature=1.0, top_k=None, top_p=1.0, seed=0):
    """`length` more tokens after `prompt`, int32 `[batch, time]`: int32 `[batch, length]`, the same for the same seed.

    `model` is a language model with a cache (`TransformerLM`, `RecurrentLM`): the prompt is read once, and each further
    step computes one token. The options are those of `sample`. Raises ValueError for an empty prompt.
    """
    prompt = tf.convert_to_tensor(prompt, tf.int32)
    if prompt.shape.rank != 2 or 0 in prompt.shape or length < 1:
        raise ValueError(f"generate: expected a prompt [batch, time], length >= 1; found {prompt.shape}, {length}")
    batch, time = prompt.shape
    cache = model.cache(batch, time + length)

    def step(ids, cache, number):
        logits, cache = model(ids, cache=cache)
        uniform = tf.random.stateless_uniform([batch], tf.stack([seed, number]), dtype=tf.float64)
        return sample(logits[:, -1], uniform, temperature=temperature, top_k=top_k, top_p=top_p), cache

    compiled, ids, found = tf.function(step, autograph=False), prompt, []
    for number in range(length):
        drawn, cache = compiled(ids, cache, tf.constant(number))
        ids = drawn[:, tf.newaxis]
        found.append(drawn)
    return tf.stack(found, 1)


def sample(logits, uniform, *, temperature=1.0, top_k=None, top_p=1.0):
    """A class for each row of `logits` `[batch, classes]`, by `uniform` `[batch]` in [0, 1): int32 `[batch]`.

    Drawn from softmax(logits / temperature), at a temperature of 0 the largest; of only the `top_k` largest (of equal
    ones the first); and of those of only the likeliest whose probabilities together reach `top_p`, one at least.
    Raises ValueError for options outside their ranges. Source for `top_p`: Holtzman et al. 2020, section 3.1.

    >>> sample(tf.constant([[1.0, 3.0, 2.0]]), tf.constant([0.9]), top_k=1).numpy().tolist()
    [1]
    """
    classes = logits.shape[-1]
    if not temperature >= 0 or not 0 < top_p <= 1 or not (top_k is None or top_k >= 1):
        found = f"{temperature}, {top_k} and {top_p}"
        raise ValueError(f"sample: expected temperature >= 0, top_k >= 1 and 0 < top_p <= 1, found {found}")
    # Numbers below that are taken for 0 in a division.
    largest = temperature < np.finfo(float).tiny
    kept = 1 if largest else min(top_k or classes, classes)
    values, ids = tf.math.top_k(tf.cast(logits, tf.float64), kept)
    # Of differences to the largest: a temperature near 0 makes them large, and none of them positive.
    probabilities = tf.nn.softmax((values - values[:, :1]) / (1.0 if largest else temperature))
    before = tf.cumsum(probabilities, 1, exclusive=True)
    chosen = tf.where(before < top_p, probabilities, 0)
    reached = tf.cumsum(chosen, 1)
    passed = reached <= tf.cast(uniform, tf.float64)[:, tf.newaxis] * reached[:, -1:]
    place = tf.reduce_sum(tf.cast(passed, tf.int32), 1)
    # Rounding, or a uniform of 1, must not lead beyond the last.
    place = tf.minimum(place, tf.reduce_sum(tf.cast(chosen > 0, tf.int32), 1) - 1)
    return tf.gather(ids, place, batch_dims=1)
