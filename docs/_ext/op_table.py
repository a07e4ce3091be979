"""Directives made from the registry: ``op-table``, every operation with its formula, rule, shapes, kinks, cost and
errors, and ``kink-table``, only the kinks, ours beside PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from tinygrad_effnet import Tensor, use_backend
from tinygrad_effnet.op import Op, registry, watch
from tinygrad_effnet.stepper.mathml import statements
from tinygrad_effnet.testing import samples


class OpTable(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        accuracy = Path(self.env.srcdir) / "accuracy.md"
        self.env.note_dependency(str(accuracy))
        backends, errors = _errors(accuracy.read_text(encoding="utf-8"))
        table: list[nodes.Node] = []
        families: dict[str, list[str]] = {}
        for name, op in registry.items():
            families.setdefault(op.__module__.rpartition(".")[2], []).append(name)
        for family in sorted(families):
            section = nodes.section(ids=[f"ops-{family}"])
            section += nodes.title(text=family)
            entries = nodes.definition_list()
            for name in sorted(families[family]):
                error = dict(zip(backends, errors.get(name, []), strict=False))
                entries += self._entry(name, ", ".join(f"{backend} {both}" for backend, both in error.items()))
            section += entries
            table.append(section)
        return table

    def _entry(self, name: str, error: str) -> nodes.definition_list_item:
        op = registry[name]
        description = nodes.definition()
        description += nodes.paragraph(text=(op.__doc__ or "").strip().splitlines()[0])
        for text in (op.formula, op.rule):
            description += nodes.raw("", f'<div class="formula">{"".join(statements(text))}</div>', format="html")
        lines = nodes.bullet_list()
        for label, text in (
            ("shapes", op.shapes),
            ("kinks", op.kinks),
            ("cost", _cost(op)),
            *([("error in float32, value / gradient, ULP", error)] if error else []),
            *([("second derivative", f"none{op.instead}")] if op.once_differentiable else []),
        ):
            paragraph = nodes.paragraph()
            paragraph += nodes.emphasis(text=f"{label}: ")
            paragraph += nodes.literal(text=text) if label == "shapes" else nodes.Text(text)
            lines += nodes.list_item("", paragraph)
        description += lines
        term = nodes.term()
        term += nodes.literal(text=name)
        return nodes.definition_list_item("", term, description)


def _errors(page: str) -> tuple[list[str], dict[str, list[str]]]:
    """Backends, and for each operation its cells, from the table that make_error_table.py measured."""
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in page.splitlines() if row.startswith("| ")]
    return rows[0][1:], {row[0].strip("`"): row[1:] for row in rows[1:]}


def _cost(op: type[Op]) -> str:
    """Operations and bytes of the largest of the inputs that the tests use."""
    sample = max(samples(op.name, np.random.default_rng(0)), key=lambda sample: sum(a.size for a in sample.arrays))
    uses: list[tuple[Op, list[np.ndarray], list[np.ndarray]]] = []

    def note(used: Op, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        if isinstance(used, op):
            uses.append((used, list(inputs), list(outputs)))

    with watch(note), use_backend("numpy"):
        sample(*[Tensor(array, requires_grad=array.dtype.kind == "f") for array in sample.arrays])
    used, inputs, outputs = uses[0]
    shapes = [array.shape for array in inputs], [array.shape for array in outputs]
    given = ", ".join(f"{op.contract.name_of(i)} {_size(shape)}" for i, shape in enumerate(shapes[0]))
    kept = ", ".join(dict.fromkeys(used.held_name(i) for i in range(len(used.held)))) or "nothing"
    return f"{used.flops(*shapes):,} floating-point operations for {given}; keeps {kept} for the backward pass"


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a number"


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
