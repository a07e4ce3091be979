"""``--device cuda``: everything in one command, or the profile of a training step."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..machine import describe
from ..processes import ContestantError, Process
from ..settings import cores
from . import card, report
from .budget import Budget
from .entrants import choose
from .match import CORES_EACH, Asked, Match
from .plan import PLAN, heats

IMAGES = 8144  # in the training split of Stanford Cars (Krause et al. 2013)
EPOCHS = ("tf32", "bfloat16")  # precisions of the epochs
EPOCH_SECONDS = 25.0  # kept free for each
CARD_SECONDS, CHECK_SECONDS = 60.0, 120.0
PROFILED = ("tf32",)
BATCHES = (128, 256)

Say = Callable[[str], None]


def run(given: argparse.Namespace, say: Say, start: Callable[[], Asked] | None = None) -> dict[str, Any]:
    """Measure what was asked for, print it, and return it as it goes to JSON.

    Raises
    ------
    NoDeviceError
        There is no GPU, or CuPy or a driver is missing.
    ValueError
        A setting makes no sense.
    """
    threads = given.threads or cores()
    budget = Budget(given.budget)
    card.describe()  # refuses at once where there is nothing to measure
    found: dict[str, Any] = {"format": report.FORMAT, "machine": describe()}
    make = start or process_of(threads)
    if given.profile:
        return found | _profiles(given, threads, say)
    entrants = choose(given.only)
    planned = heats(given.model, given.size, given.batch, given.task, given.precision)
    precisions = list(dict.fromkeys(heat.precision for heat in planned))
    print(f"on a GPU, {given.budget:.0f} s at most: {len(planned)} workloads, {len(entrants)} contestants", flush=True)
    whole = planned == list(PLAN)
    epochs = [precision for precision in EPOCHS if whole and any(e.kind == "ours" for e in entrants)]
    with Match(entrants, planned, threads, budget, make, say) as match, ThreadPoolExecutor(1) as beside:
        checking = None
        if any(entrant.kind == "torch" and not entrant.missing() for entrant in entrants):
            checking = beside.submit(_ask, make, "check", CHECK_SECONDS, settings=list(planned[0].settings(threads)))
        match.prepare()
        if checking is not None:
            found["check"] = checking.result()
            print(report.of_check(found["check"]))
        say("measuring the card")
        found["card"] = _ask(make, "card", CARD_SECONDS, precisions=precisions)
        print(report.of_card(found["card"]), flush=True)
        match.run(
            given.rounds,
            reserved=EPOCH_SECONDS * len(epochs),
            done=lambda heat: print(f"\n{report.of_heat(heat, match.results[heat])}", flush=True),
        )
        print(f"\n{report.of_best(match)}", flush=True)
        found["heats"] = report.as_document(match)
    found["epochs"] = []
    for number, precision in enumerate(epochs):
        say(f"an epoch in {precision}")
        timeout = max(budget.left / (len(epochs) - number), 1.0)
        request = {"precision": precision, "images": IMAGES, "size": 224, "batch": 128, "threads": threads}
        found["epochs"].append(_ask(make, "epoch", timeout, **request) | {"precision": precision})
        print(report.of_epoch(found["epochs"][-1]), flush=True)
    found["seconds"] = budget.used
    print(f"all of it took {budget.used:.0f} s")
    return found


def process_of(threads: int) -> Callable[[], Asked]:
    """A function that starts a worker; compilers may use the cores of those that prepare side by side, and no more."""
    more = {"TORCHINDUCTOR_COMPILE_THREADS": str(CORES_EACH)}
    return lambda: Process(threads, "gpu.worker", more)


def _ask(make: Callable[[], Asked], do: str, timeout: float, **arguments: Any) -> dict[str, Any]:
    """The answer of a process of its own, or ``{"problem": ...}``."""
    process = make()
    try:
        return process.ask(do, timeout=timeout, **arguments)
    except ContestantError as error:
        return {"problem": str(error)}
    finally:
        process.close()


def _profiles(given: argparse.Namespace, threads: int, say: Say) -> dict[str, Any]:
    """The table of operations, for each precision and batch that is asked for."""
    from . import profile

    documents = []
    for precision in given.precision or PROFILED:
        for batch in [given.batch] if given.batch else BATCHES:
            (heat,) = heats(given.model, given.size, batch, ["training"], [precision])
            say(f"profile: {heat.title}")
            measured = profile.profile(heat.settings(threads), precision)
            print(f"\n{profile.in_words(measured)}", flush=True)
            documents.append(profile.as_document(measured))
    return {"profiles": documents}
