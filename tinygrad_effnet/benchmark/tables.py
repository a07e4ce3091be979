"""Results as text: tables that can be pasted into a page."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from .rounds import Result


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown with aligned columns: the first to the left, the others to the right."""
    columns = [list(column) for column in zip(head, *rows, strict=True)]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "| "
        + " | ".join(t.ljust(w) if i == 0 else t.rjust(w) for i, (t, w) in enumerate(zip(line, widths, strict=True)))
        + " |"
        for line in [head, *rows]
    ]
    rule = "|" + "|".join("-" * (w + 1) + ("-" if i == 0 else ":") for i, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def spread(values: Sequence[float], form: str = ".1f") -> str:
    """Median, and the least and the most in brackets."""
    if not values:
        return "-"
    return f"{median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


_DETAILS = ("faults a step", "first step, s")


def of_results(results: Sequence[Result]) -> str:
    """A table of one task: rates, ours over theirs, memory; what did not run stands below it, with the reason."""
    ours = results[0]
    rows = []
    for result in results:
        if not result.problem:
            memory = result.memory.get("peak", 0) / 1e6
            rows.append(
                [
                    result.name,
                    spread(list(result.rates.values())),
                    "1" if result is ours else spread(ours.ratios(result), ".2f"),
                    f"{memory:,.0f}" if memory else "-",
                    _ratio(ours.memory.get("peak", 0), result.memory.get("peak", 0)),
                    f"{result.memory.get('page_faults_per_step', 0):,.0f}",
                    f"{result.first_step:.1f}",
                ]
            )
    head = [ours.task, "images/s", f"{ours.name} is faster by", "peak MB", f"{ours.name} takes", *_DETAILS]
    text = table(head, rows) if rows else "nothing ran"
    return "\n".join([text, *[f"{r.name} did not run: {r.problem}" for r in results if r.problem]])


def _ratio(a: float, b: float) -> str:
    return f"{a / b:.2f}" if a and b else "-"
