"""The command that records a script: ``python -m tinygrad_effnet trace script.py -o page.html``."""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from ..stepper import record


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script and write the page; returns the exit status.

    A script that fails is shown up to where it failed; its error is raised after the page is written.
    """
    options = _parser().parse_args(arguments)
    if not options.script.is_file():
        print(f"trace: there is no script {options.script}", file=sys.stderr)
        return 2
    argv, path = sys.argv, list(sys.path)
    sys.argv = [str(options.script), *options.arguments]
    sys.path.insert(0, str(options.script.resolve().parent))
    try:
        with record(check_rules=not options.no_checks) as recorded:
            runpy.run_path(str(options.script), run_name="__main__")
    finally:
        sys.argv, sys.path[:] = argv, path
        if len(recorded):
            page = recorded.page(options.out, options.title or options.script.name, options.most_bytes)
            print(f"{recorded}: {page} ({page.stat().st_size / 1e6:.2f} MB); open it in a browser", file=sys.stderr)
    if not len(recorded):
        print(f"trace: {options.script} used no operation of tinygrad_effnet; nothing to show", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tinygrad_effnet trace",
        description="Run a Python script, record every step of the engine in it, and write a page to step through.",
    )
    parser.add_argument("script", type=Path, help="the script to run, as python would")
    parser.add_argument("arguments", nargs="*", help="what the script is given, after --")
    parser.add_argument("-o", "--out", type=Path, default=Path("page.html"), help="the page to write (%(default)s)")
    parser.add_argument("--title", default="", help="the page's title")
    parser.add_argument("--most-bytes", type=int, default=5_000_000, help="how large the page may be (%(default)s)")
    parser.add_argument("--no-checks", action="store_true", help="do without the finite differences")
    return parser
