"""Multiply-adds of one operation, from the shapes of what it reads and writes."""

import math
from collections.abc import Callable, Mapping
from typing import Any

_Shape = list | None


def _product(sizes: Any) -> int | None:
    return None if sizes is None or None in sizes else math.prod(sizes)


def _times(*factors: int | None) -> int | None:
    return None if None in factors else math.prod(factors)


def _matmul(node: Any, inputs: list[_Shape], output: _Shape) -> int | None:
    """[…, m, k]·[…, k, n]: each of the … m·n numbers takes k."""
    transposed = any(node.attr[name].b for name in ("transpose_a", "adj_x") if name in node.attr)
    inner = None if inputs[0] is None else inputs[0][-2 if transposed else -1]
    return _times(_product(output), inner)


def _convolution(node: Any, inputs: list[_Shape], output: _Shape) -> int | None:
    """A filter [height, width, in / groups, out]: each number takes height · width · in / groups."""
    window = None if inputs[1] is None else inputs[1][:-1]
    return _times(_product(output), _product(window))


def _depthwise(node: Any, inputs: list[_Shape], output: _Shape) -> int | None:
    """A filter [height, width, in, multiplier]: each number takes height · width."""
    window = None if inputs[1] is None else inputs[1][:-2]
    return _times(_product(output), _product(window))


def _transposed(node: Any, inputs: list[_Shape], output: _Shape) -> int | None:
    """A filter [height, width, out, in]: each number that is read takes part in height · width · out."""
    window = None if inputs[1] is None else inputs[1][:-1]
    return _times(_product(inputs[2]), _product(window))


def _depthwise_transposed(node: Any, inputs: list[_Shape], output: _Shape) -> int | None:
    window = None if inputs[1] is None else inputs[1][:-2]
    return _times(_product(inputs[2]), _product(window))


def _einsum(node: Any, inputs: list[_Shape], output: _Shape) -> int | None:
    """The product of the sizes of all letters, each once; of one operand alone, nothing is multiplied."""
    if len(inputs) != 2 or None in inputs or output is None:
        return 0 if len(inputs) == 1 else None
    terms, _, result = node.attr["equation"].s.decode().replace(" ", "").partition("->")
    sizes: dict[str, int | None] = {}
    for labels, shape in zip([*terms.split(","), result], [*inputs, output], strict=True):
        before, dots, after = labels.partition("...")
        named = len(before) + len(after)
        sizes |= zip(before, shape, strict=False)
        sizes |= zip(reversed(after), reversed(shape), strict=False)
        # The dimensions of an ellipsis are told by their places from the right; a 1 is broadcast.
        for place, size in enumerate(reversed(shape[len(before) : len(shape) - len(after)] if dots else [])):
            sizes[f"...{place}"] = size if sizes.get(f"...{place}") in (None, 1) else sizes[f"...{place}"]
        if len(shape) < named:
            return None
    return _product(list(sizes.values()))


COSTS: Mapping[str, Callable[[Any, list[_Shape], _Shape], int | None]] = {
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), _matmul),
    **dict.fromkeys(("Conv", "Conv2D", "Conv3D"), _convolution),
    "DepthwiseConv2dNative": _depthwise,
    **dict.fromkeys(("Conv2DBackpropInput", "Conv3DBackpropInputV2"), _transposed),
    "DepthwiseConv2dNativeBackpropInput": _depthwise_transposed,
    "Einsum": _einsum,
}
# They multiply matrices, too, but of how many numbers is not known from shapes, or depends on the algorithm.
UNKNOWN_COSTS = frozenset(
    ["SparseMatMul", "SparseTensorDenseMatMul", "SparseMatrixMatMul", "SparseMatrixSparseMatMul", "XlaDot", "XlaDotV2"]
    + ["XlaEinsum", "XlaConv", "XlaConvV2", "FFT", "FFT2D", "FFT3D", "RFFT", "IRFFT", "IFFT", "RFFT2D", "IRFFT2D"]
    + ["Cholesky", "MatrixInverse", "MatrixSolve", "MatrixTriangularSolve", "Qr", "Svd", "SelfAdjointEigV2", "Eig"]
    + ["BlockLSTM", "BlockLSTMV2", "LSTMBlockCell", "GRUBlockCell", "CudnnRNN", "CudnnRNNV2", "CudnnRNNV3"]
    + ["Dilation2D", "MapDefun", "EagerPyFunc", "PyFunc", "PyFuncStateless"]
)
