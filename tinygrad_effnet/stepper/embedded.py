"""A page of the stepper within another page: in a notebook, or in documentation that is made of notebooks."""

from __future__ import annotations

import html
import os
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .steps import Step


@dataclass(frozen=True)
class Embedded:
    """A frame that shows a run. Jupyter and MyST-NB show it when it is the last value of a cell.

    Attributes
    ----------
    text : str
        The page.
    height : int
        Of the frame, in CSS pixels.
    title : str
    path : str
        The file that the page was written to, relative to the notebook; empty where it lies in the output itself.
    start : int
        The step that it opens with.
    """

    text: str
    height: int
    title: str
    path: str = ""
    start: int = 0

    def _repr_html_(self) -> str:
        title = html.escape(self.title)
        link = f"{urllib.parse.quote(self.path)}#t={self.start}"
        shown = f'src="{link}"' if self.path else f'srcdoc="{html.escape(self.text)}"'
        frame = (
            f'<iframe class="tinygrad-stepper" sandbox="allow-scripts" title="{title}" loading="lazy" '
            f'style="width: 100%; height: {self.height}px; border: 1px solid #888" {shown}></iframe>'
        )
        return f'{frame}<p><a href="{link}" target="_blank">Open on its own</a></p>' if self.path else frame

    def __repr__(self) -> str:
        where = self.path or f"{len(self.text.encode()):,} bytes"
        return f"<Embedded {self.title!r}: {where}; show it in Jupyter, or write it with run.page(path)>"


def embed(
    steps: Sequence[Step], height: int, title: str, start: int, path: str | Path | None, most_bytes: int
) -> Embedded:
    """See `Run.embed`."""
    from .page import fitted, write_whole  # only who wants a page needs to lay it out

    if height < 1:
        raise ValueError(f"embed(height): {height}; a frame takes a positive number of pixels, such as 640")
    title = title or "A run, step by step"
    if steps and not -len(steps) <= start < len(steps):
        raise IndexError(f"embed(start): start is {start}; this run has the steps 0 to {len(steps) - 1}")
    start %= max(1, len(steps))
    text = fitted(steps, title, most_bytes, "embed", start)
    if path is None:
        return Embedded(text, height, title, start=start)
    write_whole(Path(path), text)
    return Embedded(text, height, title, os.fspath(path).replace(os.sep, "/"), start)
