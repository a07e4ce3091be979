"""``report.html``: one page with everything about a run, which needs no network and runs no script."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from ...files import atomic_write

# Pictures lie in the page itself; nothing is fetched, whatever a class or a file may be called.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
img { max-width: 100%; height: auto }
table { border-collapse: collapse } th, td { padding: .15rem .9rem .15rem 0; text-align: left }
th { border-bottom: 1px solid #999 } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
.scroll { max-height: 34rem; overflow: auto } pre { white-space: pre-wrap; color: #444 } .note { color: #555 }
"""


@dataclass
class Page:
    """A page that grows from top to bottom. All text given is escaped."""

    title: str
    parts: list[str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        self.parts.append(f"<h2>{escape(text)}</h2>")

    def text(self, text: str) -> None:
        self.parts.append(f'<p class="note">{escape(text)}</p>')

    def plain(self, text: str) -> None:
        """Text whose lines stay as they are."""
        self.parts.append(f"<pre>{escape(text)}</pre>")

    def facts(self, facts: Mapping[str, str]) -> None:
        rows = "".join(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in facts.items())
        self.parts.append(f"<table>{rows}</table>")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """All columns but the first are numbers."""

        def line(tag: str, cells: Sequence[str]) -> str:
            made = [f"<{tag}{'' if i == 0 else ' class=n'}>{escape(cell)}</{tag}>" for i, cell in enumerate(cells)]
            return f"<tr>{''.join(made)}</tr>"

        body = "".join(line("td", row) for row in rows)
        self.parts.append(f'<div class="scroll"><table>{line("th", head)}{body}</table></div>')

    def picture(self, path: Path, description: str) -> None:
        """A PNG; left out if there is none."""
        if path.exists():
            data = base64.b64encode(path.read_bytes()).decode()
            self.parts.append(f'<p><img alt="{escape(description)}" src="data:image/png;base64,{data}"></p>')

    def html(self) -> str:
        title = escape(self.title)
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title}</title><style>{_STYLE}</style></head><body>\n<h1>{title}</h1>\n"
            + "\n".join(self.parts)
            + "\n</body></html>\n"
        )


def write_page(page: Page, path: Path) -> Path:
    """Write it, atomically."""
    text = page.html()
    atomic_write(path, lambda file: file.write(text.encode()))
    return path
