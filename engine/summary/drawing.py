"""How data flows between a model's layers, for mermaid and Graphviz."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.summary.arithmetic import COSTS
from engine.summary.calls import Calls
from engine.summary.graphs import CALLS, Body, Graph, data_inputs

INPUT, OUTPUT = "input", "output"


@dataclasses.dataclass(frozen=True)
class Node:
    """Something drawn: a layer, or an operation where flows meet between layers. group: the paths of what it is in."""

    name: str
    lines: tuple[str, ...]
    group: tuple[str, ...]
    meets: bool = False


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Nodes by name, and edges between names; `input` and `output` are nodes, too."""

    nodes: Mapping[str, Node]
    edges: Sequence[tuple[str, str]]

    def mermaid(self) -> str:
        """A mermaid flowchart, from top to bottom."""
        lines, numbers = ["flowchart TD"], {name: f"n{number}" for number, name in enumerate(self.nodes)}
        for depth, kind, value in self._nested():
            indent = "    " * (depth + 1)
            if kind == "open":
                lines.append(f'{indent}subgraph g{len(lines)}["{value}"]')
            elif kind == "close":
                lines.append(f"{indent}end")
            else:
                label = "<br/>".join(line.replace('"', "#quot;") for line in value.lines)
                shape = f'(("{label}"))' if value.meets else f'["{label}"]'
                lines.append(f"{indent}{numbers[value.name]}{shape}")
        lines += [f"    {numbers[start]} --> {numbers[end]}" for start, end in self.edges]
        return "\n".join(lines) + "\n"

    def dot(self) -> str:
        """A Graphviz digraph."""
        lines = ["digraph model {", '    node [shape=box, fontname="sans-serif"];']
        for depth, kind, value in self._nested():
            indent = "    " * (depth + 1)
            if kind == "open":
                lines += [f"{indent}subgraph {_quoted(f'cluster {value}')} {{", f"{indent}    label={_quoted(value)};"]
            elif kind == "close":
                lines.append(f"{indent}}}")
            else:
                shape = ", shape=circle" if value.meets else ""
                # \n is the newline of a label in Graphviz itself.
                label = "\\n".join(_quoted(line)[1:-1] for line in value.lines)
                lines.append(f'{indent}{_quoted(value.name)} [label="{label}"{shape}];')
        lines += [f"    {_quoted(start)} -> {_quoted(end)};" for start, end in self.edges]
        return "\n".join([*lines, "}"]) + "\n"

    def _nested(self) -> Iterator[tuple[int, str, Any]]:
        """(depth, "open" or "close", path) and (depth, "node", node): every group once, with all that is in it."""
        tree: dict = {}
        for node in self.nodes.values():
            place = tree
            for path in node.group:
                place = place.setdefault(path, {})
            place[node] = None

        def walk(place, depth):
            for key, below in place.items():
                if below is None:
                    yield depth, "node", key
                else:
                    yield depth, "open", key
                    yield from walk(below, depth + 1)
                    yield depth, "close", key

        return walk(tree, 0)


class _Flow:
    """Follows tensors through a graph from layer to layer."""

    def __init__(self, graph: Graph, rows: Mapping[int, Any], calls: Calls, paths: Sequence[str]):
        self.graph, self.rows, self.calls, self.paths = graph, rows, calls, paths
        self.nodes = {INPUT: Node(INPUT, (INPUT,), ())}
        self.edges: dict[tuple[str, str], None] = {}

    def through(self, body: Body, arguments: Mapping[str, str], asked: Sequence[str]) -> list[str | None]:
        """From which drawn node the tensors `asked` come, if the arguments come from those; None from none."""
        came: dict[str, str | None] = dict(arguments)
        several: dict[str, list[str | None]] = {}

        def source(reference):
            name, *output = reference.split(":")
            return several[name][int(output[-1]) if output else 0] if name in several else came.get(name)

        for node in _in_order(body):
            inputs = [source(name) for name in data_inputs(node)]
            owner = body.owner(node)
            if node.op in CALLS and any(inputs):
                blank = [(None, None)] * len(inputs)
                inner, results = self.graph.function(node.attr["f"], owner, blank)
                several[node.name] = self.through(inner, dict(zip(inner.arguments, inputs, strict=True)), results)
            elif node.name not in came:
                came[node.name] = self._drawn(node, owner, list(dict.fromkeys(filter(None, inputs))))
        return [source(reference) for reference in asked]

    def _drawn(self, node: Any, owner: int, inputs: list[str]) -> str | None:
        if not inputs:
            return None
        if owner in self.calls.found and owner not in self.calls.callers:
            name, lines = self.paths[owner] or "(model)", self._lines(owner)
            self.nodes.setdefault(name, Node(name, lines, self._group(owner)[:-1]))
        elif len(inputs) == 1 and node.op not in COSTS:
            return inputs[0]
        else:
            name = f"{self.paths[owner]} {node.op} {len(self.nodes)}".strip()
            self.nodes[name] = Node(name, (node.op.removesuffix("V2"),), self._group(owner), meets=True)
        self.edges.update(dict.fromkeys((start, name) for start in inputs if start != name))
        return name

    def _lines(self, number: int) -> tuple[str, ...]:
        row = self.rows[number]
        return (row.path or "(model)", row.layer, str(row.output))

    def _group(self, number: int) -> tuple[str, ...]:
        """The paths of the calling modules around and of this one."""
        path = self.paths[number]
        around = [p for n, p in enumerate(self.paths) if p and path.startswith(f"{p}.") and n in self.calls.callers]
        return (*sorted(around, key=len), path) if path else ()


def drawn(graph: Graph, traced: Any, rows: Mapping[int, Any], calls: Calls, paths: Sequence[str]) -> Drawing:
    """The drawing of a traced function's graph; rows by the numbers of their modules."""
    flow = _Flow(graph, rows, calls, paths)
    own = traced.inputs[: len(traced.inputs) - len(traced.captured_inputs)]
    came = flow.through(graph.main, {tensor.op.name: INPUT for tensor in own}, [t.name for t in traced.outputs])
    nodes = {**flow.nodes, OUTPUT: Node(OUTPUT, (OUTPUT,), ())}
    return Drawing(nodes, [*flow.edges, *dict.fromkeys((source, OUTPUT) for source in came if source)])


def _in_order(body: Body) -> list[Any]:
    """The nodes, each after those that it reads."""
    done: dict[str, Any] = {}
    for first in body.nodes:
        stack = [first]
        while stack:
            name = stack[-1]
            node = body.nodes.get(name)
            before = [] if node is None else [n.split(":")[0] for n in data_inputs(node)]
            missing = [n for n in before if n in body.nodes and n not in done]
            if missing and name not in done:
                stack += missing
            else:
                stack.pop()
                if node is not None:
                    done[name] = node
    return list(done.values())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
