"""The gradient cases of convolutions, pooling, and of what arranges, pads, crops and enlarges."""

from functools import partial

from points import distinct, layer, normal

import layers


def case(name, label, arguments, shape, *, order=1, values=normal, **keywords):
    """A case for `layers.name(*arguments, **keywords)` on an input of `shape`."""
    build = partial(getattr(layers, name), *arguments, **keywords)
    layer(f"layers.{name}", label, build, shape, order=order, values=values)


case("Conv1D", "causal", (2, 3, 2), [2, 6, 2], padding="causal", dilation_rate=2, order=2)
case("Conv1D", "same-strides", (2, 3, 3), [2, 5, 2], padding="same", strides=2, use_bias=False)
case("Conv1D", "groups", (4, 2, 2), [2, 4, 4], groups=2, activation="tanh")
layer("layers.Conv1D", "float32", partial(layers.Conv1D, 2, 3, 2, dilation_rate=2), [2, 5, 2], dtype="float32")

case("Conv2D", "one-wide", (1, 2, (2, 3)), [2, 5, 4, 1], strides=(1, 2), order=2)
every = {"strides": 2, "dilation_rate": 2, "padding": "same", "groups": 2}
case("Conv2D", "all-at-once", (2, 4, 2), [1, 5, 4, 2], **every, order=2)

case("Conv3D", "valid", (2, 2, (2, 1, 2)), [2, 3, 2, 3, 2], activation="tanh", order=2)
case("Conv3D", "strides-beyond-the-kernel", (1, 2, 2), [1, 3, 3, 4, 1], strides=(1, 2, 3), padding="same")
case("Conv3D", "dilation-groups", (2, 2, 2), [1, 3, 4, 2, 2], dilation_rate=(1, 2, 1), groups=2, use_bias=False)

case("Conv1DTranspose", "same-strides", (2, 3, 3), [2, 3, 2], strides=2, padding="same", activation="tanh")
case("Conv1DTranspose", "dilation", (2, 2, 2), [2, 3, 2], dilation_rate=3, use_bias=False, order=2)
case("Conv1DTranspose", "output-padding", (2, 1, 2), [2, 3, 2], strides=3, output_padding=1)
case("Conv2DTranspose", "valid", (2, 3, (3, 2)), [2, 3, 2, 2], activation="tanh")
case("Conv2DTranspose", "same", (2, 2, 3), [2, 3, 2, 2], strides=(1, 2), padding="same", output_padding=0, order=2)
case("Conv2DTranspose", "dilation", (2, 2, 2), [1, 3, 3, 2], strides=2, dilation_rate=(1, 2), use_bias=False, order=2)
case("Conv2DTranspose", "one-wide", (2, 1, (2, 3)), [2, 3, 1, 2], strides=(1, 2), order=2)

for rank, shape in (("1D", [2, 5, 2]), ("2D", [2, 5, 4, 2])):
    kernel = (3, 2)[: len(shape) - 2]
    for kind, sizes in (("DepthwiseConv", (2, kernel)), ("SeparableConv", (2, 3, kernel))):
        case(f"{kind}{rank}", "plain", sizes, shape, depth_multiplier=2, activation="tanh", order=2)
        case(f"{kind}{rank}", "same-strides", sizes, shape, strides=2, padding="same", use_bias=False)
        case(f"{kind}{rank}", "dilation", sizes, shape, dilation_rate=2)
    case(f"GlobalMaxPool{rank}", "plain", (), shape, values=distinct, order=2)
    case(f"GlobalMaxPool{rank}", "keepdims", (), shape, values=distinct, keepdims=True)
    case(f"GlobalAveragePool{rank}", "keepdims", (), shape, keepdims=True, order=2)
    case(f"ZeroPadding{rank}", "plain", (), shape, padding=2, order=2)
    case(f"Cropping{rank}", "plain", (), shape, cropping=1, order=2)
case("DepthwiseConv2D", "strides-that-differ", (2, (2, 3)), [1, 4, 5, 2], strides=(1, 2), order=2)

for pool, values in (("MaxPool1D", distinct), ("AveragePool1D", normal)):
    case(pool, "overlapping", (3,), [2, 6, 2], strides=1, values=values, order=2)
    case(pool, "same", (), [2, 5, 2], pool_size=2, padding="same", values=values)

case("UpSampling1D", "plain", (), [2, 3, 2], size=3, order=2)
case("UpSampling2D", "nearest", (), [2, 3, 2, 2], size=(3, 2), order=2)
case("UpSampling2D", "bilinear", (), [2, 3, 2, 2], size=(3, 2), interpolation="bilinear", order=2)
case("Reshape", "plain", (), [2, 3, 4], target_shape=(2, -1), order=2)
case("Permute", "plain", (), [2, 3, 2, 2], dims=(3, 1, 2), order=2)
