"""A table of a network: what each module gives, holds and costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import tape
from ..op import Op, watch
from ..tensor import Tensor, wrap

if TYPE_CHECKING:
    from .module import Module

PRODUCTS = {"matmul", "linear", "conv2d", "depthwise_conv2d"}  # the operations whose cost the literature counts


@dataclass
class Row:
    """One module of a `Summary`."""

    name: str
    kind: str
    level: int
    parameters: int
    output_shape: tuple[int, ...] | None = None
    multiply_adds: int = 0


@dataclass
class Summary:
    """What `Module.summary` found. ``print`` it for the table; the numbers are in ``rows`` and the totals.

    Multiply-adds count convolutions and matrix products only, as the EfficientNet paper's "FLOPs" do.
    """

    rows: list[Row] = field(default_factory=list)
    parameters: int = 0
    multiply_adds: int = 0
    depth: int = 3

    def __str__(self) -> str:
        table = [("module", "output shape", "parameters", "multiply-adds")]
        for row in self.rows:
            if row.level <= self.depth:
                label = "  " * row.level + (f"{row.name.rpartition('.')[2]} ({row.kind})" if row.name else row.kind)
                shape = "x".join(map(str, row.output_shape)) if row.output_shape is not None else "not used"
                table.append((label, shape, f"{row.parameters:,}", f"{row.multiply_adds:,}"))
        widths = [max(len(line[i]) for line in table) for i in range(4)]
        lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in table]
        rule = "-" * len(lines[0])
        total = f"{self.parameters:,} parameters, {self.multiply_adds:,} multiply-adds"
        return "\n".join([lines[0], rule, *lines[1:], rule, total])


def summarize(module: Module, input_shape: Sequence[int], depth: int) -> Summary:
    """Send zeros of ``input_shape`` through the module, in eval mode and unrecorded, and note what happens."""
    modules = list({id(m): (name, m) for name, m in reversed(list(module.named_modules()))}.values())[::-1]  # each once
    rows = {
        id(m): Row(name, type(m).__name__, name.count(".") + 1 if name else 0, sum(p.size for p in m.parameters()))
        for name, m in modules
    }
    running: list[Row] = []  # the modules whose forward is under way, outermost first

    def count(op: Op, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        if op.name in PRODUCTS:
            added = outputs[0].size if op.name == "linear" else 0  # the bias multiplies nothing
            cost = (op.flops([x.shape for x in inputs], [y.shape for y in outputs]) - added) // 2
            for row in running:
                row.multiply_adds += cost

    modes = [(m, m.training) for _, m in modules]
    forwards = [_spied(m, rows[id(m)], running) for _, m in modules]
    dtype = next((p.dtype for p in module.parameters()), np.dtype(np.float32))
    try:
        module.eval()
        with tape.no_grad(), watch(count):
            module(wrap(np.zeros(tuple(input_shape), dtype)))
    finally:
        for (m, training), restore in zip(modes, forwards, strict=True):
            m.training = training
            restore()
    total = rows[id(module)]
    return Summary(list(rows.values()), total.parameters, total.multiply_adds, depth)


def _spied(module: Module, row: Row, running: list[Row]) -> Any:
    """Let the module's forward enter and leave ``running``; returns what undoes it."""
    forward = module.forward

    def spy(*inputs: Any) -> Any:
        running.append(row)
        try:
            output = forward(*inputs)
        finally:
            running.pop()
        row.output_shape = output.shape if isinstance(output, Tensor) else None
        return output

    module.forward = spy  # type: ignore[method-assign]
    return lambda: module.__dict__.pop("forward")
