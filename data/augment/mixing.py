"""Two examples become one, and their labels with them.

Both augmentations need the whole batch: their function says so (`whole_batch`), and a pipeline that reads only a part
of each batch reads all of it for them. Their labels are float rows over the classes (`soft_labels`).
"""

import tensorflow as tf

from data.augment.checks import number, whole
from data.augment.windows import inside, pasted
from data.transforms import one_hot
from data.values import computed, flat, restored


def mixup(alpha=0.2, classes=None):
    """λ·x + (1 − λ)·x′, labels alike, x′ another example of the batch, λ ~ Beta(alpha, alpha) for each example.

    Images are of any integer or float dtype and keep it, integers rounded. Labels are class numbers, for which
    `classes` must be given, or float rows `[batch, classes]`; they become float32 rows. `alpha` = 0 mixes nothing.

    Each example is once the other of one: the pairs are a random cycle through the batch. Where the batch has
    `weights [batch]`, w becomes λ·w + (1 − λ)·w′ and the label the mean of both under these weights, so that a loss
    that is linear in its label, as the cross-entropy is, is λ·w·ℓ(y) + (1 − λ)·w′·ℓ(y′): what weighs 0 teaches nothing.
    What an example becomes depends on its batch, and so on the batch size.
    Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: beyond empirical risk minimization", ICLR 2018.
    """
    alpha, rows = _checked("mixup", alpha, classes)

    def mix(batch, draws):
        images, partner = batch["inputs"], partners(draws.uniform())
        share = draws.beta(alpha)
        own, other = computed(flat(images)), computed(flat(tf.gather(images, partner)))
        kept = tf.cast(share, own.dtype)[:, None]
        mixed = restored(kept * own + (1 - kept) * other, images.dtype)
        return {**rows(batch, partner, share), "inputs": tf.reshape(mixed, [-1, *images.shape[1:]])}

    return _of_whole_batches(mix)


def cutmix(alpha=1.0, classes=None):
    """A window of each image shows another example of the batch, and the label mixes by the share of its pixels.

    The window has the image's proportions and the share 1 − λ of its area, λ ~ Beta(alpha, alpha); its centre is
    uniform, and what lies outside the image is cut off. Any dtype. Pairs, labels and weights are as with `mixup`;
    `alpha` = 0 mixes nothing. Yun et al., "CutMix", ICCV 2019.
    """
    alpha, rows = _checked("cutmix", alpha, classes)

    def mix(batch, draws):
        images, partner = batch["inputs"], partners(draws.uniform())
        size = tf.cast(images.shape[1:3], tf.float32)
        lengths = tf.sqrt(1 - draws.beta(alpha))[:, None] * size
        windows = tf.concat([draws.uniform(2) * size - lengths / 2, lengths], axis=1)
        # Counted, because the edges of images and pixels cut the window.
        down, across = (tf.math.count_nonzero(part, axis=1) for part in inside(windows, images.shape[1:3]))
        share = 1 - tf.cast(down * across, tf.float32) / (images.shape[1] * images.shape[2])
        return {**rows(batch, partner, share), "inputs": pasted(images, windows, tf.gather(images, partner))}

    return _of_whole_batches(mix)


def partners(uniform):
    """Row numbers `[batch]`, a cycle through all rows in the order of `uniform [batch]`."""
    order = tf.argsort(uniform, stable=True)
    return tf.gather(tf.roll(order, -1, axis=0), tf.argsort(order))


def mixed_labels(labels, weights, partner, share):
    """(labels, weights) of `share` parts of each row and 1 − share parts of its partner's.

    labels: float32 `[batch, classes]`; weights: `[batch]`, floating, or None; share: float32 `[batch]`.
    """
    own, other = share, 1 - share
    if weights is not None:
        own, other = (tf.cast(part, weights.dtype) for part in (own, other))
        own, other = own * weights, other * tf.gather(weights, partner)
        weights = own + other
        # Where nothing weighs, the label is that of the picture.
        own = tf.where(tf.equal(weights, 0), share, tf.cast(own / weights, tf.float32))
        other = 1 - own
    return own[:, None] * labels + other[:, None] * tf.gather(labels, partner), weights


def _checked(name, alpha, classes):
    """`alpha` as a float, and what makes (batch, partner, share) a batch with mixed labels."""
    to_rows = None if classes is None else one_hot(whole(name, "classes", classes, 1))

    def rows(batch, partner, share):
        if "labels" not in batch:
            raise ValueError(f"{name}: there are no labels to mix")
        if to_rows is None and not batch["labels"].dtype.is_floating:
            raise ValueError(f"{name}: class numbers need classes=…, how many there are")
        labels = tf.cast((to_rows(batch) if to_rows else batch)["labels"], tf.float32)
        weights = batch.get("weights")
        if weights is None:
            return {**batch, "labels": mixed_labels(labels, None, partner, share)[0]}
        weights = weights if weights.dtype.is_floating else tf.cast(weights, tf.float32)
        labels, weights = mixed_labels(labels, weights, partner, share)
        return {**batch, "labels": labels, "weights": weights}

    return number(name, "alpha", alpha, 0), rows


def _of_whole_batches(function):
    function.whole_batch = function.soft_labels = True
    return function
