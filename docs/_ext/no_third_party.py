"""After a build: no page of the site fetches from another host; one that does is a warning, and with -W an error."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)

FETCHED = {  # attributes whose address a browser fetches by itself; a link that a reader may follow is none
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
    "input": ("src",),
}
ELSEWHERE = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
IN_STYLE = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)


class _Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.in_style = tag == "style"
        given = dict(attrs)
        if tag == "link" and (given.get("rel") or "").lower() in ("canonical", "author", "license", "next", "prev"):
            return
        for name, text in attrs:
            if text and name in FETCHED.get(tag, ()) and ELSEWHERE.match(text):
                self.found.append(f"<{tag} {name}={text}>")
            if text and name == "style":
                self.found += IN_STYLE.findall(text)

    def handle_endtag(self, tag: str) -> None:
        self.in_style = False

    def handle_data(self, data: str) -> None:
        if self.in_style:
            self.found += IN_STYLE.findall(data)


def fetched_from_elsewhere(text: str) -> list[str]:
    """What a browser would fetch from another host to show this page."""
    reader = _Addresses()
    reader.feed(text)
    return reader.found


def in_site(folder: Path) -> list[str]:
    """The same for every page and style sheet in a folder, each with its file."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".html":
            addresses = fetched_from_elsewhere(path.read_text(encoding="utf-8"))
        elif path.suffix == ".css":
            addresses = IN_STYLE.findall(path.read_text(encoding="utf-8"))
        else:
            continue
        found += [f"{path.relative_to(folder)}: {address}" for address in addresses]
    return found


def _check(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        for address in in_site(Path(app.outdir)):
            logger.warning("a page asks a third party for something: %s", address)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("build-finished", _check)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
