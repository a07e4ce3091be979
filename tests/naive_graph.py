"""A naive tape, the oracle of the real one: recursion, gradients in a dictionary, everything copied, nothing clever.

It says what a program of a few operations must do, gradients and errors alike: which walk is refused because what it
needs was freed, or written to since.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
Pull = Callable[[Array], Array]

memory: dict[int, tuple[Array, int]] = {}  # by id: who owns memory, kept alive, and how often it was written to


def owner(x: Array) -> Array:
    return x if x.base is None else owner(x.base)


def version(x: Array) -> int:
    return memory.setdefault(id(owner(x)), (owner(x), 0))[1]


def write(x: Array, values: Any) -> None:
    x[...] = values
    memory[id(owner(x))] = owner(x), version(x) + 1


class Value:
    """An array, what it was computed from, and what it must have kept for that."""

    def __init__(
        self, data: Array, parents: tuple[tuple[Value, Pull], ...] = (), saved: tuple[Array, ...] = ()
    ) -> None:
        self.data = np.asarray(data)
        self.parents = tuple((x, pull) for x, pull in parents if x.requires_grad)
        self.requires_grad = bool(self.parents)
        self.is_leaf = not self.parents
        self.saved = [(x, version(x)) for x in saved]
        self.freed = self.retains = False
        self.hooks: list[Callable[[Array], Array]] = []
        self.grad: Value | None = None

    def before(self, seen: dict[int, Value] | None = None) -> list[Value]:
        """Everything that this depends on, and itself; each after what it depends on."""
        seen = {} if seen is None else seen
        for x, _ in () if self.freed else self.parents:
            if id(x) not in seen:
                x.before(seen)
        seen[id(self)] = self
        return list(seen.values())

    def refuses(self) -> bool:
        """Would a walk from here need what is gone, or is no longer what it was?"""
        return any(v.freed or any(version(x) != then for x, then in v.saved) for v in self.before())

    def gradients(self, upstream: Array) -> dict[int, Array]:
        """Of everything that this depends on, by id, after its hooks."""
        found = {id(self): upstream}
        for v in reversed(self.before()):
            for hook in v.hooks:
                found[id(v)] = hook(found[id(v)])
            for x, pull in v.parents:
                found[id(x)] = found.get(id(x), 0) + unbroadcast(pull(found[id(v)]), x.data.shape)
        return found

    def backward(self, upstream: Array, retain_graph: bool) -> None:
        found = self.gradients(upstream)
        for v in self.before():
            if v.is_leaf or v.retains:
                if v.grad is None:
                    v.grad = Value(np.array(found[id(v)]))
                else:
                    write(v.grad.data, v.grad.data + found[id(v)])
        if not retain_graph:
            for v in self.before():
                v.freed = not v.is_leaf


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(g, np.broadcast_shapes(np.shape(g), shape)).sum() if shape == () else np.asarray(g)


def recorded(value: Value, recording: bool) -> Value:
    return value if recording else Value(value.data)


UNARY: dict[str, Callable[[Value], Value]] = {
    "sin": lambda x: _sin(x, np.cos(x.data)),
    "tanh": lambda x: _tanh(x, np.asarray(np.tanh(x.data))),
    "neg": lambda x: Value(-x.data, ((x, lambda g: -g),)),
    "sum": lambda x: Value(np.asarray(x.data.sum()), ((x, lambda g, s=x.data.shape: np.broadcast_to(g, s)),)),
    "transposed": lambda x: Value(x.data.T, ((x, lambda g: g.T),)),
    "reversed": lambda x: Value(x.data[::-1], ((x, lambda g: g[::-1]),)),
}


def _sin(x: Value, slope: Array) -> Value:
    return Value(np.sin(x.data), ((x, lambda g: g * slope),), (x.data,))


def _tanh(x: Value, y: Array) -> Value:
    # of a result of shape () NumPy makes a number, which the tape keeps for itself: nobody else can write to it
    return Value(y, ((x, lambda g, slope=1 - y * y: g * slope),), (y,) if y.ndim else ())


BINARY: dict[str, Callable[[Value, Value], Value]] = {
    "add": lambda a, b: Value(np.asarray(a.data + b.data), ((a, lambda g: g), (b, lambda g: g))),
    "sub": lambda a, b: Value(np.asarray(a.data - b.data), ((a, lambda g: g), (b, lambda g: -g))),
    "mul": lambda a, b: _mul(a, b, a.data.copy(), b.data.copy()),
    "matmul": lambda a, b: _matmul(a, b, a.data.copy(), b.data.copy()),
}


def _mul(a: Value, b: Value, left: Array, right: Array) -> Value:
    return Value(np.asarray(left * right), ((a, lambda g: g * right), (b, lambda g: g * left)), (a.data, b.data))


def _matmul(a: Value, b: Value, left: Array, right: Array) -> Value:
    return Value(left @ right, ((a, lambda g: g @ right.T), (b, lambda g: left.T @ g)), (a.data, b.data))
