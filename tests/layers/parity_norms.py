"""Parity cases of normalisation, noise and learned activations; see `parity`."""

import keras
from hypothesis import strategies as st

import layers

small = st.integers(1, 4)
inner = st.lists(st.integers(1, 3), max_size=2)
epsilons = st.sampled_from([1e-6, 1e-3])


def last_axes(draw):
    """(features, Keras' axis, the shape of one example)."""
    features = draw(st.lists(small, min_size=1, max_size=2))
    rest = draw(inner)
    axes = list(range(1 + len(rest), 1 + len(rest) + len(features)))
    alone = len(features) == 1 and draw(st.booleans())
    return (features[0], -1, [*rest, *features]) if alone else (tuple(features), axes, [*rest, *features])


def affine(draw, dtype):
    return {
        "epsilon": draw(epsilons), "center": draw(st.booleans()), "scale": draw(st.booleans()), "dtype": dtype,
    }  # fmt: skip


def layer_norm(draw, dtype):
    features, axes, shape = last_axes(draw)
    options = affine(draw, dtype)
    return layers.LayerNorm(features, **options), keras.layers.LayerNormalization(axes, **options), shape


def rms_norm(draw, dtype):
    features, axes, shape = last_axes(draw)
    options = {"epsilon": draw(epsilons), "dtype": dtype}
    return layers.RMSNorm(features, **options), keras.layers.RMSNormalization(axes, **options), shape


def group_norm(draw, dtype):
    groups = draw(small)
    channels, options = groups * draw(st.integers(1, 3)), affine(draw, dtype)
    ours, theirs = layers.GroupNorm(channels, groups, **options), keras.layers.GroupNormalization(groups, **options)
    positions = [draw(small)] if channels == groups else []
    return ours, theirs, [*positions, *draw(inner), channels]


def instance_norm(draw, dtype):
    channels, options = draw(small), affine(draw, dtype)
    ours, theirs = layers.InstanceNorm(channels, **options), keras.layers.GroupNormalization(-1, **options)
    return ours, theirs, [draw(small), *draw(inner), channels]


def prelu(draw, dtype):
    channels = draw(small)
    return layers.PReLU(channels, dtype=dtype), keras.layers.PReLU(dtype=dtype), [channels]


def random(ours, theirs, rank=None):
    """In inference, or without noise: what is drawn has laws in test_dropout.py and test_noise.py."""

    def case(draw, dtype):
        amount = draw(st.sampled_from([0.0, 0.4]))
        shape = draw(st.lists(small, min_size=1, max_size=3)) if rank is None else [draw(small) for _ in range(rank)]
        return ours(amount), theirs(amount, dtype=dtype), shape

    return case


def by_example(rate, dtype):
    return keras.layers.Dropout(rate, noise_shape=(None, 1), dtype=dtype)


CASES = {
    layers.LayerNorm: layer_norm,
    layers.RMSNorm: rms_norm,
    layers.GroupNorm: group_norm,
    layers.InstanceNorm: instance_norm,
    layers.PReLU: prelu,
    layers.SpatialDropout1D: random(layers.SpatialDropout1D, keras.layers.SpatialDropout1D, 2),
    layers.SpatialDropout2D: random(layers.SpatialDropout2D, keras.layers.SpatialDropout2D, 3),
    layers.AlphaDropout: random(layers.AlphaDropout, keras.layers.AlphaDropout),
    layers.StochasticDepth: random(layers.StochasticDepth, by_example, 1),
    layers.GaussianDropout: random(layers.GaussianDropout, keras.layers.GaussianDropout),
    layers.GaussianNoise: random(layers.GaussianNoise, keras.layers.GaussianNoise),
}

ELSEWHERE = {
    layers.WeightNorm: "test_weight_norm.py",
    layers.SpectralNorm: "test_weight_norm.py",
    layers.Whitening: "test_whitening.py",
}
