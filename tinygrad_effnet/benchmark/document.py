"""Results as JSON, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .rounds import Result

FORMAT = "tinygrad_effnet.benchmark/1"


def of_results(results: Sequence[Result]) -> list[dict[str, Any]]:
    """One object a contestant and task. Rates are images/s by round; ratios are those of the first over this one."""
    first = {result.task: result for result in reversed(results)}
    return [
        {
            "name": result.name,
            "task": result.task,
            "images_per_second": list(result.rates.values()),
            "median_images_per_second": result.rate if result.rates else None,
            "first_over_this": first[result.task].ratios(result),
            "first_step_seconds": result.first_step,
            "memory_bytes": result.memory,
            "problem": result.problem,
        }
        for result in results
    ]
