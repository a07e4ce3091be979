"""How long one epoch of Stanford Cars takes, from loops to compiled kernels, beside what the original work needed.

No row is a whole epoch: a step is measured on few images, for loops on small ones, and multiplied. Each row says so.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

from ..backends import use_backend
from . import ours
from .contestants import CONTESTANTS, Contestant
from .processes import ContestantError, Process
from .settings import Settings
from .tables import table

IMAGES = 8144  # in the training split of Stanford Cars (Krause et al. 2013)
SIZE = 224
ORIGINAL = {"original work, loops": 11 * 3600.0, "original work, NumPy and CuPy": 8 * 3600.0}  # as it reports them
LOOPS = Contestant("loops", "ours", {"backend": "loops"})
LOOPS_SIZE = 33  # the smallest that leaves 2x2 pixels after five halvings, so that batch norm has a variance
BATCHES = {"loops": 1, "numpy": 4}  # images a step; 16 for the others


class Row(NamedTuple):
    """Seconds of an epoch (None where it did not run), and where they come from."""

    name: str
    seconds: float | None
    how: str


def measure(model: str, threads: int, loops_size: int, size: int, say: Callable[[str], None]) -> list[Row]:
    """An epoch of `IMAGES` images of ``size`` px: forward, cross-entropy, backward, NAdam; each in its own process.

    Parameters
    ----------
    loops_size : int
        Side of the image that loops are measured on; the time is multiplied by the ratio of multiply-adds.
    """
    rows = [Row(name, seconds, "reported by its authors, on their machine") for name, seconds in ORIGINAL.items()]
    for contestant in [LOOPS, *[c for c in CONTESTANTS if "training" in c.tasks and not c.options.get("compiled")]]:
        own = loops_size if contestant is LOOPS else size
        settings = Settings(model, own, BATCHES.get(contestant.name, 16), threads)
        if contestant.missing():
            rows.append(Row(contestant.name, None, contestant.missing()))
            continue
        say(f"epoch table: {contestant.name}")
        try:
            rows.append(_row(contestant, settings, size))
        except ContestantError as error:
            rows.append(Row(contestant.name, None, str(error)))
    return rows


def _row(contestant: Contestant, settings: Settings, size: int) -> Row:
    slow = contestant is LOOPS
    with Process(settings.threads) as process:
        process.ask(
            "prepare",
            kind=contestant.kind,
            settings=list(settings),
            task="training",
            options=contestant.options,
            warm_ups=0 if slow else 2,
        )
        steps = 1 if slow else 3
        seconds = median(process.ask("run", steps=steps, warm_up=False)["seconds"])
    own, wanted = (multiply_adds(settings.model, side) for side in (settings.size, size))
    ratio = wanted / own
    images = IMAGES / settings.batch
    how = f"{steps} step(s) of {settings.batch} image(s) at {settings.size} px, x {images:.0f}"
    return Row(contestant.name, seconds * images * ratio, how if ratio == 1 else f"{how}, x {ratio:.1f} multiply-adds")


def multiply_adds(model: str, size: int) -> int:
    """Of the forward pass of one image."""
    with use_backend("numpy"):
        network = ours.build(Settings(model, size), fused=False)  # a fused operation would stand for several
        return network.summary((1, 3, size, size)).multiply_adds


def in_words(rows: list[Row]) -> str:
    """A table, each time beside that of the last row of the original work."""
    least = min(ORIGINAL.values())
    lines = [
        [
            row.name,
            "did not run" if row.seconds is None else duration(row.seconds),
            "-" if row.seconds is None else f"{least / row.seconds:,.3g}",
            row.how,
        ]
        for row in rows
    ]
    return table(["an epoch of Stanford Cars", "takes", "times the 8 hours' speed", "extrapolated from"], lines)


def duration(seconds: float) -> str:
    """In the unit that a person would use."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def as_document(rows: list[Row]) -> list[dict[str, Any]]:
    return [row._asdict() for row in rows]
