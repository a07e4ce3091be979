"""The commands: what ``python -m tinygrad_effnet`` and the examples run. They parse, call and print."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "train": "fit a network to photographs, or to synthetic cars",
    "evaluate": "measure a run's best weights on pictures, and show its mistakes",
    "predict": "say what is on photographs",
    "export": "write a run's best weights, or an ONNX file, for other programs",
    "trace": "run a script and write a page that steps through what the engine did in it",
    "benchmark": "measure speed here, beside PyTorch and others where installed",
    "doctor": "say what is installed and how it is set up, and test it for a few seconds",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_usage())
        return 0 if given else 2
    if given[0] not in COMMANDS:
        print(f"tinygrad_effnet: there is no command {given[0]!r}\n{_usage()}", file=sys.stderr)
        return 2
    if given[0] == "benchmark":
        from ..benchmark import main as measure

        return measure(given[1:])
    run = importlib.import_module(f".{given[0]}", __name__).main
    status: int = run(given[1:])
    return status


def _usage() -> str:
    wide = max(map(len, COMMANDS))
    lines = [f"  {name:<{wide}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        ["usage: python -m tinygrad_effnet COMMAND ...", "", *lines, "", "COMMAND --help says what each takes."]
    )
