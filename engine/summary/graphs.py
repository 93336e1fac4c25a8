"""A traced graph, read node by node: shapes, constants, how often loops turn, what products and convolutions cost."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from engine.summary.arithmetic import COSTS, UNKNOWN_COSTS
from engine.summary.calls import module_of

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_LOOPS = ("While", "StatelessWhile")
_BRANCHES = ("If", "StatelessIf", "Case", "StatelessCase")
_FIRST = ("y", "output", "outputs", "values")


@dataclasses.dataclass
class Counted:
    """Multiply-adds by the module's number, and notes: (number, what was not counted)."""

    by_module: dict[int, int] = dataclasses.field(default_factory=dict)
    notes: list[tuple[int | None, str]] = dataclasses.field(default_factory=list)

    def add(self, other: "Counted", times: int = 1) -> None:
        """Adds what a part of the graph costs that runs `times` times."""
        for number, cost in other.by_module.items():
            self.by_module[number] = self.by_module.get(number, 0) + times * cost
        self.notes += other.notes


class Graph:
    """A `GraphDef` with shapes, of a traced function."""

    def __init__(self, definition: Any):
        self.functions = {function.signature.name: function for function in definition.library.function}
        self.main = Body({node.name: node for node in definition.node}, {}, 0)

    def function(self, attribute: Any, owner: int, arguments: list) -> tuple["Body", list[str]]:
        """The body of a function that a node calls with these (shape, value), and what it returns."""
        function = self.functions[attribute.func.name]
        names = [argument.name for argument in function.signature.input_arg]
        shapes = [function.arg_attr[place].attr["_output_shapes"].list.shape for place in range(len(names))]
        given = [
            # A loop's variable may have had another shape at first.
            (_sizes(declared[0]) if declared else known, value)
            for (known, value), declared in zip(arguments, shapes, strict=True)
        ]
        body = Body({node.name: node for node in function.node_def}, dict(zip(names, given, strict=True)), owner)
        return body, [function.ret[output.name] for output in function.signature.output_arg]

    def multiply_adds(self) -> Counted:
        """What the whole graph costs."""
        return self._cost(self.main)

    def _cost(self, body: "Body") -> Counted:
        counted = Counted()
        for node in body.nodes.values():
            owner = body.owner(node)
            # A function's own names need not say whose it is.
            known = [(body.shape(name), body.value(name)) for name in data_inputs(node)]
            if node.op in COSTS:
                cost = COSTS[node.op](node, [shape for shape, _ in known], body.shape(node.name))
                if cost is None:
                    counted.notes.append((owner, f"{node.op} of a shape that is not known is not counted"))
                else:
                    counted.add(Counted({owner: cost}))
            elif node.op in UNKNOWN_COSTS:
                counted.notes.append((owner, f"{node.op} is not counted"))
            elif node.op in CALLS:
                counted.add(self._cost(self.function(node.attr["f"], owner, known)[0]))
            elif node.op in _LOOPS:
                self._add_loop(counted, node, owner, known)
            elif node.op in _BRANCHES:
                attributes = [node.attr[name] for name in ("then_branch", "else_branch") if name in node.attr]
                listed = [_holding(function) for function in node.attr["branches"].list.func]
                sides = [self._cost(self.function(each, owner, known[1:])[0]) for each in attributes or listed]
                counted.add(max(sides, key=lambda side: sum(side.by_module.values())))
        return counted

    def _add_loop(self, counted: Counted, node: Any, owner: int, known: list) -> None:
        blank = [(shape, None) for shape, _ in known]
        body, results = self.function(node.attr["body"], owner, blank)
        # Only what no turn changes is what it was at first.
        kept = [body.through(result) == name for name, result in zip(body.arguments, results, strict=True)]
        first = [value if same else nothing for value, nothing, same in zip(known, blank, kept, strict=True)]
        inside = self._cost(self.function(node.attr["body"], owner, first)[0])
        trips, exact = self._trips(node, owner, known)
        if sum(inside.by_module.values()):
            if trips is None:
                inside.notes.append((owner, "a loop whose number of turns is not known is counted once"))
            elif not exact:
                inside.notes.append((owner, f"a loop that may end early is counted {trips} times"))
        counted.add(inside, 1 if trips is None else trips)

    def _trips(self, node: Any, owner: int, known: list) -> tuple[int | None, bool]:
        """How often a loop turns at most, None if that is not known, and whether that is all that ends it."""
        blank = [(shape, None) for shape, _ in known]
        condition, (asked,) = self.function(node.attr["cond"], owner, blank)
        body, results = self.function(node.attr["body"], owner, blank)
        arguments = {name: place for place, name in enumerate(condition.arguments)}
        inside = list(body.arguments)

        def bound(reference):
            """The value of something that no turn changes."""
            place = arguments.get(condition.through(reference))
            if place is None:
                return condition.value(reference)
            return known[place][1] if body.through(results[place]) == inside[place] else None

        def step(place):
            """What a turn adds to a variable, or None."""
            found = body.nodes.get(_node(body.through(results[place])))
            if found is None or found.op not in ("Add", "AddV2", "Sub"):
                return None
            first, second = (body.through(name) for name in data_inputs(found))
            if first != inside[place] and found.op != "Sub":
                first, second = second, first
            value = body.value(second) if first == inside[place] else None
            return value if value is None or found.op != "Sub" else -value

        ends, exact = [], True
        for comparison in condition.conjuncts(asked):
            trips = None
            if comparison is not None:
                (left, right), kind = data_inputs(comparison), comparison.op
                place = arguments.get(condition.through(left))
                by, limit = (None, None) if place is None else (step(place), bound(right))
                if by is not None and limit is not None and known[place][1] is not None:
                    trips = _turns(kind, known[place][1].item(), limit.item(), by.item())
            exact = exact and trips is not None
            ends += [trips] if trips is not None else []
        return (min(ends) if ends else None), exact


