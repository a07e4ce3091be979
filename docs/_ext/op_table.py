"""The directive ``op-table``: every operation with its formula, rule, shapes and kinks, from the registry."""

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
        ):
            paragraph = nodes.paragraph()
            paragraph += nodes.emphasis(text=f"{label}: ")
            paragraph += nodes.literal(text=text)
            lines += nodes.list_item("", paragraph)
        description += lines
        term = nodes.term()
        term += nodes.literal(text=name)
        return nodes.definition_list_item("", term, description)


def setup(app):
    app.add_directive("op-table", OpTable)
    return {"version": "1", "parallel_read_safe": True}
