"""The source behind a step: the rule in the engine, and the lines around a place."""

from __future__ import annotations

import inspect
import linecache
import os
from typing import Any, NamedTuple

from .steps import BACKWARD, UPDATE, Place, Step


class Source(NamedTuple):
    """Some lines of a file: where they begin, and their text."""

    file: str
    first: int
    lines: list[str]


def of_step(step: Step) -> Source | None:
    """The method of the engine that did this step: forward, backward or update. None where it has no source file."""
    if step.kind is None:
        return None
    method = "backward" if step.phase == BACKWARD else "update" if step.phase == UPDATE else "forward"
    return of_method(step.kind, method)


def of_method(kind: Any, method: str) -> Source | None:
    """Source of a method, without its indentation."""
    function = inspect.unwrap(getattr(kind, method))
    try:
        lines, first = inspect.getsourcelines(function)
        file = inspect.getsourcefile(function) or ""
    except (OSError, TypeError):  # typed at a prompt, or compiled
        return None
    return Source(file, first, _undented([line.rstrip("\n") for line in lines]))


def around(place: Place, margin: int = 3) -> Source | None:
    """The lines around a place; None where there is no such file, as for code typed at a prompt."""
    first = max(1, place.number - margin)
    lines = linecache.getlines(place.file)[first - 1 : place.number + margin]
    return Source(place.file, first, [line.rstrip("\n") for line in lines]) if lines else None


def text_at(place: Place) -> str:
    return linecache.getline(place.file, place.number).strip()


def shown(file: str) -> str:
    """A file's name as a reader knows it: within the working folder, within the package, else its last part."""
    if os.path.basename(os.path.dirname(file)).startswith("ipykernel_"):
        return "notebook cell"  # whose file is a name that Jupyter made up
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for base in (os.getcwd(), package):
        if file.startswith(base + os.sep):
            return os.path.relpath(file, base).replace(os.sep, "/")
    return os.path.basename(file) if os.path.isabs(file) else file


def _undented(lines: list[str]) -> list[str]:
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return [line[margin:] for line in lines]
