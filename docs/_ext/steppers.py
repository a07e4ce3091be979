"""Steppers that a notebook embeds become files of the site: its pages stay light, and each stepper has an address."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from tinygrad_effnet.stepper.mathml import statements

FRAME = re.compile(r'(<iframe class="tinygrad-stepper"[^>]*?) srcdoc="([^"]*)"(></iframe>)')
STARTS = re.compile(r'"start":(\d+)')


class SteppersToFiles(SphinxPostTransform):
    default_priority = 500  # after MyST-NB has chosen which form of an output to show
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        pages = 0
        for node in self.document.findall(nodes.raw):
            found = FRAME.search(node.astext())
            if found is None:
                continue
            before, text, after = found.groups()
            pages += 1
            docname = self.env.docname
            name = f"_static/steps/{docname.rpartition('/')[2]}-{pages}.html"
            path = Path(self.app.outdir) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(html.unescape(text), encoding="utf-8")
            start = STARTS.search(html.unescape(text))
            link = f"{'../' * docname.count('/')}{name}#t={start.group(1) if start else 0}"
            made = f'{before} src="{link}"{after}<p class="stepper-link"><a href="{link}">Open on its own</a></p>'
            around = node.astext()[: found.start()], node.astext()[found.end() :]
            node.replace_self(nodes.raw("", made.join(around), format="html"))


def formula(name, rawtext, text, lineno, inliner, options=None, content=None):
    """Role: ``{formula}`y = x · σ(x)``` becomes MathML; the notation is that in which operations state formulas."""
    made = "".join(statements(text)).replace(' display="block"', "")
    return [nodes.raw("", made, format="html")], []


class Formula(SphinxDirective):
    """The same as a block: each line a statement of its own."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        made = "".join("".join(statements(line)) for line in self.content if line.strip())
        return [nodes.raw("", f'<div class="formula">{made}</div>', format="html")]


def offer_notebook(app: Sphinx, docname: str, source: list[str]) -> None:
    """Each page to step through ends with itself as a Jupyter notebook, with its results."""
    if docname.startswith("steps/") and "{code-cell}" in source[0]:
        name = docname.rpartition("/")[2]
        link = f"{{nb-download}}`This page as a Jupyter notebook <{name}.ipynb>`"
        source[0] += f"\n\n{link}, with its results and steppers.\n"


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", offer_notebook)
    app.add_post_transform(SteppersToFiles)
    app.add_role("formula", formula)
    app.add_directive("formula", Formula)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
