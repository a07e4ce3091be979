"""Command line: measure this machine, print tables, perhaps write JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..backends.cupy.availability import NoDeviceError
from ..files import atomic_write
from ..training.config import PRECISIONS
from . import document, epoch, floors, machine, profile, scaling, tables
from .contestants import choose
from .gpu.command import run as on_gpu
from .processes import ContestantError, Process
from .rounds import compete
from .settings import TASKS, Settings

ROUNDS = {"cpu": 5, "cuda": 3}
DESCRIPTION = """Measure a training step and inference of EfficientNet: this package, and PyTorch and ONNX Runtime where
installed.

Each contestant runs in a process of its own. All of them take turns, several rounds, so that a ratio compares what ran
within the same seconds."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="benchmark", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    usual = Settings()
    add(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="cuda: on an NVIDIA GPU, all workloads in every precision in one command (default: %(default)s)",
    )
    add("--model", metavar="NAME", help=f"EfficientNet b0 to b8 or l2 (default: {usual.model}; on a GPU the plan's)")
    add("--size", type=int, metavar="PIXELS", help=f"side of the images (default: {usual.size}; likewise)")
    add("--batch", type=int, help=f"images a step (default: {usual.batch}; likewise)")
    add("--threads", type=int, default=0, help="of every contestant (default: all cores)")
    add("--rounds", type=int, help=f"turns of each contestant (default: {ROUNDS['cpu']}; on a GPU {ROUNDS['cuda']})")
    add("--task", choices=TASKS, action="append", help="only this one (default: both)")
    add(
        "--compiled",
        action="store_true",
        help="also torch.compile, which takes one to two minutes each to get ready; on a GPU it always takes part",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        action="append",
        help="on a GPU: only in this one; may be given several times (default: all; of a profile, tf32)",
    )
    add("--budget", type=float, default=450.0, metavar="SECONDS", help="on a GPU: for all of it (default: %(default)g)")
    add("--only", action="append", metavar="NAME", help="only this contestant; may be given several times")
    add(
        "--profile", action="store_true", help="instead: every operation of a training step against the machine's roofs"
    )
    add("--scaling", action="store_true", help="instead: the cost of a step over batches and over sizes of images")
    add(
        "--epoch-table", action="store_true", help="instead: one epoch of Stanford Cars, from loops to compiled kernels"
    )
    add(
        "--floors",
        choices=floors.CARDS,
        metavar="CARD",
        help=f"instead, without a GPU: the least that a step takes on one, by data sheet ({', '.join(floors.CARDS)})",
    )
    add(
        "--json",
        type=Path,
        nargs="?",
        const=Path("benchmark.json"),
        metavar="FILE",
        help="also write everything there (default: %(const)s)",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    given = parser().parse_args(arguments)
    if given.rounds is None:
        given.rounds = ROUNDS[given.device]
    try:
        if given.rounds < 1:
            raise ValueError(f"--rounds {given.rounds}: expected at least 1")
        if given.json is not None and not given.json.parent.is_dir():
            raise ValueError(f"--json {given.json}: there is no folder {given.json.parent}")
        found = on_gpu(given, say) if given.device == "cuda" else run(given, workload(given))
    except (ValueError, ContestantError, NoDeviceError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    if given.json is not None:
        write(given.json, found)
    return 0


def workload(given: argparse.Namespace) -> Settings:
    """What the host runs.

    Raises
    ------
    ValueError
        There is no such model, or a number makes no sense; or an option is for a GPU.
    """
    if given.precision:
        raise ValueError(f"--precision {given.precision[0]}: on the host all is float32; give --device cuda")
    named = {name: getattr(given, name) for name in ("model", "size", "batch") if getattr(given, name) is not None}
    return Settings(threads=given.threads)._replace(**named).checked()


def run(given: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Measure what was asked for, print it, and return it as it goes to JSON."""
    found: dict[str, Any] = {
        "format": document.FORMAT,
        "machine": machine.describe(),
        "settings": settings._asdict(),
    }
    print(headline(found["machine"], settings))
    if given.profile:
        measured = profile.profile(settings)
        print(f"\n{profile.in_words(measured)}")
        found["profile"] = profile.as_document(measured)
    if given.scaling:
        found["scaling"] = []
        for points in scaling.measure(settings, say=say):
            print(f"\n{scaling.in_words(points)}", flush=True)
            found["scaling"].append(scaling.as_document(points))
    if given.epoch_table:
        rows = epoch.measure(settings.model, settings.threads, epoch.LOOPS_SIZE, epoch.SIZE, say)
        print(f"\n{epoch.in_words(rows)}")
        found["epoch"] = epoch.as_document(rows)
    if given.floors:
        card = floors.CARDS[given.floors]
        print(f"\n{card.name}, by its data sheet; nothing of it is measured\n")
        print(floors.in_words(floors.costs(settings), card, floors.BATCHES))
    if not (given.profile or given.scaling or given.epoch_table or given.floors):
        found |= duel(given, settings)
    return found


def headline(computer: dict[str, Any], settings: Settings) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in computer["packages"].items())
    return (
        f"EfficientNet-{settings.model.upper()}, {settings.size} px, batch {settings.batch}, float32, "
        f"{settings.threads} threads; {computer['processor']}, {computer['memory_gb']:.0f} GB\n"
        f"{computer['time'][:10]}; Python {computer['python']}, {packages}"
    )


def duel(given: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """All contestants in alternation."""
    contestants = choose(given.only, given.compiled)
    found: dict[str, Any] = {"results": []}
    if any(contestant.kind == "torch" and not contestant.missing() for contestant in contestants):
        say("comparing the networks")
        with Process(settings.threads) as process:
            found["check"] = same = process.ask("check", settings=list(settings))
        print(
            f"the same network in PyTorch: {same['parameters']:,} and {same['torch_parameters']:,} parameters, "
            f"logits differ by {same['difference']:.0e} of the largest"
        )
    for task in given.task or TASKS:
        results = compete(contestants, settings, task, given.rounds, say)
        if results:
            print(f"\n{tables.of_results(results)}", flush=True)
            found["results"] += document.of_results(results)
    return found


def say(text: str) -> None:
    """Tell whoever waits what is going on: on a terminal in one line, which the next one replaces."""
    start, end = ("\r\x1b[K", "") if sys.stderr.isatty() else ("", "\n")
    print(f"{start}{text}", end=end, file=sys.stderr, flush=True)


def write(path: Path, found: dict[str, Any]) -> None:
    text = json.dumps(found, indent=1, allow_nan=False)
    atomic_write(path, lambda file: file.write(f"{text}\n".encode()))
