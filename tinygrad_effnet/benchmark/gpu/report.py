"""What came of a comparison on a GPU: tables to read, and the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from ..epoch import ORIGINAL
from ..rounds import Result
from ..tables import spread, table
from .card import Rates
from .match import Match
from .plan import Heat

FORMAT = "tinygrad_effnet.benchmark.gpu/1"
OURS = ("cupy", "cupy recorded")


def of_check(same: dict[str, Any]) -> str:
    """Whether PyTorch's network is ours."""
    if "problem" in same:
        return f"the networks could not be compared: {same['problem']}"
    return (
        f"the same network in PyTorch: {same['parameters']:,} and {same['torch_parameters']:,} parameters, "
        f"logits differ by {same['difference']:.0e} of the largest"
    )


def of_card(card: dict[str, Any]) -> str:
    """Two lines about the card."""
    if "problem" in card:
        return f"the card's rates could not be measured: {card['problem']}"
    rates = Rates(**card["rates"])
    products = ", ".join(f"{flops / 1e12:.3g} in {precision}" for precision, flops in rates.products.items())
    return (
        f"{card['name']}, {card['total'] / 2**30:.0f} GiB, {card['processors']} multiprocessors; {card['software']}\n"
        f"a copy of a large array moves {rates.bandwidth / 1e9:,.0f} GB/s, read and written; a product of large "
        f"matrices does {products} TFLOP/s"
    )


def of_heat(heat: Heat, results: Sequence[Result]) -> str:
    """A table of one heat; who did not run stands below it, with the reason."""
    ours = _first(results)
    if ours is None:
        return f"{heat.title}: nobody does this"
    rows = [_row(heat, result, ours) for result in results if not result.problem and result.rates]
    kind = "ms" if heat.is_latency else "images/s"
    head = [heat.title, kind, f"{ours.name} is faster by", "peak MB", f"{ours.name} takes", "ready after, s"]
    text = table(head, rows) if rows else f"{heat.title}: nothing ran"
    return "\n".join([text, *[f"{r.name} did not run: {r.problem}" for r in results if r.problem]])


def _first(results: Sequence[Result]) -> Result | None:
    """Ours, or who stands first where we do not take part: the others are compared with it."""
    return next((result for result in results if result.name in OURS), results[0] if results else None)


def _row(heat: Heat, result: Result, ours: Result) -> list[str]:
    rates = list(result.rates.values())
    mine, peak = ours.memory.get("peak", 0), result.memory.get("peak", 0)
    return [
        result.name,
        spread([heat.batch / rate * 1e3 for rate in rates], ".2f") if heat.is_latency else spread(rates, ",.0f"),
        "1" if result is ours else spread(ours.ratios(result), ".2f"),
        f"{peak / 1e6:,.0f}" if peak else "-",
        f"{mine / peak:.2f}" if mine and peak else "-",
        f"{result.first_step:.1f}",
    ]


def of_best(match: Match) -> str:
    """Each heat in a line: the best of ours over the best of the others, and its share of that one's memory."""
    rows = []
    for heat, results in match.results.items():
        best, ours = best_of(results), best_of(results, ours=True)
        if best is not None and ours is not None:
            theirs, mine = best.memory.get("peak", 0), ours.memory.get("peak", 0)
            share = f"{mine / theirs:.2f}" if mine and theirs else "-"
            rows.append([heat.title, ours.name, best.name, spread(ours.ratios(best), ".2f"), share])
    return table(["the best of ours and of the others", "ours", "theirs", "faster by", "memory"], rows) if rows else ""


def best_of(results: Sequence[Result], ours: bool = False) -> Result | None:
    """The quickest of the others, or of ours."""
    chosen = [result for result in results if (result.name in OURS) == ours and result.rates and not result.problem]
    return max(chosen, key=lambda result: result.rate, default=None)


def of_epoch(epoch: dict[str, Any]) -> str:
    """A line about an epoch."""
    if "problem" in epoch:
        return f"an epoch in {epoch['precision']} did not run: {epoch['problem']}"
    least, seconds = min(ORIGINAL.values()), epoch["seconds"]
    return (
        f"an epoch of {epoch['images']:,} uint8 pictures, augmented on the card at {epoch['size']} px, batch "
        f"{epoch['batch']}, {epoch['precision']}: {seconds:.2f} s, {least / seconds:,.0f} times the speed of "
        f"{least / 3600:.0f} hours"
    )


def as_document(match: Match) -> list[dict[str, Any]]:
    """One object a heat: its settings, and what each entrant did. Rates are images/s by round."""
    found = []
    for heat, results in match.results.items():
        ours = _first(results)
        entries = [
            {
                "name": result.name,
                "images_per_second": list(result.rates.values()),
                "median_images_per_second": median(result.rates.values()) if result.rates else None,
                "ours_over_this": ours.ratios(result) if ours is not None else [],
                "ready_after_seconds": result.first_step,
                "peak_bytes": result.memory.get("peak", 0) or None,
                "problem": result.problem,
            }
            for result in results
        ]
        best = best_of(results)
        found.append(heat._asdict() | {"results": entries, "best_of_others": best.name if best else None})
    return found
