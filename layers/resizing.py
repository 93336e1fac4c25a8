"""Layers without weights that make sequences and images larger or smaller."""

import tensorflow as tf

from layers import checks, context
from layers.base import Layer
from layers.enforcement import enforce
from layers.reshaping import of_rank


class Resizing(Layer):
    """A layer over as many sides as `rank` says, which leaves the channels as they are."""

    def last_dimension(self, size):
        """The input's own."""
        return size


class ZeroPadding(Resizing):
    """Zeros around `rank` sides; any dtype."""

    def __init__(self, padding=1):
        super().__init__()
        self.padding = checks.margins(self, "padding", padding, self.rank)

    def __call__(self, x):
        """x with the zeros."""
        return tf.pad(of_rank(self, x, self.rank + 2), [(0, 0), *self.padding, (0, 0)])


class ZeroPadding2D(ZeroPadding):
    """Zeros around images: `[batch, height, width, channels]` → `[batch, top + height + bottom, …, channels]`.

    `padding` is one number, (above and below, left and right) or ((top, bottom), (left, right)); so is the field, in
    its last form. Any dtype.

    >>> ZeroPadding2D(((1, 0), (2, 2)))(tf.zeros([8, 28, 28, 3])).shape
    TensorShape([8, 29, 32, 3])
    """

    rank = 2


class ZeroPadding1D(ZeroPadding):
    """Zeros around sequences: `[batch, length, channels]` → `[batch, before + length + after, channels]`.

    `padding` is one number or (before, after), the field ((before, after),). Any dtype.

    >>> ZeroPadding1D((3, 0))(tf.zeros([8, 10, 4])).shape
    TensorShape([8, 13, 4])
    """

    rank = 1


class Cropping(Resizing):
    """`rank` sides without their ends; any dtype."""

    def __call__(self, x):
        """What is left of x; an error if nothing is."""
        x = of_rank(self, x, self.rank + 2)
        for name, size, pair in zip(checks.SIDES[self.rank], x.shape[1:-1], self.cropping, strict=True):
            if size is not None and sum(pair) >= size:
                raise ValueError(f"{self!r}: cropping leaves nothing of the {name} of the input {x.shape.as_list()}")
        ends = (slice(None), *(slice(before, -after or None) for before, after in self.cropping))
        if x.shape[1:-1].is_fully_defined():
            return x[ends]
        taken = [0, *map(sum, self.cropping), 0]
        left = [size - off for size, off in zip(context.sizes(x), taken, strict=True)]
        known = [size if isinstance(size, int) else None for size in left]
        # XLA drops assertions, but makes no empty tensor one of size 1.
        shape, rest = [left[0], *(tf.maximum(size, 1) for size in left[1:-1]), left[-1]], tf.stack(left[1:-1])
        message = "cropping leaves nothing of the input, sizes"
        y = enforce(self, tf.reduce_all(rest > 0), message, rest, lambda: tf.reshape(x[ends], shape))
        return tf.ensure_shape(y, known)


class Cropping2D(Cropping):
    """Images without their margins: `[batch, height, width, channels]` → `[batch, height − top − bottom, …, channels]`.

    `cropping` is one number, (above and below, left and right) or ((top, bottom), (left, right)); so is the field, in
    its last form. Any dtype.

    >>> Cropping2D(((1, 0), (2, 2)))(tf.zeros([8, 28, 28, 3])).shape
    TensorShape([8, 27, 24, 3])
    """

    rank = 2

    def __init__(self, cropping=((0, 0), (0, 0))):
        super().__init__()
        self.cropping = checks.margins(self, "cropping", cropping, self.rank)


class Cropping1D(Cropping):
    """Sequences without their ends: `[batch, length, channels]` → `[batch, length − before − after, channels]`.

    `cropping` is one number or (before, after), the field ((before, after),). Any dtype.

    >>> Cropping1D((3, 0))(tf.zeros([8, 10, 4])).shape
    TensorShape([8, 7, 4])
    """

    rank = 1

    def __init__(self, cropping=(1, 1)):
        super().__init__()
        self.cropping = checks.margins(self, "cropping", cropping, self.rank)


class UpSampling2D(Resizing):
    """Larger images: `[batch, height, width, channels]` → `[batch, size·height, size·width, channels]`.

    `size` is one number or (for the height, for the width). `interpolation="nearest"` repeats each value.
    `"bilinear"`, on each side: the value at a new pixel's middle is linear between the middles of the two old ones
    around it, and that of the last one beyond them; for size s, 0 ≤ r < s, t = (r + ½)/s − ½ and ± the sign of t,

        y[s·i + r] = (1 − |t|)·x[i] + |t|·x[i ± 1].

    >>> UpSampling2D((1, 2), interpolation="bilinear")(tf.constant([[[[0.0], [4.0]]]])).numpy().ravel().tolist()
    [0.0, 1.0, 3.0, 4.0]
    """

    def __init__(self, size=(2, 2), interpolation="nearest"):
        super().__init__()
        self.size = checks.sides(self, "size", size, 2)
        if interpolation not in ("nearest", "bilinear"):
            raise ValueError(f"{self!r}: interpolation must be 'nearest' or 'bilinear', found {interpolation!r}")
        self.interpolation = interpolation

    def __call__(self, x):
        """The larger images."""
        x, (down, right) = self.take(x, rank=4), self.size
        if self.interpolation == "nearest":
            return _repeated(_repeated(x, down, 1), right, 2)
        # TensorFlow's own resizing knows no forward mode and computes float64 in float32.
        batch, height, width, channels = context.sizes(x)
        rows, columns = _weights(height, down, x.dtype), _weights(width, right, x.dtype)
        y = rows @ tf.reshape(x, [batch, height, width * channels])
        return columns @ tf.reshape(y, [batch, height * down, width, channels])


class UpSampling1D(Resizing):
    """Longer sequences, each value `size` times: `[batch, length, channels]` → `[batch, size·length, channels]`.

    >>> UpSampling1D(2)(tf.constant([[[1.0], [3.0]]])).numpy().ravel().tolist()
    [1.0, 1.0, 3.0, 3.0]
    """

    def __init__(self, size=2):
        super().__init__()
        self.size = checks.positive(self, "size", size)

    def __call__(self, x):
        """The longer sequences."""
        return _repeated(self.take(x, rank=3), self.size, 1)


def _weights(n, size, dtype):
    """`[n·size, n]`: how much the middle of each new pixel has of each old one, max(1 − |distance|, 0)."""
    middles = (tf.cast(tf.range(n * size), tf.float64) + 0.5) / size - 0.5
    old = tf.cast(tf.range(n), tf.float64)
    distance = tf.clip_by_value(middles, 0, old[-1])[:, None] - old
    return tf.cast(tf.maximum(1 - tf.abs(distance), 0), dtype)


def _repeated(x, size, axis):
    """Each value `size` times along `axis`."""
    sizes = context.sizes(x)
    sizes[axis] *= size
    return tf.reshape(tf.stack([x] * size, axis + 1), sizes)
