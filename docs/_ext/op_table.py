"""Directives made from the registry: ``op-table``, every operation with its formula, rule, shapes and kinks, and
``kink-table``, only the kinks, ours beside PyTorch's."""

from __future__ import annotations

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from tinygrad_effnet.op import registry


class OpTable(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        table: list[nodes.Node] = []
        families: dict[str, list[str]] = {}
        for name, op in registry.items():
            families.setdefault(op.__module__.rpartition(".")[2], []).append(name)
        for family in sorted(families):
            section = nodes.section(ids=[f"ops-{family}"])
            section += nodes.title(text=family)
            entries = nodes.definition_list()
            for name in sorted(families[family]):
                entries += self._entry(name)
            section += entries
            table.append(section)
        return table

    def _entry(self, name: str) -> nodes.definition_list_item:
        op = registry[name]
        description = nodes.definition()
        description += nodes.paragraph(text=(op.__doc__ or "").strip().splitlines()[0])
        lines = nodes.bullet_list()
        for label, text in (
            ("formula", op.formula),
            ("rule", op.rule),
            ("shapes", op.shapes),
            ("kinks", op.kinks),
            *([("second derivative", f"none{op.instead}")] if op.once_differentiable else []),
        ):
            paragraph = nodes.paragraph()
            paragraph += nodes.emphasis(text=f"{label}: ")
            paragraph += nodes.literal(text=text)
            lines += nodes.list_item("", paragraph)
        description += lines
        term = nodes.term()
        term += nodes.literal(text=name)
        return nodes.definition_list_item("", term, description)


class KinkTable(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        rows = [(name, *_ours_and_theirs(op.kinks)) for name, op in sorted(registry.items()) if op.kinks != "none"]
        group = nodes.tgroup(cols=3)
        group += [nodes.colspec(colwidth=width) for width in (15, 55, 30)]
        group += nodes.thead("", _row(("operation", "ours", "PyTorch's"), code=False))
        group += nodes.tbody("", *[_row(row, code=True) for row in rows])
        return [nodes.table("", group)]


def _ours_and_theirs(text: str) -> tuple[str, str]:
    """What a note on kinks says of us, and what it says of PyTorch in brackets or at its end."""
    ours, bracket, theirs = text.partition(" (PyTorch")
    if not bracket:
        ours, _, _ = text.partition(", as in NumPy and PyTorch")
        return ours, "the same"
    said, _, rest = theirs.partition(")")
    owner, _, choice = said.partition(": ")
    function = owner.removeprefix("'s").strip()
    return ours + rest, f"{choice} ({function})" if function else choice


def _row(cells: tuple[str, ...], code: bool) -> nodes.row:
    row = nodes.row()
    for i, text in enumerate(cells):
        paragraph = nodes.paragraph()
        paragraph += nodes.literal(text=text) if code and i == 0 else nodes.Text(text)
        row += nodes.entry("", paragraph)
    return row


def setup(app):
    app.add_directive("op-table", OpTable)
    app.add_directive("kink-table", KinkTable)
    return {"version": "1", "parallel_read_safe": True}
