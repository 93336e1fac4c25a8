"""The floor of a step: its matrix products and convolutions alone, and the memory traffic that none can avoid.

Products are those that TensorFlow's graph of the step holds, forward and backward; each kind is timed by itself, as
many at a time as fit, at the rate that the same library reaches in this round. Traffic is one reading and one writing
of the trained variables and their slots, and of the batch, at the rate at which as many bytes are copied in this
round (from a cache, if they fit in one). Everything between products (activations, pooling, norms, losses) counts as
free, so no step can be as fast.

With `between`, the other kernels of the graph that move many bytes are timed too, in the same way: what TensorFlow
takes for the step's operations one by one. A program that computes several in one pass may be faster.
"""

import collections
import concurrent.futures
import os
import re
import time

import numpy as np
import tensorflow as tf

from benchmarks.peers import plain

_PRODUCTS = ("MatMul", "BatchMatMulV2", "Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")
_BETWEEN = (
    "AddN", "AddV2", "AvgPool", "BiasAdd", "BiasAddGrad", "Erf", "Erfc", "Exp", "FusedBatchNormGradV3",
    "FusedBatchNormV3", "MaxPool", "MaxPoolGrad", "Mean", "Mul", "Neg", "Pad", "RealDiv", "Relu", "ReluGrad", "Rsqrt",
    "RsqrtGrad", "SelectV2", "Sigmoid", "SigmoidGrad", "Softmax", "Square", "SquaredDifference", "Sub", "Sum", "Tanh",
    "TanhGrad", "Tile", "Transpose",
)  # fmt: skip
# Of inputs and outputs together.
_LEAST_BYTES = 1 << 18
_MOST_BYTES = 32e6
_WARM_BYTES = 4e6
_LEAST_SECONDS = 0.02


class Once(plain.Ops):
    """A scan of one step, under a name that says how many there are."""

    @staticmethod
    def scan(step, state, inputs):
        with tf.name_scope(f"times_{inputs[0].shape[0]}_"):
            first = [x[0] for x in inputs]
            # From the second step on, the state has a gradient.
            some = tuple(before + 0 * first[0][:, : before.shape[1]] for before in state)
            return step(some, first)


class Contender:
    note = ""

    def __init__(self, work, weights, arrays, between=False):
        self.work = work
        step = plain.Contender(work, weights, arrays, ops=Once)
        inputs, labels = (tf.TensorSpec([work.batch, *array.shape[1:]], array.dtype) for array in arrays)
        if work.task == "predict":
            graph = step.predict.get_concrete_function(inputs).graph
        else:
            function = step.step if work.task == "train" else step.evaluate
            graph = function.get_concrete_function(inputs, labels).graph
        self.products = products(graph, between)
        slots = {"adam": 2, "sgd": 1}[work.optimizer]
        trained = sum(v.shape.num_elements() for v in step.p.values() if v.trainable)
        self.bytes = 2 * sum(array[: work.batch].nbytes for array in arrays)
        self.bytes += trained * 4 * (2 * (1 + slots) if work.task == "train" else 1)
        self._timed = {product: timed(product) for product in self.products}

    def epochs(self, count):
        """The seconds of as many epochs at the rates of now."""
        step = sum(times * self._timed[product]() for product, times in self.products.items())
        return count * self.work.batches * (step + copy_seconds(self.bytes))


class Product(collections.namedtuple("Product", "kind inputs attributes")):
    """inputs: (name, shape, dtype, value or None), of AddN several of one name; attributes: (name, value)."""


def products(graph, between=False):
    """{Product: how often} of a graph; in a scan's step, each step its own, but the gradients of weights together.

    between: with the other kernels; of a scan's step they are left out.
    """
    found = collections.Counter()
    for op in _needed(graph):
        if between and op.type in _BETWEEN and "times_" not in op.name and (kernel := _kernel(op)):
            found[kernel] += 1
        if op.type not in _PRODUCTS:
            continue
        times = re.findall(r"times_(\d+)_", op.name)
        times = int(times[0]) if times else 1
        attributes = {a.name: op.get_attr(a.name) for a in op.op_def.attr if a.type != "type"}
        inputs = []
        for argument, tensor in zip(op.op_def.input_arg, op.inputs, strict=True):
            shape, value = tensor.shape.as_list(), None
            if tensor.dtype == tf.int32:
                value = _sizes(tensor)
            elif attributes.get("transpose_a") and times > 1:
                shape[0] *= times
            inputs.append((argument.name, tuple(shape), tensor.dtype, value))
        if attributes.get("transpose_a"):
            times = 1
        key = tuple((name, _frozen(value)) for name, value in attributes.items() if not name.startswith("_"))
        found[Product(op.type, tuple(inputs), key)] += times
    return found


