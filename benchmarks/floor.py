"""The floor of a step: its matrix products and convolutions alone, and the memory traffic that none can avoid.

Products are those that TensorFlow's graph of the step holds, forward and backward; each kind is timed by itself, as
many at a time as fit, at the rate that the same library reaches in this round. Traffic is one reading and one writing
of the trained variables and their slots, and of the batch, at the rate at which as many bytes are copied in this
round (from a cache, if they fit in one). Everything between products (activations, pooling, norms, losses) counts as
free, so no step can be as fast.
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
_MOST_BYTES = 32e6
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

    def __init__(self, work, weights, arrays):
        self.work = work
        step = plain.Contender(work, weights, arrays, ops=Once)
        inputs, labels = (tf.TensorSpec([work.batch, *array.shape[1:]], array.dtype) for array in arrays)
        if work.task == "predict":
            graph = step.predict.get_concrete_function(inputs).graph
        else:
            function = step.step if work.task == "train" else step.evaluate
            graph = function.get_concrete_function(inputs, labels).graph
        self.products = products(graph)
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
    """inputs: (name, shape, dtype, value or None); attributes: (name, value)."""


def products(graph):
    """{Product: how often} of a graph; in a scan's step, each step its own, but the gradients of weights together."""
    found = collections.Counter()
    for op in _needed(graph):
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
    return tuple(value) if isinstance(value, list) else value


def timed(product):
    """A function that gives the seconds of one such product."""
    size = sum(np.prod(shape) * dtype.size for _, shape, dtype, value in product.inputs if value is None)
    copies = int(max(1, min(16, _MOST_BYTES // size)))
    attributes = {name: list(value) if isinstance(value, tuple) else value for name, value in product.attributes}
    operation = getattr(tf.raw_ops, product.kind)

    # Inputs of their own, or the optimizer would make all of them one.
    @tf.function(autograph=False)
    def run(inputs):
        return [operation(**own, **attributes) for own in inputs]

    inputs = [
        {
            name: tf.cast(tf.random.normal(shape), dtype) if value is None else tf.constant(value)
            for name, shape, dtype, value in product.inputs
        }
        for _ in range(copies)
    ]

    def seconds():
        run(inputs)
        begun, calls = time.perf_counter(), 0
        while calls < 2 or time.perf_counter() - begun < _LEAST_SECONDS:
            run(inputs)[-1].numpy()
            calls += 1
        return (time.perf_counter() - begun) / calls / copies

    return seconds


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
