"""The graph of a run, folded by module, and where to draw it: computed once, when the page is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .steps import FORWARD, Step

WIDTH, HEIGHT, GAP_X, GAP_Y = 132, 34, 18, 22


@dataclass
class Box:
    """A node of one level: an operation, or a module folded into one box."""

    label: str
    module: str  # the path to unfold; empty for an operation
    steps: list[int] = field(default_factory=list)
    layer: int = 0
    slot: int = 0


def levels(steps: Sequence[Step]) -> dict[str, dict[str, Any]]:
    """For every module, its inside: boxes with places, and edges between them. The key "" is the outermost level.

    Each box of a module is what lies directly in it: one of its operations, or a module one step further in. Layers go
    down, by the longest way to a box; boxes of one layer stand side by side.
    """
    forwards = [step for step in steps if step.phase == FORWARD]
    paths = {""}
    for step in forwards:
        parts = step.module.split(".") if step.module else []
        paths.update(".".join(parts[:n]) for n in range(1, len(parts) + 1))
    return {path: _level(path, forwards) for path in sorted(paths)}


def _level(path: str, forwards: Sequence[Step]) -> dict[str, Any]:
    boxes: dict[str, Box] = {}
    box_of: dict[int, str] = {}
    for step in forwards:
        inside = not path or step.module == path or step.module.startswith(f"{path}.")
        if not inside:
            continue
        rest = step.module[len(path) :].lstrip(".")
        child = rest.partition(".")[0]
        key = f"module {child}" if child else f"op {step.index}"
        module = (f"{path}.{child}" if path else child) if child else ""
        box = boxes.setdefault(key, Box(child or step.op, module))
        box.steps.append(step.index)
        box_of[step.index] = key
    order = {key: i for i, key in enumerate(boxes)}
    edges = set()
    for step in forwards:
        target = box_of.get(step.index)
        for operand in step.inputs:
            source = None if operand.step is None else box_of.get(operand.step)
            if source is not None and target is not None and order[source] < order[target]:
                edges.add((order[source], order[target]))
    placed = list(boxes.values())
    for source_box, target_box in sorted(edges, key=lambda edge: edge[1]):
        placed[target_box].layer = max(placed[target_box].layer, placed[source_box].layer + 1)
    counts: dict[int, int] = {}
    for box in placed:
        box.slot = counts.get(box.layer, 0)
        counts[box.layer] = box.slot + 1
    widest = max(counts.values(), default=1)
    lane = GAP_X * 2 if any(placed[b].layer - placed[a].layer > 1 for a, b in edges) else 0
    return {
        "w": widest * (WIDTH + GAP_X) + GAP_X + lane,
        "h": len(counts) * (HEIGHT + GAP_Y) + GAP_Y,
        "boxes": [
            {
                "t": box.label,
                "m": box.module,
                "s": box.steps,
                "x": GAP_X + box.slot * (WIDTH + GAP_X) + (widest - counts[box.layer]) * (WIDTH + GAP_X) // 2,
                "y": GAP_Y + box.layer * (HEIGHT + GAP_Y),
            }
            for box in placed
        ],
        "edges": sorted(edges),
    }
