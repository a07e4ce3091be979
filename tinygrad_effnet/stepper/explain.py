"""A step in words and numbers, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import sources
from .snapshot import Snapshot
from .steps import BACKWARD, FORWARD, UPDATE, Operand, Place, Step
from .updates import worked_update

SHOWN = 6  # entries along each axis of a small array


def explained(steps: Sequence[Step], step: Step) -> str:
    """Everything that is known of a step, as lines of text."""
    lines = [
        f"step {step.index} of {len(steps)}: {step.phase}, {step.op}" + (f" in {step.module}" if step.module else "")
    ]
    if step.line:
        lines.append(f"  your line    {_place(step.line)}")
    if step.layer:
        lines.append(f"  the layer's  {_place(step.layer)}")
    if step.forward is not None:
        lines.append(f"  the rule of  step {step.forward}")
    lines += ["", *_formulas(step), ""]
    for i, operand in enumerate(step.inputs):
        lines += _operand("in ", operand)
        if step.phase == BACKWARD:
            lines += _arrivals(step, i)
    for operand in step.outputs:
        lines += _operand("out", operand)
    lines += _worked(step)
    if step.phase == UPDATE:
        lines += [f"  {name} = {number:.9g}" for name, number in worked_update(step)]
    for found in step.differences:
        lines.append(
            f"  check: {found.name}{list(found.index)} is {found.rule:.9g} by the rule and {found.difference:.9g} by a "
            f"central difference in float64 (h = {found.h:.1e})"
        )
    if step.inner:
        lines.append(f"  the rule ran {', '.join(step.inner)}")
    lines.append("")
    if step.saved:
        held = ", ".join(f"{name} {nbytes:,} B" for name, nbytes in step.saved)
        lines.append(f"  held for the backward pass: {held}")
    cost = f", {step.flops:,} flops" if step.phase == FORWARD else ""
    lines.append(f"  {step.seconds * 1e6:,.0f} µs{cost}; alive after it {step.live:,} B, at most {step.peak:,} B")
    source = sources.of_step(step)
    if source is not None:
        lines += ["", f"  {sources.shown(source.file)}:{source.first}"]
        lines += [f"  {source.first + i:>5}  {text}" for i, text in enumerate(source.lines)]
    return "\n".join(lines)


def formula_of(step: Step) -> str:
    """The formula of a step forward, the rule of a step back, or what the optimiser's text says it computes."""
    if step.op == "leaf":
        return "grad = Σ of what arrived"
    if step.phase == UPDATE:
        return update_formula(step.kind.__doc__ or "") if step.kind else ""
    return str(getattr(step.kind, "formula" if step.phase == FORWARD else "rule", ""))


def update_formula(text: str) -> str:
    """The block of formulas in an optimiser's text: the first that is indented after a line that ends in ``::``."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.rstrip().endswith("::")), None)
    if start is None:
        return ""
    margin = len(lines[start]) - len(lines[start].lstrip())
    block = []
    for line in lines[start + 1 :]:
        if line.strip() and len(line) - len(line.lstrip()) <= margin:
            break
        block.append(line.strip())
    return "\n".join(block).strip()


def _formulas(step: Step) -> list[str]:
    return [f"    {line}" for line in formula_of(step).splitlines()]


def _place(place: Place) -> str:
    return f"{sources.shown(place.file)}:{place.number}  {sources.text_at(place)}"


def _operand(way: str, operand: Operand) -> list[str]:
    value = operand.value
    source = operand.label or ("" if operand.step is None else f"step {operand.step}")
    head = f"  {way} {operand.name}" + (f" ({source})" if source else "") + f"  {value.dtype}{list(value.shape)}"
    return [head, *[f"        {line}" for line in _numbers(value)]]


def _numbers(value: Snapshot) -> list[str]:
    if value.is_whole and value.kept.size <= SHOWN**2 and value.kept.ndim <= 2:
        return np.array2string(value.kept, precision=9, separator=", ").splitlines()
    bad = f", {value.bad} NaN or infinite" if value.bad else ""
    text = f"from {value.low:.6g} to {value.high:.6g}, mean {value.mean:.6g}, deviation {value.std:.6g}"
    return [f"{text}, {value.zeros} zeros{bad}"]


def _arrivals(step: Step, i: int) -> list[str]:
    arrivals = step.arrivals[i] if i < len(step.arrivals) else []
    lines = []
    for number, arrival in enumerate(arrivals):
        source = "where the walk began" if arrival.step is None else f"step {arrival.step}, as its {arrival.name}"
        kept = arrival.value.kept
        entry = f"; its first entry is {kept.flat[0]:.9g}" if kept.size else ""
        lines.append(f"        {'+' if number else '='} from {source}{entry}")
    return lines


def _worked(step: Step) -> list[str]:
    lines = []
    for found in step.worked:
        products = " + ".join(f"({a:.6g} · {b:.6g})" for _, a, _, b in found.terms[:8])
        more = found.count - min(8, len(found.terms))
        tail = f" + {more} more" if more > 0 else ""
        lines.append(f"  {found.name}{list(found.index)} = {products}{tail} = {found.value:.9g}")
    return lines
