"""The page: one HTML file that steps through a run, and asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from ..files import atomic_write
from .document import Document
from .steps import Step

SCRIPTS = ("values.js", "terms.js", "numbers.js", "stepper.js")  # in the order in which each needs those before it
DETAIL = (4096, 1024, 512, 256, 128, 64, 32, 16)  # entries of an array, from the most to the least


def write(steps: Sequence[Step], path: Path, title: str, most_bytes: int) -> Path:
    """Write the page; see `Run.page`."""
    return write_whole(path, fitted(steps, title, most_bytes, "page"))


def fitted(steps: Sequence[Step], title: str, most_bytes: int, caller: str, start: int = 0) -> str:
    """The whole file as text, with as many entries of each array as there is room for."""
    if not steps:
        raise ValueError(f"{caller}(): nothing was recorded; do the work inside the with block of record()")
    text = ""
    for most in DETAIL:
        text = render(Document(steps, title or "A run, step by step", most, start))
        if len(text.encode()) <= most_bytes:
            return text
    raise ValueError(
        f"{caller}(most_bytes): even with {DETAIL[-1]} entries of each array these {len(steps)} steps take "
        f"{len(text.encode()):,} bytes; allow more than {most_bytes:,}, or record less in the block"
    )


def render(document: Document) -> str:
    """The whole file as text."""
    parts = {name: _asset(name) for name in ("template.html", "style.css", *SCRIPTS)}
    script = "\n".join(parts[name] for name in SCRIPTS)
    formulas = "\n".join(
        f'<template id="formula-{i}">{formula}</template>' for i, formula in enumerate(document.formulas)
    )
    filled = {
        "TITLE": html.escape(str(document.data["title"])),
        "SCRIPT_HASH": _hash(script),
        "STYLE_HASH": _hash(parts["style.css"]),
        "STYLE": parts["style.css"],
        "FORMULAS": formulas,
        "DATA": in_script(document.data),
        "SCRIPT": script,
    }
    pieces = parts["template.html"].split("@@")  # text, name, text, name, ...: what is put in is not looked at again
    return "".join(filled[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def in_script(data: Any) -> str:
    """JSON that can stand in a script element: no text in it ends the element or opens a comment."""
    text = json.dumps(_without_nan(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").replace("\u2028", "\\u2028")


def _without_nan(data: Any) -> Any:
    if isinstance(data, float) and data - data != 0:  # NaN or infinite, which JSON does not know
        return None if data != data else "∞" if data > 0 else "−∞"
    if isinstance(data, dict):
        return {str(key): _without_nan(value) for key, value in data.items()}
    return [_without_nan(value) for value in data] if isinstance(data, (list, tuple)) else data


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def write_whole(path: Path, text: str) -> Path:
    """All of it or nothing, in a folder that is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, lambda file: file.write(text.encode()))
    return path
