"""What windows compute, written out in NumPy tap by tap."""

import numpy as np


def around(side, reach, stride, padding):
    """The zeros before and after."""
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return reach - 1, 0
    total = max((-(-side // stride) - 1) * stride + reach - side, 0)
    return total // 2, total - total // 2


def windows(x, kernel_size, strides, padding, dilation, fill=0.0):
    """For each tap (tap, the values that it meets): `[batch, *sides', channels]`."""
    options = [*zip(x.shape[1:-1], kernel_size, strides, dilation, strict=True)]
    ends = [around(n, (k - 1) * d + 1, s, padding) for n, k, s, d in options]
    padded = np.pad(x, [(0, 0), *ends, (0, 0)], constant_values=fill)
    counts = [(n - (k - 1) * d - 1) // s + 1 for n, (_, k, s, d) in zip(padded.shape[1:-1], options, strict=True)]
    for tap in np.ndindex(*kernel_size):
        starts = [d * p for p, d in zip(tap, dilation, strict=True)]
        parts = [slice(a, a + s * n, s) for a, s, n in zip(starts, strides, counts, strict=True)]
        met = padded[(slice(None), *parts)]
        yield tap, met[(slice(None), *map(slice, counts))]


def correlate(x, kernel, strides, padding, dilation, groups=1):
    """x ⋆ kernel."""
    *size, channels, filters = kernel.shape
    total = 0.0
    for tap, met in windows(x, size, strides, padding, dilation):
        parts = met.reshape(*met.shape[:-1], groups, channels)
        weights = kernel[tap].reshape(channels, groups, filters // groups)
        total = total + np.einsum("...gc,cgf->...gf", parts, weights)
    return total.reshape(*total.shape[:-2], filters)