def _kernel(op):
    """A kernel with its inputs, if it moves many bytes and all sizes are known; else None."""
    left, inputs = list(op.inputs), []
    for argument in op.op_def.input_arg:
        several = op.get_attr(argument.number_attr) if argument.number_attr else 1
        for tensor in (left.pop(0) for _ in range(several)):
            # What a norm keeps for a GPU is empty here.
            shape = (0,) if "reserve_space_3" in argument.name else tensor.shape
            shape = tuple(shape) if isinstance(shape, tuple) or shape.is_fully_defined() else None
            value = tf.get_static_value(tensor) if tensor.dtype.is_integer else None
            if shape is None or (tensor.dtype.is_integer and value is None):
                return None
            name = {"reduction_indices": "axis"}.get(argument.name, argument.name)
            inputs.append((name, shape, tensor.dtype, _frozen(value if value is None else value.tolist())))
    moved = sum(np.prod(shape) * dtype.size for _, shape, dtype, _ in inputs)
    if moved + sum(np.prod(t.shape) * t.dtype.size for t in op.outputs if t.shape.is_fully_defined()) < _LEAST_BYTES:
        return None
    named = [a.name for a in op.op_def.attr if a.type != "type" and not a.name.startswith("_")]
    numbers = [argument.number_attr for argument in op.op_def.input_arg]
    return Product(op.type, tuple(inputs), tuple((n, _frozen(op.get_attr(n))) for n in named if n not in numbers))


def _needed(graph):
    """The operations that results and updates wait for. The first convolution's gradient by the pictures is not one."""
    left, seen = [*(tensor.op for tensor in graph.outputs), *graph.control_outputs], set()
    while left:
        op = left.pop()
        if op not in seen:
            seen.add(op)
            left += [*(tensor.op for tensor in op.inputs), *op.control_inputs]
    return seen


def _sizes(tensor):
    """The sizes in a tensor: a constant, or the shape of what the operation before it was given."""
    if tensor.op.type in ("Shape", "ShapeN"):
        return tuple(tensor.op.inputs[tensor.value_index].shape.as_list())
    return tuple(tf.get_static_value(tensor).tolist())


def _frozen(value):
    value = value.decode() if isinstance(value, bytes) else value
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def timed(product):
    """A function that gives the seconds of one such product."""
    size = sum(np.prod(shape) * dtype.size for _, shape, dtype, value in product.inputs if value is None)
    # What a kernel between products reads was written just before.
    copies = int(max(1, min(16, (_MOST_BYTES if product.kind in _PRODUCTS else _WARM_BYTES) // size)))
    attributes = {name: list(value) if isinstance(value, tuple) else value for name, value in product.attributes}
    operation = getattr(tf.raw_ops, product.kind)

    # Inputs of their own, or the optimizer would make all of them one.
    @tf.function(autograph=False)
    def run(inputs):
        return [operation(**own, **attributes) for own in inputs]

    inputs = [_inputs(product) for _ in range(copies)]

    @tf.function(autograph=False)
    def nothing(inputs):
        return [tf.zeros([])]

    def call_seconds(function):
        function(inputs)
        begun, calls = time.perf_counter(), 0
        while calls < 2 or time.perf_counter() - begun < _LEAST_SECONDS:
            tf.nest.flatten(function(inputs))[-1].numpy()
            calls += 1
        return (time.perf_counter() - begun) / calls

    def seconds():
        call = 0.0 if product.kind in _PRODUCTS else call_seconds(nothing)
        return max(0.0, call_seconds(run) - call) / copies

    return seconds


def _inputs(product):
    """{name: tensor, or a list of those of one name}."""
    found = collections.defaultdict(list)
    for name, shape, dtype, value in product.inputs:
        # Above 0, for roots and quotients.
        random = tf.cast(tf.random.uniform(shape, 0.5, 1.5), dtype)
        found[name].append(random if value is None else tf.constant(value, dtype))
    return {name: tensors if product.kind == "AddN" else tensors[0] for name, tensors in found.items()}


def copy_seconds(count):
    """The seconds in which half of `count` bytes are read and half written, all threads together or one, the faster."""
    threads = int(os.environ["BENCHMARK_THREADS"])
    source = np.ones(max(count // 2, threads), np.uint8)
    target, best = np.empty_like(source), []
    cuts = np.linspace(0, len(source), threads + 1).astype(int)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:

        def together():
            list(
                pool.map(
                    lambda k: np.copyto(target[cuts[k] : cuts[k + 1]], source[cuts[k] : cuts[k + 1]]), range(threads)
                )
            )

        for copy in (together, lambda: np.copyto(target, source)):
            copy()
            begun, calls = time.perf_counter(), 0
            while calls < 3 or time.perf_counter() - begun < _LEAST_SECONDS:
                copy()
                calls += 1
            best.append((time.perf_counter() - begun) / calls)
    return min(best)