class Body:
    """The nodes of a graph or of a function, whose `arguments` are (shape, value) by name, None where not known.

    References are those of the nodes: "name", "name:0", and inside of functions "name:output:0".
    """

    def __init__(self, nodes: Mapping[str, Any], arguments: Mapping[str, tuple], within: int):
        self.nodes, self.arguments, self.within = nodes, arguments, within
        # A value may be asked for many times.
        self.value = functools.cache(self._value)

    def owner(self, node: Any) -> int:
        """The number of the module that made a node."""
        number = module_of(node.name)
        return self.within if number is None else number

    def shape(self, reference: str) -> list | None:
        """A tensor's sizes, None where not known."""
        name, *output = reference.split(":")
        if name in self.arguments:
            return self.arguments[name][0]
        shapes = [_sizes(shape) for shape in self.nodes[name].attr["_output_shapes"].list.shape]
        place = int(output[-1]) if output else 0
        if place < len(shapes) and (place or len(shapes) == 1 or len(output) < 2 or output[0] in _FIRST):
            return shapes[place]
        # Of several outputs with names of their own.
        return shapes[0] if shapes and all(shape == shapes[0] for shape in shapes) else None

    def through(self, reference: str) -> str:
        """The tensor that was handed on by identities."""
        while (node := self.nodes.get(_node(reference))) is not None and node.op == "Identity":
            reference = node.input[0]
        return reference

    def conjuncts(self, reference: str) -> Iterator[Any]:
        """The comparisons that must all be true; None for one that is something else."""
        node = self.nodes.get(_node(self.through(reference)))
        if node is not None and node.op == "LogicalAnd":
            for part in data_inputs(node):
                yield from self.conjuncts(part)
        else:
            yield node if node is not None and node.op in _COMPARED else None

    def _value(self, reference: str) -> np.ndarray | None:
        name = _node(reference)
        if name in self.arguments:
            return self.arguments[name][1]
        node = self.nodes[name]
        if node.op == "Const":
            return tf.make_ndarray(node.attr["value"].tensor)
        if node.op == "Shape":
            sizes = self.shape(node.input[0])
            return None if sizes is None or None in sizes else np.array(sizes)
        if node.op not in _FOLDED:
            return None
        values = [self.value(name) for name in data_inputs(node)]
        return None if any(value is None for value in values) else _FOLDED[node.op](node, *values)


def data_inputs(node: Any) -> list[str]:
    """What a node computes from."""
    return [name for name in node.input if not name.startswith("^")]


def _node(reference: str) -> str:
    return reference.split(":")[0]


def _holding(function: Any) -> Any:
    """An attribute that holds a function of a list."""
    attribute = tf.compat.v1.AttrValue()
    attribute.func.CopyFrom(function)
    return attribute


def _sizes(shape: Any) -> list | None:
    return None if shape.unknown_rank else [size.size if size.size >= 0 else None for size in shape.dim]


def _strided(node: Any, value: np.ndarray, begin: np.ndarray, end: np.ndarray, strides: np.ndarray) -> Any:
    attributes = {name: node.attr[name].i for name in node.attr if name.endswith("_mask")}
    return tf.raw_ops.StridedSlice(input=value, begin=begin, end=end, strides=strides, **attributes).numpy()


_FOLDED: Mapping[str, Callable] = {
    "Identity": lambda _, value: value,
    "Cast": lambda node, value: value.astype(tf.as_dtype(node.attr["DstT"].type).as_numpy_dtype),
    "Pack": lambda node, *values: np.stack(values, node.attr["axis"].i),
    "StridedSlice": _strided,
    **dict.fromkeys(("Add", "AddV2"), lambda _, a, b: a + b),
    "Sub": lambda _, a, b: a - b,
    "Mul": lambda _, a, b: a * b,
    "FloorDiv": lambda _, a, b: a // b,
    "Minimum": lambda _, a, b: np.minimum(a, b),
    "Maximum": lambda _, a, b: np.maximum(a, b),
}
_COMPARED = ("Less", "LessEqual", "Greater", "GreaterEqual")


def _turns(kind: str, start: float, limit: float, by: float) -> int | None:
    """For how many values start, start + by, … the comparison with `limit` is true; None if it never ends."""
    if kind.startswith("Greater"):
        start, limit, by = -start, -limit, -by
    if start > limit or (start == limit and not kind.endswith("Equal")):
        return 0
    if by <= 0:
        return None
    turns = (limit - start) / by
    return math.floor(turns) + 1 if kind.endswith("Equal") else math.ceil(turns)
