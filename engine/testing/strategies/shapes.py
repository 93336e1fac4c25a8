"""Strategies for shapes, and for the geometry of convolutions and pooling."""

import dataclasses

from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy


def shapes(min_rank: int = 0, max_rank: int = 4, max_side: int = 4, *, min_side: int = 1) -> st.SearchStrategy:
    """Tuples of `min_rank` to `max_rank` sides, each from `min_side` to `max_side`; `min_side=0` for empty tensors."""
    return st.lists(st.integers(min_side, max_side), min_size=min_rank, max_size=max_rank).map(tuple)


def broadcastable_shapes(n: int, max_rank: int = 4, max_side: int = 4) -> st.SearchStrategy:
    """Tuples of `n` shapes that broadcast with each other; at most one is drawn to be stretched in each dimension."""
    drawn = hypothesis_numpy.mutually_broadcastable_shapes(num_shapes=n, max_dims=max_rank, max_side=max_side)
    return drawn.map(lambda broadcast: broadcast.input_shapes)


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A convolution whose every window fits, of images with one to three dimensions.

    size, kernel_size, strides and dilations have one number for each; padding is "valid" or "same".
    `padding.upper()` is what `tf.nn.convolution` wants; its inputs are of `input_shape` and `kernel_shape`.
    """

    batch: int
    size: tuple[int, ...]
    in_channels: int
    filters: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str
    dilations: tuple[int, ...]
    groups: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        """`[batch, *size, in_channels]`."""
        return (self.batch, *self.size, self.in_channels)

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """`[*kernel_size, in_channels / groups, filters]`."""
        return (*self.kernel_size, self.in_channels // self.groups, self.filters)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """`[batch, *size', filters]`, size' = ⌈size / s⌉, or ⌈(size − d(k − 1)) / s⌉ without padding."""
        windows = zip(self.kernel_size, self.dilations, strict=True)
        reach = [0 if self.padding == "same" else d * (k - 1) for k, d in windows]
        sides = [-(-(side - r) // s) for side, r, s in zip(self.size, reach, self.strides, strict=True)]
        return (self.batch, *sides, self.filters)


@st.composite
def convolutions(
    draw,
    rank: int = 2,
    *,
    max_batch: int = 3,
    max_kernel: int = 3,
    max_stride: int = 3,
    max_dilation: int = 2,
    max_groups: int = 2,
) -> Convolution:
    """A `Convolution` over `rank` dimensions (1 to 3) that `tf.nn.convolution` takes.

    Strides and dilations are not both above 1, and there are no groups over 3 dimensions: TensorFlow refuses the
    former, and its kernels for processors lack the latter. (They lack the gradients of groups in float64, too.)
    Two geometries that TensorFlow 2.21 computes wrongly on processors are left out: in float32, strides (…, 1, s > 1)
    with outputs one wide, of images of one channel (oneDNN; the image is drawn one stride wider); in float64, over 3
    dimensions, padding "same" with strides beyond the kernel (there, no stride exceeds the kernel's side).
    A maximum of 1 leaves something out. Images are at most 3 wider than the window reaches, but for the above.
    """
    if rank not in (1, 2, 3):
        raise ValueError(f"convolutions have rank 1, 2 or 3, found {rank!r}")

    def sides(most):
        return tuple(draw(st.integers(1, most)) for _ in range(rank))

    groups = draw(st.integers(1, max_groups if rank < 3 else 1))
    kernel_size, strides, dilations = sides(max_kernel), sides(max_stride), sides(max_dilation)
    # Drawn in any case: examples with fewer draws pass for simpler, and shrinking would prefer strides.
    dilations = dilations if max(strides) == 1 else (1,) * rank
    padding = draw(st.sampled_from(["valid", "same"]))
    if rank == 3 and padding == "same":
        strides = tuple(min(pair) for pair in zip(strides, kernel_size, strict=True))
    reach = [1 if padding == "same" else (k - 1) * d + 1 for k, d in zip(kernel_size, dilations, strict=True)]
    drawn = Convolution(
        batch=draw(st.integers(1, max_batch)),
        size=tuple(r + draw(st.integers(0, 3)) for r in reach),
        in_channels=groups * draw(st.integers(1, 2)),
        filters=groups * draw(st.integers(1, 2)),
        kernel_size=kernel_size,
        strides=strides,
        padding=padding,
        dilations=dilations,
        groups=groups,
    )
    if rank > 1 and strides[-2] == 1 < strides[-1] and drawn.output_shape[-2] == 1:
        *others, width = drawn.size
        return dataclasses.replace(drawn, size=(*others, width + strides[-1]))
    return drawn
