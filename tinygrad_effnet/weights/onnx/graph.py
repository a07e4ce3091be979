"""An ONNX graph before the package `onnx` is asked for: nodes, constants and names, as plain data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .trace import Value


@dataclass
class Node:
    """One ONNX operator; inputs and output by name, "" for an optional input that is left out."""

    kind: str
    name: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]


@dataclass
class Graph:
    """Nodes in the order in which they are computed, and the constants that they use."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    _names: dict[Value, str] = field(default_factory=dict)
    _taken: Counter[str] = field(default_factory=Counter)
    module: str = ""  # whose step is being written

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; returns the name of its output, which is its own."""
        name = self.unique(kind)
        self.nodes.append(Node(kind, name, list(inputs), name, attributes))
        return name

    def constant(self, array: Any, name: str = "constant") -> str:
        """Add a constant that only the step being written uses."""
        name = self.unique(name)
        self.constants[name] = np.asarray(array)
        return name

    def name_of(self, value: Value) -> str:
        """What a value is called; a constant is added with its first use, numbers as float32."""
        if value not in self._names:
            if value.constant is None:
                raise KeyError("a value is used before it is computed")
            floating = value.constant.dtype.kind == "f"
            array = value.constant.astype(np.float32) if floating else value.constant
            module, self.module = self.module, "" if value.name else self.module
            self._names[value] = self.constant(array, value.name or "constant")
            self.module = module
        return self._names[value]

    def call(self, value: Value, name: str) -> None:
        """Say what a value is called."""
        self._names[value] = name

    def unique(self, name: str) -> str:
        """The name within the module whose step is written, with a number after it if it is taken."""
        full = f"{self.module}.{name}" if self.module else name
        self._taken[full] += 1
        return full if self._taken[full] == 1 else self.unique(f"{name}_{self._taken[full] - 1}")

    def rename(self, outputs: dict[str, str]) -> None:
        """Give the outputs of nodes other names."""
        for node in self.nodes:
            node.inputs = [outputs.get(name, name) for name in node.inputs]
            node.output = outputs.get(node.output, node.output)

    def differs_from(self, other: Graph) -> str | None:
        """The name of the first node or constant that is not the same in another graph, or None."""
        for a, b in zip(self.nodes, other.nodes, strict=False):
            if a != b:
                return a.name
        if len(self.nodes) != len(other.nodes):
            return "the number of nodes"
        for name, array in self.constants.items():
            if name not in other.constants or not np.array_equal(array, other.constants[name], equal_nan=True):
                return name
        return None
